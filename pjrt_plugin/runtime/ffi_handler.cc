// SPDX-License-Identifier: Apache-2.0
// Runs a loaded program from inside an XLA:CPU program. Never waits for XLA:CPU's own work: its
// pool would starve and the process hang.
#include "runtime/ffi_handler.h"

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/dispatch_queue.h"
#include "runtime/program_table.h"
#include "util/huge_pages.h"
#include "xla/ffi/api/ffi.h"

namespace jax_ane::runtime {

namespace {

namespace ffi = xla::ffi;

ffi::Error ToFfiError(const Status& status) {
    return ffi::Error(static_cast<ffi::ErrorCode>(status.code()), status.message());
}

bool HostTypeOf(ffi::DataType type, HostType& out) {
    switch (type) {
        case ffi::DataType::F32:
            out = HostType::kFloat32;
            return true;
        case ffi::DataType::F16:
            out = HostType::kFloat16;
            return true;
        case ffi::DataType::PRED:
            out = HostType::kPred;
            return true;
        default:
            return false;
    }
}

template <typename Buffer>
ffi::Error Append(const Buffer& buffer, std::vector<HostArray>& arrays) {
    HostArray array;
    array.data = buffer.untyped_data();
    array.elements = static_cast<int64_t>(buffer.element_count());
    if (!HostTypeOf(buffer.element_type(), array.type)) {
        return ffi::Error(ffi::ErrorCode::kInternal,
                          "an array of a type that the ANE has no border format for");
    }
    arrays.push_back(array);
    return ffi::Error::Success();
}

// One call, on its way to the engine.
struct Call {
    std::shared_ptr<BoundProgram> program;
    std::vector<HostArray> inputs;
    std::vector<HostArray> outputs;
    float* factor = nullptr;  // gets what the results that keep their scale must be multiplied by

    // The results at `keep_scale` stay as the engine wrote them, and a float32 scalar after all
    // results is the factor.
    ffi::Error Gather(ffi::RemainingArgs& args, ffi::RemainingRets& rets, int64_t key,
                      ffi::Span<const int64_t> keep_scale);
    ffi::Error Run() const;
};

ffi::Error Call::Gather(ffi::RemainingArgs& args, ffi::RemainingRets& rets, int64_t key,
                        ffi::Span<const int64_t> keep_scale) {
    program = ProgramTable::Get().FindKey(key);
    if (program == nullptr) {
        return ffi::Error(ffi::ErrorCode::kFailedPrecondition,
                          "ANE program " + std::to_string(key) + " is not loaded in this process");
    }
    inputs.clear();
    outputs.clear();
    factor = nullptr;
    for (size_t i = 0; i < args.size(); ++i) {
        auto buffer = args.get<ffi::AnyBuffer>(i);
        if (buffer.has_error()) return buffer.error();
        if (auto error = Append(*buffer, inputs); error.failure()) return error;
    }
    for (size_t i = 0; i < rets.size(); ++i) {
        auto buffer = rets.get<ffi::AnyBuffer>(i);
        if (buffer.has_error()) return buffer.error();
        if (auto error = Append(**buffer, outputs); error.failure()) return error;
        // XLA:CPU allocates its buffers anew for each call.
        AdviseHugePages((*buffer)->untyped_data(), (*buffer)->size_bytes());
    }
    if (keep_scale.size() == 0) return ffi::Error::Success();
    if (outputs.empty() || outputs.back().type != HostType::kFloat32 ||
        outputs.back().elements != 1) {
        return ffi::Error(ffi::ErrorCode::kInternal, "no float32 scalar for the scale");
    }
    factor = static_cast<float*>(outputs.back().data);
    outputs.pop_back();
    for (const int64_t index : keep_scale) {
        if (index < 0 || static_cast<size_t>(index) >= outputs.size()) {
            return ffi::Error(ffi::ErrorCode::kInternal, "a result that is not there");
        }
        outputs[static_cast<size_t>(index)].keeps_scale = true;
    }
    return ffi::Error::Success();
}

ffi::Error Call::Run() const {
    StatusOr<float> scale = program->Run(inputs, outputs);
    if (!scale.ok()) return ToFfiError(scale.status());
    if (factor != nullptr) *factor = *scale;
    return ffi::Error::Success();
}

// What a call has come to, or will: `error` counts where there is no future.
struct Outcome {
    ffi::Error error;
    std::optional<ffi::Future> later;
};

// A call is `concurrent` where others need not wait for it, nor it for them.
Outcome CallProgram(ffi::RemainingArgs args, ffi::RemainingRets rets, int64_t key, bool concurrent,
                    ffi::Span<const int64_t> keep_scale) {
    // Reused by later calls on this thread, so that a call allocates nothing.
    thread_local Call call;
    const AtExit release([] { call.program = nullptr; });  // it may leave
    ffi::Error error = call.Gather(args, rets, key, keep_scale);
    if (error.failure()) return {std::move(error), {}};
    if (!concurrent) return {call.Run(), {}};
    ffi::Promise promise;
    ffi::Future future(promise);
    DispatchQueue::Get().Run([call = std::exchange(call, {}), promise]() mutable {
        ffi::Error error = call.Run();
        call = {};
        error.failure() ? promise.SetError(std::move(error)) : promise.SetAvailable();
    });
    return {ffi::Error::Success(), std::move(future)};
}

}  // namespace

}  // namespace jax_ane::runtime

namespace xla::ffi {

template <ExecutionStage stage>
struct ResultEncoding<stage, jax_ane::runtime::Outcome> {
    static std::variant<XLA_FFI_Error*, XLA_FFI_Future*> Encode(const XLA_FFI_Api* api,
                                                                XLA_FFI_ExecutionContext* context,
                                                                jax_ane::runtime::Outcome outcome) {
        if (outcome.later) {
            return ResultEncoding<stage, Future>::Encode(api, context, *std::move(outcome.later));
        }
        return ResultEncoding<stage, Error>::Encode(api, context, std::move(outcome.error));
    }
};

}  // namespace xla::ffi

namespace jax_ane::runtime {

namespace {

XLA_FFI_DEFINE_HANDLER(kCallProgram, CallProgram,
                       ffi::Ffi::Bind()
                           .RemainingArgs()
                           .RemainingRets()
                           .Attr<int64_t>("program")
                           .Attr<bool>("concurrent")
                           .Attr<ffi::Span<const int64_t>>("keep_scale"));

}  // namespace

void* ProgramHandler() { return reinterpret_cast<void*>(kCallProgram); }

}  // namespace jax_ane::runtime
