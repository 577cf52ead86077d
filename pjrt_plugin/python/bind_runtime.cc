// SPDX-License-Identifier: Apache-2.0
// Programs, counters and the FFI handler, as the compiler and the reports see them.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <map>

#include "device/device.h"
#include "python/convert.h"
#include "python/devices.h"
#include "runtime/adamw.h"
#include "runtime/ffi_handler.h"
#include "runtime/program_table.h"
#include "runtime/weights.h"
#include "util/heap.h"
#include "util/memory_pool.h"
#include "util/trace.h"

namespace jax_ane::python {

namespace nb = nanobind;
using runtime::BoundProgram;
using runtime::ProgramTable;

namespace {

// A loaded program's owner: the program leaves the table when this dies.
class ProgramHandle {
  public:
    ProgramHandle(int64_t id, std::shared_ptr<BoundProgram> program)
        : id_(id), program_(std::move(program)) {}
    ~ProgramHandle() { ProgramTable::Get().Remove(id_); }
    ProgramHandle(const ProgramHandle&) = delete;
    ProgramHandle& operator=(const ProgramHandle&) = delete;

    int64_t id() const { return id_; }
    // The same program with other weights, not compiled again; this one keeps its own.
    std::unique_ptr<ProgramHandle> WithWeights(const nb::dict& blobs, std::string name) const {
        device::Blobs files = ReadBlobs(blobs);
        auto work = [&] {
            nb::gil_scoped_release release;
            return program_->WithWeights(std::move(files), std::move(name));
        };
        std::shared_ptr<BoundProgram> program = Get(work());
        const int64_t id = Get(ProgramTable::Get().Add(program));
        return std::make_unique<ProgramHandle>(id, std::move(program));
    }

  private:
    int64_t id_;
    std::shared_ptr<BoundProgram> program_;
};

// (argument, blob path, moves) of runtime::WeightSlot.
using Weight = std::tuple<size_t, std::string, std::vector<runtime::WeightSlot::Move>>;

ProgramHandle* LoadProgram(const std::string& text, const nb::dict& blobs, const nb::dict& chip,
                           bool exact, std::vector<std::string> input_names,
                           std::vector<std::string> output_names, std::string name,
                           std::vector<bool> scaled_inputs, std::vector<bool> scaled_outputs,
                           float scaled_below, std::vector<int> lifted_outputs,
                           const std::vector<Weight>& weights, int64_t key) {
    software::ChipTraits traits = Get(ReadChip(chip));
    software::NumericsMode mode =
        exact ? software::NumericsMode::kExact : software::NumericsMode::kFast;
    device::Blobs files = ReadBlobs(blobs);
    auto work = [&]() -> StatusOr<std::shared_ptr<BoundProgram>> {
        nb::gil_scoped_release release;
        const TraceSpan span(TraceRow::kCompile, name);
        std::shared_ptr<device::Device> device = DeviceFor(traits, mode);
        auto compiled = device->Compile(text, files);
        if (!compiled.ok()) return KnownStatus(compiled.status(), "compile");
        return BoundProgram::Create(device, *compiled, std::move(input_names),
                                    std::move(output_names),
                                    {std::move(scaled_inputs), std::move(scaled_outputs),
                                     scaled_below, std::move(lifted_outputs)},
                                    name);
    };
    std::shared_ptr<BoundProgram> program = Get(work());
    std::vector<runtime::WeightSlot> slots;
    for (const auto& [argument, path, moves] : weights) slots.push_back({argument, path, moves});
    if (!slots.empty()) program->Bake(std::move(slots));
    return new ProgramHandle(Get(ProgramTable::Get().Add(program, key)), program);
}

nb::list ProgramStats() {
    std::map<std::string, std::shared_ptr<BoundProgram>> loaded;
    for (auto& program : ProgramTable::Get().All()) loaded[program->name()] = program;
    nb::list rows;
    for (const auto& [name, totals] : ProgramTable::Get().Totals()) {
        const auto found = loaded.find(name);
        const BoundProgram* program = found != loaded.end() ? found->second.get() : nullptr;
        nb::dict row;
        row["name"] = name;
        row["loaded"] = program != nullptr;
        row["evaluations"] = totals.evaluations;
        row["loads"] = totals.loads;
        row["donations"] = totals.donations;
        row["bytes_in"] = totals.bytes_in;
        row["bytes_out"] = totals.bytes_out;
        row["milliseconds"] = static_cast<double>(totals.nanoseconds) * 1e-6;
        row["arena_bytes"] = program != nullptr ? program->arena_bytes() : 0;
        row["arena_lower_bound_bytes"] = program != nullptr ? program->lower_bound_bytes() : 0;
        row["surface_bytes"] = program != nullptr ? program->surface_bytes() : 0;
        row["weight_bytes"] = program != nullptr ? program->weight_bytes() : 0;
        rows.append(row);
    }
    return rows;
}

}  // namespace

void BindRuntime(nb::module_& m) {
    nb::class_<ProgramHandle>(m, "Program", "A loaded ANE program; unloaded when this object dies.")
        .def_prop_ro("id", &ProgramHandle::id)
        .def("with_weights", &ProgramHandle::WithWeights, nb::arg("blobs"), nb::arg("name"),
             "Loads the program with other weights, without compiling it.");
    m.def(
        "load_program", &LoadProgram, nb::arg("text"), nb::arg("blobs"), nb::arg("chip"),
        nb::arg("exact"), nb::arg("input_names"), nb::arg("output_names"), nb::arg("name"),
        nb::arg("scaled_inputs") = std::vector<bool>(),
        nb::arg("scaled_outputs") = std::vector<bool>(), nb::arg("scaled_below") = 0.0f,
        nb::arg("lifted_outputs") = std::vector<int>(), nb::arg("weights") = std::vector<Weight>(),
        nb::arg("key") = 0, nb::rv_policy::take_ownership,
        "Compiles and loads a MIL program; raises RuntimeError(status code, text). Flags say which "
        "inputs are scaled by a power of two where they lie below `scaled_below`, and which "
        "outputs "
        "with them; exponents say by how much the program itself has made each output too large; "
        "`weights` are the constants that arguments of a call hold: (argument, blob path, moves). "
        "Calls in host programs name it by `key`.");
    m.def("program_stats", &ProgramStats,
          "One dict a program, loaded or not any more: evaluations, bytes, time.");
    m.def(
        "pool_bytes",
        [] {
            const MemoryPool& pool = MemoryPool::Get();
            return std::pair(pool.used_bytes(), pool.idle_bytes());
        },
        "Bytes of large blocks (surfaces, arenas, images) in use, and idle until the next call.");
    m.def(
        "release_free_heap", [] { ReleaseFreeHeap(); }, nb::call_guard<nb::gil_scoped_release>(),
        "Gives memory that the allocator keeps, but nobody uses, back to the system.");
    m.def(
        "program_handler", []() { return nb::capsule(runtime::ProgramHandler()); },
        "The FFI handler of the custom call jax_ane_program, as a capsule.");
    m.def(
        "adamw_handler", []() { return nb::capsule(runtime::AdamWHandler()); },
        "The FFI handler of the custom call jax_ane_adamw, as a capsule.");
}

}  // namespace jax_ane::python
