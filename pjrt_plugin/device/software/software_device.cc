// SPDX-License-Identifier: Apache-2.0
#include "device/software/software_device.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "device/software/engine.h"
#include "device/software/mil/parser.h"
#include "device/software/planner.h"
#include "device/software/residency.h"
#include "util/aligned_memory.h"
#include "util/gates.h"
#include "util/slot_pool.h"

namespace jax_ane::software {
namespace {

using device::BoundaryTensor;
using device::ProgramAttributes;
using device::Surface;

constexpr char kInferenceError[] =
    "ANEProgramProcessRequestDirect() Failed with status=0x1d : statusType=0x9: Program "
    "Inference error";

int64_t NowNanoseconds() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

// What one evaluation writes to beside the surfaces.
struct RunState {
    AlignedMemory arena;
    std::vector<uint8_t*> bases;
    std::vector<device::SurfaceContents*> contents;  // by base
    std::vector<AlignedMemory> copies;  // of inputs, made when one first lies under an output
};

class SoftwareCompiled : public device::CompiledProgram {
  public:
    SoftwareCompiled(mil::Program program, Graph graph)
        : program_(std::move(program)), graph_(std::move(graph)) {}
    const mil::Program& program() const { return program_; }
    const Graph& graph() const { return graph_; }

  private:
    const mil::Program program_;  // for loads with other weights
    const Graph graph_;
};

class SoftwareLoaded : public device::LoadedProgram {
  public:
    SoftwareLoaded(ProgramAttributes attributes, Plan plan, Engine engine, int queue_depth,
                   std::unique_ptr<Residency> residency);
    const ProgramAttributes& attributes() const override { return attributes_; }
    size_t arena_bytes() const override { return plan_.arena_bytes; }
    size_t lower_bound_bytes() const override { return plan_.lower_bound_bytes; }
    size_t weight_bytes() const override { return plan_.held_bytes; }
    Status Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) override;

  private:
    StatusOr<std::unique_ptr<RunState>> TakeState();
    // A large arena is every program's in turn.
    void ReturnState(std::unique_ptr<RunState> state);
    Status Execute(std::span<const Surface> inputs, std::span<const Surface> outputs);
    Status BindInputs(std::span<const Surface> inputs, RunState& state) const;
    int StartOnEngine();
    static Status CheckSurfaces(const char* what, std::span<const Surface> surfaces,
                                const std::vector<BoundaryTensor>& tensors,
                                const std::vector<int>& slots);

    ProgramAttributes attributes_;
    Plan plan_;
    Engine engine_;
    std::unique_ptr<Residency> residency_;
    std::vector<int> input_slots_;   // by declaration: index into the symbol array
    std::vector<int> output_slots_;  // likewise
    RequestQueue queue_;
    SlotPool<RunState, 128> idle_;
    std::atomic<int> running_{0};
    std::atomic<int> chip_engine_{0};  // where its evaluations under way run
};

std::vector<int> Slots(const std::vector<BoundaryTensor>& tensors,
                       const std::vector<std::string>& symbols) {
    std::vector<int> slots;
    for (const BoundaryTensor& t : tensors) {
        slots.push_back(static_cast<int>(std::find(symbols.begin(), symbols.end(), t.symbol) -
                                         symbols.begin()));
    }
    return slots;
}

SoftwareLoaded::SoftwareLoaded(ProgramAttributes attributes, Plan plan, Engine engine,
                               int queue_depth, std::unique_ptr<Residency> residency)
    : attributes_(std::move(attributes)),
      plan_(std::move(plan)),
      engine_(std::move(engine)),
      residency_(std::move(residency)),
      input_slots_(Slots(attributes_.inputs, attributes_.input_symbols)),
      output_slots_(Slots(attributes_.outputs, attributes_.output_symbols)),
      queue_(queue_depth) {}

StatusOr<std::unique_ptr<RunState>> SoftwareLoaded::TakeState() {
    auto state = idle_.Take();
    if (state == nullptr) {
        state = std::make_unique<RunState>();
        state->bases.resize(plan_.bases());
        state->contents.resize(state->bases.size());
        state->copies.resize(input_slots_.size());
    }
    if (state->arena != nullptr) return state;
    state->arena = AllocateAligned(plan_.arena_bytes);
    if (state->arena == nullptr) {
        return ResourceExhausted("an evaluation needs " + std::to_string(plan_.arena_bytes) +
                                 " bytes of intermediates, which the machine does not have");
    }
    auto* arena = static_cast<uint8_t*>(state->arena.get());
    state->bases[0] = arena;
    for (size_t i = 0; i < plan_.block_offsets.size(); ++i) {
        state->bases[static_cast<size_t>(plan_.border_bases) + i] = arena + plan_.block_offsets[i];
    }
    return state;
}

void SoftwareLoaded::ReturnState(std::unique_ptr<RunState> state) {
    if (plan_.arena_bytes >= MemoryPool::kLeast) state->arena.reset();
    idle_.Return(std::move(state));
}

Status SoftwareLoaded::CheckSurfaces(const char* what, std::span<const Surface> surfaces,
                                     const std::vector<BoundaryTensor>& tensors,
                                     const std::vector<int>& slots) {
    const auto refuse = [](const std::string& why) {
        return InvalidArgument(std::string(kInferenceError) + " (" + RuleName(Rule::kSurface) +
                               ": " + why + ")");
    };
    if (surfaces.size() != tensors.size()) {
        return refuse(std::to_string(surfaces.size()) + " " + what + " surfaces for " +
                      std::to_string(tensors.size()) + " symbols");
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
        const Surface& s = surfaces[static_cast<size_t>(slots[i])];
        const size_t needed = tensors[i].size_bytes();
        if (s.data == nullptr || s.size_bytes < needed) {
            return refuse(std::string(what) + " " + tensors[i].symbol + " needs " +
                          std::to_string(needed) + " bytes, the surface has " +
                          std::to_string(s.data == nullptr ? 0 : s.size_bytes));
        }
        if (reinterpret_cast<uintptr_t>(s.data) % 64 != 0) {
            return refuse(std::string(what) + " " + tensors[i].symbol +
                          "'s surface is not 64-byte aligned");
        }
    }
    return Status();
}

bool Overlap(const uint8_t* a, size_t a_bytes, const uint8_t* b, size_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

// Results may be written while inputs are still read, so an input under an output is copied first.
Status SoftwareLoaded::BindInputs(std::span<const Surface> inputs, RunState& state) const {
    const size_t input_count = input_slots_.size();
    for (size_t i = 0; i < input_count; ++i) {
        const Surface& surface = inputs[static_cast<size_t>(input_slots_[i])];
        auto* data = static_cast<uint8_t*>(surface.data);
        const size_t bytes = attributes_.inputs[i].size_bytes();
        bool shared = false;
        for (size_t j = 0; j < output_slots_.size(); ++j) {
            shared |= Overlap(data, bytes, state.bases[1 + input_count + j],
                              attributes_.outputs[j].size_bytes());
        }
        if (shared) {
            AlignedMemory& copy = state.copies[i];
            if (copy == nullptr) copy = AllocateAligned(bytes);
            if (copy == nullptr) return ResourceExhausted("no memory for an input's copy");
            std::memcpy(copy.get(), data, bytes);
            data = static_cast<uint8_t*>(copy.get());
        }
        state.bases[1 + i] = data;
        state.contents[1 + i] = shared ? nullptr : surface.contents;
    }
    return Status();
}

Status SoftwareLoaded::Execute(std::span<const Surface> inputs, std::span<const Surface> outputs) {
    JAX_ANE_ASSIGN_OR_RETURN(std::unique_ptr<RunState> state, TakeState());
    for (size_t j = 0; j < output_slots_.size(); ++j) {
        state->bases[1 + input_slots_.size() + j] =
            static_cast<uint8_t*>(outputs[static_cast<size_t>(output_slots_[j])].data);
    }
    JAX_ANE_RETURN_IF_ERROR(BindInputs(inputs, *state));
    const Run run{state->bases.data(), state->contents.data()};
    for (const Step& step : plan_.steps) step(run);
    ReturnState(std::move(state));
    return Status();
}

// One program's evaluations share an engine while they overlap; another program takes the other.
int SoftwareLoaded::StartOnEngine() {
    if (running_.fetch_add(1, std::memory_order_relaxed) == 0) {
        chip_engine_.store(residency_->queues().LeastBusy(), std::memory_order_relaxed);
    }
    const int engine = chip_engine_.load(std::memory_order_relaxed);
    residency_->queues().Begin(engine, NowNanoseconds());
    return engine;
}

Status SoftwareLoaded::Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) {
    JAX_ANE_RETURN_IF_ERROR(CheckSurfaces("input", inputs, attributes_.inputs, input_slots_));
    JAX_ANE_RETURN_IF_ERROR(CheckSurfaces("output", outputs, attributes_.outputs, output_slots_));
    // As the framework, whose programs hold a semaphore of their queue depth: one more waits.
    queue_.Enter();
    const int engine = StartOnEngine();
    const AtExit leave([&] {
        residency_->queues().End(engine, NowNanoseconds());
        running_.fetch_sub(1, std::memory_order_relaxed);
        queue_.Leave();
    });
    try {
        return Execute(inputs, outputs);
    } catch (const std::bad_alloc&) {
        return ResourceExhausted("no memory for an evaluation");
    }
}

// The first refusal as a status: what the framework says, the rule, and where.
Status FirstRefusal(const Findings& findings) {
    const Finding& f = findings.front();
    std::string message = "InvalidMILProgram: " + RuleName(f.rule) + " at line " +
                          std::to_string(f.position.line) + ", column " +
                          std::to_string(f.position.column) + ": " + f.message;
    if (findings.size() > 1) {
        message += " (and " + std::to_string(findings.size() - 1) + " more)";
    }
    switch (f.rule) {
        case Rule::kNoAnePath:
        case Rule::kIdentity:
        case Rule::kUnknownOp:
        case Rule::kUnimplementedOp:
        case Rule::kChipTooOld:
            return Unimplemented(std::move(message));
        default:
            return InvalidArgument(std::move(message));
    }
}

class SoftwareDevice : public device::Device {
  public:
    SoftwareDevice(const ChipTraits& chip, NumericsMode mode)
        : chip_(chip), mode_(mode), shared_(std::make_shared<Shared>(chip)) {}
    std::string kind() const override { return "Software ANE (" + chip_.name + ")"; }
    StatusOr<std::shared_ptr<device::CompiledProgram>> Compile(std::string_view mil_text,
                                                               const device::Blobs& blobs) override;
    StatusOr<std::shared_ptr<device::LoadedProgram>> Load(
        const std::shared_ptr<device::CompiledProgram>& program) override;
    StatusOr<std::shared_ptr<device::LoadedProgram>> LoadWithWeights(
        const std::shared_ptr<device::CompiledProgram>& program,
        const device::Blobs& blobs) override;
    device::DeviceStats stats() const override;

  private:
    StatusOr<std::shared_ptr<device::LoadedProgram>> LoadGraph(const Graph& graph);

    const ChipTraits chip_;
    const NumericsMode mode_;
    const std::shared_ptr<Shared> shared_;
};

StatusOr<std::shared_ptr<device::CompiledProgram>> SoftwareDevice::Compile(
    std::string_view mil_text, const device::Blobs& blobs) {
    shared_->compiles.fetch_add(1);
    Findings findings;
    auto program = mil::Parse(mil_text, &findings);
    if (!program) return FirstRefusal(findings);
    auto graph = BuildGraph(*program, blobs, chip_, &findings);
    if (!graph) return FirstRefusal(findings);
    return std::shared_ptr<device::CompiledProgram>(
        std::make_shared<SoftwareCompiled>(*std::move(program), *std::move(graph)));
}

StatusOr<std::shared_ptr<device::LoadedProgram>> SoftwareDevice::LoadGraph(const Graph& graph) {
    JAX_ANE_ASSIGN_OR_RETURN(std::unique_ptr<Residency> residency,
                             Residency::Take(chip_, shared_, ChipWeightBytes(graph)));
    ProgramAttributes attributes = MakeAttributes(graph);
    const Engine engine = CurrentEngine();
    try {
        JAX_ANE_ASSIGN_OR_RETURN(Plan plan, MakePlan(graph, attributes, chip_, mode_, engine));
        shared_->loads.fetch_add(1);
        return std::shared_ptr<device::LoadedProgram>(std::make_shared<SoftwareLoaded>(
            std::move(attributes), std::move(plan), engine, static_cast<int>(chip_.queue_depth),
            std::move(residency)));
    } catch (const std::bad_alloc&) {
        return ResourceExhausted("no memory for the program's weights");
    }
}

StatusOr<std::shared_ptr<device::LoadedProgram>> SoftwareDevice::Load(
    const std::shared_ptr<device::CompiledProgram>& program) {
    const auto* compiled = dynamic_cast<const SoftwareCompiled*>(program.get());
    if (compiled == nullptr) return InvalidArgument("the program is another device's");
    return LoadGraph(compiled->graph());
}

// The new blobs are checked as strictly as the first ones: constants may decide shapes.
StatusOr<std::shared_ptr<device::LoadedProgram>> SoftwareDevice::LoadWithWeights(
    const std::shared_ptr<device::CompiledProgram>& program, const device::Blobs& blobs) {
    const auto* compiled = dynamic_cast<const SoftwareCompiled*>(program.get());
    if (compiled == nullptr) return InvalidArgument("the program is another device's");
    Findings findings;
    const auto graph = BuildGraph(compiled->program(), blobs, chip_, &findings);
    if (!graph) return FirstRefusal(findings);
    return LoadGraph(*graph);
}

device::DeviceStats SoftwareDevice::stats() const {
    device::DeviceStats stats;
    stats.compiles = shared_->compiles.load();
    stats.compile_budget = chip_.compile_budget;
    stats.loads = shared_->loads.load();
    stats.loaded_programs = shared_->programs.load();
    stats.max_loaded_programs = chip_.max_loaded_programs;
    stats.weight_bytes = shared_->weight_bytes.load();
    stats.max_weight_bytes = chip_.max_weight_bytes;
    stats.engines = shared_->queues.States(NowNanoseconds());
    return stats;
}

}  // namespace

Findings CheckProgram(std::string_view mil_text, const device::Blobs& blobs,
                      const ChipTraits& chip) {
    Findings findings;
    if (const auto program = mil::Parse(mil_text, &findings)) {
        BuildGraph(*program, blobs, chip, &findings);
    }
    std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
        return std::pair(a.position.line, a.position.column) <
               std::pair(b.position.line, b.position.column);
    });
    return findings;
}

std::unique_ptr<device::Device> MakeSoftwareDevice(const ChipTraits& chip, NumericsMode mode) {
    return std::make_unique<SoftwareDevice>(chip, mode);
}

}  // namespace jax_ane::software
