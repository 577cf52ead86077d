// SPDX-License-Identifier: Apache-2.0
#include "device/faults.h"

#include <cstdio>
#include <cstring>
#include <mutex>

namespace jax_ane::device {
namespace {

using Call = FaultPlan::Call;
using Kind = FaultPlan::Kind;
using Rule = FaultPlan::Rule;

std::string Hex(uint32_t value) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%x", value);
    return text;
}

std::string By(const Rule& rule) { return " (by JAX_ANE_FAULTS: " + rule.text + ")"; }

// A status that is no status: an engine may answer with a number that nobody knows.
Status GarbageStatus(const Rule& rule) { return Status(static_cast<StatusCode>(0x5EED), By(rule)); }

Status Failure(const Rule& rule, const std::string& text) {
    return rule.kind == Kind::kGarbage ? GarbageStatus(rule) : Internal(text + By(rule));
}

// Attributes as a damaged or half-written dictionary would have them, in one of several ways.
ProgramAttributes GarbageAttributes(ProgramAttributes attributes, size_t seed) {
    if (attributes.outputs.empty()) return attributes;
    BoundaryTensor& tensor = seed % 2 == 0 || attributes.inputs.empty() ? attributes.outputs.back()
                                                                        : attributes.inputs.front();
    switch (seed % 6) {
        case 0:
            tensor.row_stride = 13;
            break;
        case 1:
            tensor.plane_stride = -tensor.plane_stride;
            break;
        case 2:
            tensor.planes = int64_t{1} << 60;
            break;
        case 3:
            tensor.symbol = "\xff\xfe";
            break;
        case 4:
            tensor.width = -1;
            break;
        default:
            tensor.type = static_cast<ElementType>(0xEE);
            break;
    }
    return attributes;
}

// What a device and its programs share: the plan, and programs whose unloading failed.
struct Faults {
    explicit Faults(std::shared_ptr<FaultPlan> p) : plan(std::move(p)) {}
    std::shared_ptr<FaultPlan> plan;
    std::mutex mutex;
    std::vector<std::shared_ptr<LoadedProgram>> stuck;
    int64_t failed_unloads = 0;
};

class FaultyProgram : public LoadedProgram {
  public:
    FaultyProgram(std::shared_ptr<LoadedProgram> inner, std::shared_ptr<Faults> faults);
    ~FaultyProgram() override;
    const ProgramAttributes& attributes() const override { return attributes_; }
    size_t arena_bytes() const override { return inner_->arena_bytes(); }
    size_t lower_bound_bytes() const override { return inner_->lower_bound_bytes(); }
    size_t weight_bytes() const override { return inner_->weight_bytes(); }
    Status Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) override;

  private:
    std::shared_ptr<LoadedProgram> inner_;
    std::shared_ptr<Faults> faults_;
    ProgramAttributes attributes_;
};

FaultyProgram::FaultyProgram(std::shared_ptr<LoadedProgram> inner, std::shared_ptr<Faults> faults)
    : inner_(std::move(inner)), faults_(std::move(faults)) {
    static std::atomic<size_t> seed{0};
    const Rule* rule = faults_->plan->Strike(Call::kAttributes);
    if (rule == nullptr) {
        attributes_ = inner_->attributes();
    } else if (rule->kind == Kind::kGarbage) {
        attributes_ = GarbageAttributes(inner_->attributes(), seed.fetch_add(1));
    }  // a failure leaves them empty, as a shell of a model has them
}

FaultyProgram::~FaultyProgram() {
    if (faults_->plan->Strike(Call::kUnload) == nullptr) return;
    std::lock_guard lock(faults_->mutex);
    faults_->stuck.push_back(std::move(inner_));
    ++faults_->failed_unloads;
}

Status FaultyProgram::Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) {
    const Rule* rule = faults_->plan->Strike(Call::kEvaluate);
    if (rule == nullptr) return inner_->Evaluate(inputs, outputs);
    if (rule->kind == Kind::kGarbage) {
        for (const Surface& s : outputs) std::memset(s.data, 0xA5, s.size_bytes);
        return GarbageStatus(*rule);
    }
    return Internal("ANEProgramProcessRequestDirect() Failed with status=" + Hex(rule->value) +
                    " : statusType=0x9: Program Inference error" + By(*rule));
}

class FaultyDevice : public Device {
  public:
    FaultyDevice(std::shared_ptr<Device> inner, std::shared_ptr<FaultPlan> plan)
        : inner_(std::move(inner)), faults_(std::make_shared<Faults>(std::move(plan))) {}
    std::string kind() const override { return inner_->kind(); }

    StatusOr<std::shared_ptr<CompiledProgram>> Compile(std::string_view mil_text,
                                                       const Blobs& blobs) override {
        const Rule* rule = faults_->plan->Strike(Call::kCompile);
        if (rule == nullptr) return inner_->Compile(mil_text, blobs);
        if (rule->kind == Kind::kGarbage) return std::shared_ptr<CompiledProgram>();
        return Internal("_ANECompiler : ANECCompile() FAILED : err=() status=" + Hex(rule->value) +
                        By(*rule));
    }

    StatusOr<std::shared_ptr<LoadedProgram>> Load(
        const std::shared_ptr<CompiledProgram>& program) override {
        return Loading([&] { return inner_->Load(program); });
    }
    StatusOr<std::shared_ptr<LoadedProgram>> LoadWithWeights(
        const std::shared_ptr<CompiledProgram>& program, const Blobs& blobs) override {
        return Loading([&] { return inner_->LoadWithWeights(program, blobs); });
    }

    DeviceStats stats() const override {
        DeviceStats stats = inner_->stats();
        std::lock_guard lock(faults_->mutex);
        stats.failed_unloads += faults_->failed_unloads;
        return stats;
    }

  private:
    template <typename Fn>
    StatusOr<std::shared_ptr<LoadedProgram>> Loading(Fn&& load) {
        {
            // Unloading is tried again before anything else is loaded.
            std::lock_guard lock(faults_->mutex);
            faults_->stuck.clear();
        }
        if (const Rule* rule = faults_->plan->Strike(Call::kLoad)) {
            return Failure(*rule, "Program load failure: status=" + Hex(rule->value));
        }
        JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<LoadedProgram> loaded, load());
        return std::shared_ptr<LoadedProgram>(
            std::make_shared<FaultyProgram>(std::move(loaded), faults_));
    }

    std::shared_ptr<Device> inner_;
    std::shared_ptr<Faults> faults_;
};

}  // namespace

std::shared_ptr<Device> WithFaults(std::shared_ptr<Device> device,
                                   std::shared_ptr<FaultPlan> plan) {
    return std::make_shared<FaultyDevice>(std::move(device), std::move(plan));
}

}  // namespace jax_ane::device
