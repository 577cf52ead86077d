// SPDX-License-Identifier: Apache-2.0
// PJRT_Executable and PJRT_LoadedExecutable: two kinds of handle on one compiled program, which is
// a `jax_ane._host.HostExecutable` and what C++ needs to know of it without asking Python.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pjrt/buffer.h"
#include "pjrt/c_api.h"
#include "pjrt/client.h"
#include "pjrt/named_values.h"
#include "pjrt/python_bridge.h"

namespace jax_ane::pjrt {

struct OutputInfo {
    std::shared_ptr<const BufferShape> shape;  // On one device; all executions share it.
    size_t memory_kind;                        // Its place in kMemoryKinds.
    bool is_row_major;  // False where the program was asked for another order of axes.
};

// Serialised OpShardings, as the shardings extension shows them; empty when XLA states none.
struct ShardingList {
    std::vector<std::string> protos;
    std::vector<const char*> data;
    std::vector<size_t> sizes;
};

// Everything but the lazy text is constant after compilation.
class Program {
  public:
    // Compiles `code` through jax_ane._host, or loads what an earlier compilation `stored`.
    static StatusOr<std::shared_ptr<Program>> Compile(ClientInstance* client, std::string code,
                                                      std::string options, std::string stored = "");

    ClientInstance* client = nullptr;
    std::string code, options;  // As JAX gave them: what Serialize writes.
    std::string name, fingerprint, device_assignment;
    size_t num_replicas = 1, num_partitions = 1;
    std::vector<PJRT_Device*> devices;  // Addressable ones, replica-major.
    std::vector<PJRT_LogicalDeviceIds> logical_ids;
    std::vector<OutputInfo> outputs;
    size_t num_tokens = 0;      // Leading outputs that are ordering tokens.
    std::vector<bool> donated;  // By argument, as the module's attributes say.
    bool is_portable = true;    // False when it calls back into this process.
    std::array<int64_t, 6> memory_stats =
        {};  // Code, arguments, outputs, aliased, temporary, peak.
    NamedValueList costs;
    ShardingList parameter_shardings, output_shardings;
    bool knows_layouts = false;  // False with tokens, as on cpu.
    std::vector<PJRT_Layouts_MemoryLayout*> parameter_layouts, output_layouts;

    // Flat forms of `outputs` for the getters.
    std::vector<PJRT_Buffer_Type> output_types;
    std::vector<int64_t> output_dims;
    std::vector<size_t> output_ranks;
    std::vector<const char*> memory_kinds;
    std::vector<size_t> memory_kind_sizes;

    // One of all processes' devices, not only of this one's.
    bool is_on_one_device() const { return num_replicas * num_partitions == 1; }

    nb::handle host() const { return host_.get(); }
    nb::handle execute() const { return execute_.get(); }
    nb::handle handlers() const { return handlers_.get(); }
    nb::handle token() const { return token_.get(); }

    // What a later process needs in order not to compile again; "" where nothing can be kept.
    StatusOr<std::string> Stored() const;

    // The program as text for humans, and its format; made at the first call.
    StatusOr<const std::string*> OptimizedText(std::string* format);

  private:
    Status ReadHost(nb::handle host);
    Status ReadOutputs(nb::handle host);
    void ReadShardings(nb::handle host);
    void ReadLayouts(nb::handle host);

    PyRef host_, execute_, handlers_, token_;
    std::mutex text_mutex_;
    bool text_made_ = false;
    std::string text_, text_format_;
};

// What JAX asks questions of; LoadedExecutableInstance is what it runs.
class ExecutableInstance {
  public:
    explicit ExecutableInstance(std::shared_ptr<Program> program) : program_(std::move(program)) {}

    static ExecutableInstance* Unwrap(const PJRT_Executable* executable) {
        return reinterpret_cast<ExecutableInstance*>(const_cast<PJRT_Executable*>(executable));
    }
    PJRT_Executable* Wrap() { return reinterpret_cast<PJRT_Executable*>(this); }
    Program& program() { return *program_; }

  private:
    std::shared_ptr<Program> program_;
};

class LoadedExecutableInstance {
  public:
    explicit LoadedExecutableInstance(std::shared_ptr<Program> program)
        : program_(std::move(program)) {}

    static LoadedExecutableInstance* Unwrap(PJRT_LoadedExecutable* executable) {
        return reinterpret_cast<LoadedExecutableInstance*>(executable);
    }
    PJRT_LoadedExecutable* Wrap() { return reinterpret_cast<PJRT_LoadedExecutable*>(this); }
    const std::shared_ptr<Program>& program() const { return program_; }
    bool is_deleted() const { return deleted_; }
    void Delete() { deleted_ = true; }

  private:
    std::shared_ptr<Program> program_;
    std::atomic<bool> deleted_ = false;
};

// Runs `program` and fills the output lists (execute.cc). The program lives until its results are
// there, whoever drops it meanwhile.
Status Execute(const std::shared_ptr<Program>& program,
               const PJRT_LoadedExecutable_Execute_Args& args);

// The serialised form: magic, version, program, options, what compiling made, checksum
// (serialize.cc).
StatusOr<std::string> SerializeProgram(const Program& program);
struct ProgramSource {
    std::string code, options, stored;
};
StatusOr<ProgramSource> ParseSerialized(const char* data, size_t size, const std::string& version);

PJRT_Extension_Base* ShardingsExtension();
void FillExecutableEntries(PJRT_Api* api);        // executable_entries.cc
void FillLoadedExecutableEntries(PJRT_Api* api);  // loaded_executable.cc

}  // namespace jax_ane::pjrt
