// SPDX-License-Identifier: Apache-2.0
#include "device/software/software_device.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "device/software/engine.h"
#include "device/software/mil/parser.h"
#include "device/software/planner.h"

namespace jax_ane::software {
namespace {

using device::BoundaryTensor;
using device::ProgramAttributes;
using device::Surface;

constexpr char kInferenceError[] =
    "ANEProgramProcessRequestDirect() Failed with status=0x1d : statusType=0x9: Program "
    "Inference error";

device::ElementType BorderType(DType type) {
    switch (type) {
        case DType::kFp32:
            return device::ElementType::kFp32;
        case DType::kInt8:
            return device::ElementType::kInt8;
        case DType::kUint8:
            return device::ElementType::kUint8;
        case DType::kInt16:
            return device::ElementType::kInt16;
        case DType::kUint16:
            return device::ElementType::kUint16;
        default:
            return device::ElementType::kFp16;
    }
}

BoundaryTensor MakeBoundary(const GraphValue& value) {
    BoundaryTensor t;
    t.name = value.name;
    t.symbol = value.name;
    t.type = BorderType(value.type.dtype);
    t.dims = value.type.dims;
    const size_t rank = t.dims.size();
    if (rank >= 1) t.width = t.dims[rank - 1];
    if (rank >= 2) t.height = t.dims[rank - 2];
    for (size_t i = 0; i + 2 < rank; ++i) t.planes *= t.dims[i];
    t.row_stride = (t.width * static_cast<int64_t>(device::ElementSize(t.type)) + 63) / 64 * 64;
    t.plane_stride = t.height * t.row_stride;
    return t;
}

struct FreeDeleter {
    void operator()(void* p) const { std::free(p); }
};

// What one evaluation writes to beside the surfaces.
struct RunState {
    std::unique_ptr<uint8_t, FreeDeleter> arena;
    std::vector<uint8_t*> bases;
};

class SoftwareCompiled : public device::CompiledProgram {
  public:
    explicit SoftwareCompiled(Graph graph) : graph_(std::make_shared<Graph>(std::move(graph))) {}
    const Graph& graph() const { return *graph_; }

  private:
    std::shared_ptr<const Graph> graph_;
};

class SoftwareLoaded : public device::LoadedProgram {
  public:
    SoftwareLoaded(ProgramAttributes attributes, Plan plan, Engine engine,
                   std::shared_ptr<std::atomic<int64_t>> loaded);
    ~SoftwareLoaded() override { loaded_->fetch_sub(1); }
    const ProgramAttributes& attributes() const override { return attributes_; }
    size_t arena_bytes() const override { return plan_.arena_bytes; }
    size_t lower_bound_bytes() const override { return plan_.lower_bound_bytes; }
    size_t weight_bytes() const override { return plan_.held_bytes; }
    Status Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) override;

  private:
    StatusOr<std::unique_ptr<RunState>> TakeState();
    void ReturnState(std::unique_ptr<RunState> state);
    static Status CheckSurfaces(const char* what, std::span<const Surface> surfaces,
                                const std::vector<BoundaryTensor>& tensors,
                                const std::vector<int>& slots);

    ProgramAttributes attributes_;
    Plan plan_;
    Engine engine_;
    std::shared_ptr<std::atomic<int64_t>> loaded_;
    std::vector<int> input_slots_;   // by declaration: index into the symbol array
    std::vector<int> output_slots_;  // likewise
    std::mutex mutex_;
    std::vector<std::unique_ptr<RunState>> idle_;
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
                               std::shared_ptr<std::atomic<int64_t>> loaded)
    : attributes_(std::move(attributes)),
      plan_(std::move(plan)),
      engine_(std::move(engine)),
      loaded_(std::move(loaded)),
      input_slots_(Slots(attributes_.inputs, attributes_.input_symbols)),
      output_slots_(Slots(attributes_.outputs, attributes_.output_symbols)) {}

StatusOr<std::unique_ptr<RunState>> SoftwareLoaded::TakeState() {
    {
        std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            auto state = std::move(idle_.back());
            idle_.pop_back();
            return state;
        }
    }
    auto state = std::make_unique<RunState>();
    const size_t bytes = std::max<size_t>(plan_.arena_bytes, 64);
    state->arena.reset(static_cast<uint8_t*>(std::aligned_alloc(64, bytes)));
    if (state->arena == nullptr) {
        return ResourceExhausted("an evaluation needs " + std::to_string(bytes) +
                                 " bytes of intermediates, which the machine does not have");
    }
    state->bases.resize(plan_.bases());
    state->bases[0] = state->arena.get();
    for (size_t i = 0; i < plan_.block_offsets.size(); ++i) {
        state->bases[static_cast<size_t>(plan_.border_bases) + i] =
            state->arena.get() + plan_.block_offsets[i];
    }
    return state;
}

void SoftwareLoaded::ReturnState(std::unique_ptr<RunState> state) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(state));
}

Status SoftwareLoaded::CheckSurfaces(const char* what, std::span<const Surface> surfaces,
                                     const std::vector<BoundaryTensor>& tensors,
                                     const std::vector<int>& slots) {
    const std::string head = std::string(kInferenceError) + " (" + RuleName(Rule::kSurface) + ": ";
    if (surfaces.size() != tensors.size()) {
        return InvalidArgument(head + std::to_string(surfaces.size()) + " " + what +
                               " surfaces for " + std::to_string(tensors.size()) + " symbols)");
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
        const Surface& s = surfaces[static_cast<size_t>(slots[i])];
        const size_t needed = tensors[i].size_bytes();
        if (s.data == nullptr || s.size_bytes < needed) {
            return InvalidArgument(head + what + " " + tensors[i].symbol + " needs " +
                                   std::to_string(needed) + " bytes, the surface has " +
                                   std::to_string(s.data == nullptr ? 0 : s.size_bytes) + ")");
        }
        if (reinterpret_cast<uintptr_t>(s.data) % 64 != 0) {
            return InvalidArgument(head + what + " " + tensors[i].symbol +
                                   "'s surface is not 64-byte aligned)");
        }
    }
    return Status();
}

bool Overlap(const uint8_t* a, size_t a_bytes, const uint8_t* b, size_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

Status SoftwareLoaded::Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) {
    JAX_ANE_RETURN_IF_ERROR(CheckSurfaces("input", inputs, attributes_.inputs, input_slots_));
    JAX_ANE_RETURN_IF_ERROR(CheckSurfaces("output", outputs, attributes_.outputs, output_slots_));
    JAX_ANE_ASSIGN_OR_RETURN(std::unique_ptr<RunState> state, TakeState());
    const size_t input_count = input_slots_.size();
    for (size_t j = 0; j < output_slots_.size(); ++j) {
        state->bases[1 + input_count + j] =
            static_cast<uint8_t*>(outputs[static_cast<size_t>(output_slots_[j])].data);
    }
    // Results may be written while inputs are still read, so an input under an output is copied
    // first.
    std::vector<std::unique_ptr<uint8_t, FreeDeleter>> copies;
    for (size_t i = 0; i < input_count; ++i) {
        auto* data = static_cast<uint8_t*>(inputs[static_cast<size_t>(input_slots_[i])].data);
        const size_t bytes = attributes_.inputs[i].size_bytes();
        bool shared = false;
        for (size_t j = 0; j < output_slots_.size(); ++j) {
            shared |= Overlap(data, bytes, state->bases[1 + input_count + j],
                              attributes_.outputs[j].size_bytes());
        }
        if (shared) {
            copies.emplace_back(static_cast<uint8_t*>(std::aligned_alloc(64, bytes)));
            if (copies.back() == nullptr) return ResourceExhausted("no memory for an input's copy");
            std::memcpy(copies.back().get(), data, bytes);
            data = copies.back().get();
        }
        state->bases[1 + i] = data;
    }
    const Run run{state->bases.data()};
    for (const Step& step : plan_.steps) step(run);
    ReturnState(std::move(state));
    return Status();
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
    SoftwareDevice(const ChipTraits& chip, NumericsMode mode) : chip_(chip), mode_(mode) {}
    std::string kind() const override { return "Software ANE (" + chip_.name + ")"; }

    StatusOr<std::shared_ptr<device::CompiledProgram>> Compile(
        std::string_view mil_text, const device::Blobs& blobs) override {
        Findings findings;
        const auto program = mil::Parse(mil_text, &findings);
        if (!program) return FirstRefusal(findings);
        auto graph = BuildGraph(*program, blobs, chip_, &findings);
        if (!graph) return FirstRefusal(findings);
        return std::shared_ptr<device::CompiledProgram>(
            std::make_shared<SoftwareCompiled>(std::move(*graph)));
    }

    StatusOr<std::shared_ptr<device::LoadedProgram>> Load(
        const std::shared_ptr<device::CompiledProgram>& program) override {
        const auto* compiled = dynamic_cast<const SoftwareCompiled*>(program.get());
        if (compiled == nullptr) return InvalidArgument("the program is another device's");
        if (loaded_->fetch_add(1) >= chip_.max_loaded_programs) {
            loaded_->fetch_sub(1);
            return ResourceExhausted("GetANEFModel: must re-compile (" +
                                     RuleName(Rule::kLoadedPrograms) + ": " + chip_.name +
                                     " keeps " + std::to_string(chip_.max_loaded_programs) +
                                     " programs loaded: unload one)");
        }
        ProgramAttributes attributes = MakeAttributes(compiled->graph());
        const Engine engine = CurrentEngine();
        StatusOr<Plan> plan = [&]() -> StatusOr<Plan> {
            try {
                return MakePlan(compiled->graph(), attributes, chip_, mode_, engine);
            } catch (const std::bad_alloc&) {
                return ResourceExhausted("no memory for the program's weights");
            }
        }();
        if (!plan.ok()) {
            loaded_->fetch_sub(1);
            return plan.status();
        }
        return std::shared_ptr<device::LoadedProgram>(std::make_shared<SoftwareLoaded>(
            std::move(attributes), *std::move(plan), engine, loaded_));
    }

  private:
    const ChipTraits chip_;
    const NumericsMode mode_;
    // Outlives the device, because its programs may.
    std::shared_ptr<std::atomic<int64_t>> loaded_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace

ProgramAttributes MakeAttributes(const Graph& graph) {
    ProgramAttributes attributes;
    for (int v : graph.inputs) {
        attributes.inputs.push_back(MakeBoundary(graph.values[static_cast<size_t>(v)]));
        attributes.input_symbols.push_back(attributes.inputs.back().symbol);
    }
    for (int v : graph.outputs) {
        attributes.outputs.push_back(MakeBoundary(graph.values[static_cast<size_t>(v)]));
        attributes.output_symbols.push_back(attributes.outputs.back().symbol);
    }
    std::sort(attributes.input_symbols.begin(), attributes.input_symbols.end());
    std::sort(attributes.output_symbols.begin(), attributes.output_symbols.end());
    return attributes;
}

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
