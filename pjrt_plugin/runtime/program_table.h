// SPDX-License-Identifier: Apache-2.0
// Loaded programs by id, and how a call's dense arrays reach their surfaces: order and strides come
// from the loaded program's attributes alone.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/software/engine.h"
#include "runtime/scaling.h"
#include "util/aligned_memory.h"
#include "util/gates.h"
#include "util/slot_pool.h"
#include "util/status.h"

namespace jax_ane::runtime {

// Element types of the dense arrays on the host's side of a program's border.
enum class HostType : uint8_t { kFloat32, kFloat16, kPred };

// One dense row-major array; `elements` counts all of it.
struct HostArray {
    void* data = nullptr;
    HostType type = HostType::kFloat32;
    int64_t elements = 0;
    // Of results: stays as the engine wrote it; the caller multiplies by what Run returns.
    bool keeps_scale = false;
};

// What the programs of one name have done, over every time that one was loaded.
struct ProgramCounters {
    std::atomic<int64_t> evaluations{0};
    std::atomic<int64_t> bytes_in{0};
    std::atomic<int64_t> bytes_out{0};
    std::atomic<int64_t> nanoseconds{0};
    std::atomic<int64_t> loads{0};
    std::atomic<int64_t> donations{0};  // of new weights, each of which is a load too
};

// The same counts as plain numbers.
struct ProgramTotals {
    int64_t evaluations = 0;
    int64_t bytes_in = 0;
    int64_t bytes_out = 0;
    int64_t nanoseconds = 0;
    int64_t loads = 0;
    int64_t donations = 0;
};

class BakedWeights;
struct WeightSlot;

// A program bound to its caller's argument order. Run may be called from several threads at once.
class BoundProgram {
  public:
    // `input_names[i]` is the MIL name of argument i. Fails if the program's attributes name other
    // inputs or outputs than these. `scaling` is empty or has an entry for each.
    static StatusOr<std::shared_ptr<BoundProgram>> Create(
        std::shared_ptr<device::Device> device, std::shared_ptr<device::CompiledProgram> compiled,
        std::vector<std::string> input_names, std::vector<std::string> output_names,
        Scaling scaling, std::string name);

    // This program with other weights under a new name, not compiled again.
    StatusOr<std::shared_ptr<BoundProgram>> WithWeights(device::Blobs weights,
                                                        std::string name) const;

    // Returns what results that keep their scale must be multiplied by, a power of two; what the
    // program itself lifted them by (Scaling::lifted) is not in it.
    StatusOr<float> Run(std::span<const HostArray> inputs, std::span<const HostArray> outputs);
    ~BoundProgram();

    // From now on some of the caller's arguments are constants of the program, which was compiled
    // with zeros for them (weights.h).
    void Bake(std::vector<WeightSlot> slots);

    const std::string& name() const { return name_; }
    const software::Engine& engine() const { return engine_; }
    size_t arena_bytes() const { return arena_bytes_; }
    size_t lower_bound_bytes() const { return lower_bound_bytes_; }
    size_t weight_bytes() const { return weight_bytes_; }
    // Of the surfaces that calls hold or have left for the next ones, images not among them. Large
    // ones go back to the pool after a call.
    size_t surface_bytes() const {
        return static_cast<size_t>(surface_bytes_.load(std::memory_order_relaxed));
    }

    // Drops the device's copy until the next call. Returns false if there was none, or if a call is
    // using it.
    bool Unload();
    int64_t last_used() const { return last_used_.load(std::memory_order_relaxed); }

  private:
    // One argument or result: the surface index the device told, and the layout.
    struct Port {
        size_t symbol = 0;
        device::BoundaryTensor tensor;
    };
    struct Surfaces;

    BoundProgram();
    Status BindPorts(const std::vector<std::string>& input_names,
                     const std::vector<std::string>& output_names);
    // Calls fn(index, port) -> Status for each port, on several threads; returns the first failure.
    template <typename Fn>
    Status ForEachPort(const std::vector<Port>& ports, Fn&& fn) const;
    // Enters gate_, loading the program first where it is not.
    Status Enter();
    // One load, tried twice, that reports the layouts to which the ports are bound.
    StatusOr<std::shared_ptr<device::LoadedProgram>> Load();
    Status CheckStillBound(const device::ProgramAttributes& attributes) const;
    StatusOr<std::unique_ptr<Surfaces>> TakeSurfaces();
    StatusOr<AlignedMemory> AllocateSurface(const Port& port, Surfaces& surfaces) const;
    // Whether result `index` is scaled back on its way out.
    bool IsScaledBack(const HostArray& array, size_t index) const;
    // Whether result `index` is written where the caller wants it.
    bool IsDirect(const HostArray& array, size_t index) const;
    // Gives result `index` its surface: the caller's memory, or some of our own.
    Status BindOutput(const HostArray& array, const Port& port, Surfaces& surfaces,
                      size_t index) const;
    // Gives argument `index` its surface: the image of its buffer, its own memory if that is fp16
    // as the engine wants it, or a copy.
    Status BindInput(const HostArray& array, const Port& port, Surfaces& surfaces,
                     size_t index) const;
    // Gives the arguments that are scaled their surfaces.
    Status BindScaled(std::span<const HostArray> inputs, Surfaces& surfaces, int exponent) const;
    // The exponent of the scale for a call; 0 where nothing is scaled.
    int ExponentFor(std::span<const HostArray> inputs) const;
    bool HasOverflow(const Surfaces& surfaces) const;
    Status Evaluate(Surfaces& surfaces) const;

    std::shared_ptr<device::Device> device_;
    std::shared_ptr<device::CompiledProgram> compiled_;
    std::optional<device::Blobs> weights_;  // instead of the compiled program's own
    software::Engine engine_;               // converts at the border
    std::string name_;
    std::vector<Port> inputs_;
    std::vector<Port> outputs_;
    Scaling scaling_;
    int64_t input_bytes_ = 0;
    int64_t output_bytes_ = 0;
    size_t arena_bytes_ = 0;
    size_t lower_bound_bytes_ = 0;
    size_t weight_bytes_ = 0;

    std::unique_ptr<BakedWeights> baked_;

    std::mutex mutex_;  // for loading and unloading, never for a call of a loaded program
    UseGate gate_;      // open while loaded_ is there
    std::shared_ptr<device::LoadedProgram> loaded_;
    std::atomic<int64_t> surface_bytes_{0};
    SlotPool<Surfaces, 128> free_surfaces_;
    std::atomic<int64_t> last_used_{0};
    // Outlives the program: a call that is under way when the program leaves still counts.
    std::shared_ptr<ProgramCounters> counters_;

    friend class ProgramTable;
};

// All programs of the process, by id.
class ProgramTable {
  public:
    static ProgramTable& Get();

    // `key` is what calls name the program by, the same in every process; 0 for none. Of two
    // programs with one key, which do the same, the later one is found.
    StatusOr<int64_t> Add(std::shared_ptr<BoundProgram> program, int64_t key = 0);
    void Remove(int64_t id);
    // Takes no lock; null for ids that were never given or have left. Ids are not given twice.
    std::shared_ptr<BoundProgram> Find(int64_t id);
    // Takes a lock where this thread has not seen the key since its program came, else none.
    std::shared_ptr<BoundProgram> FindKey(int64_t key);
    std::vector<std::shared_ptr<BoundProgram>> All();
    // Made when a name is first asked for, and kept.
    std::shared_ptr<ProgramCounters> CountersOf(const std::string& name);
    // By name, programs that left the table included: totals never fall.
    std::map<std::string, ProgramTotals> Totals();
    // Unloads the program that was used longest ago; false if none is loaded but `except`.
    bool UnloadOldest(const BoundProgram* except);

  private:
    // A row never moves, so that Find needs no lock: the gate is open while the program is there.
    struct Row {
        UseGate gate;
        std::shared_ptr<BoundProgram> program;
        int64_t key = 0;  // read and written under the lock
    };
    static constexpr int64_t kChunk = 1024;
    static constexpr int64_t kChunks = 16 * 1024;
    Row* RowOf(int64_t id) const;

    std::mutex mutex_;  // for all but Find
    int64_t count_ = 0;
    std::array<std::atomic<Row*>, kChunks> chunks_{};
    std::map<std::string, std::shared_ptr<ProgramCounters>> counters_;
    std::map<int64_t, int64_t> ids_by_key_;
};

}  // namespace jax_ane::runtime
