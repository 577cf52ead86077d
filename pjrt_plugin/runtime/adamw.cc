// SPDX-License-Identifier: Apache-2.0
#include "runtime/adamw.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "device/software/engine.h"
#include "device/software/kernels/adamw.h"
#include "xla/ffi/api/ffi.h"

namespace jax_ane::runtime {

namespace {

namespace ffi = xla::ffi;

constexpr int64_t kPiece = 32 * 1024;  // elements a thread takes at a time
// Of the first argument: what gradients are multiplied by, 1 over the moments' two corrections,
// minus the learning rate, 0 where the step is to be left out, and 0 where all gradients are known
// to be finite.
constexpr size_t kScalars = 6;
constexpr size_t kArguments = 5;  // of a parameter: itself, its moments, its gradient, a scale
constexpr size_t kResults = 3;

ffi::Error Wrong(const std::string& what) {
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "jax_ane_adamw: " + what);
}

// Of argument or result `index`, if it is float32 and has that many elements (-1: any).
template <typename Buffers>
ffi::ErrorOr<float*> FloatsOf(Buffers& buffers, size_t index, int64_t elements) {
    auto found = buffers.template get<ffi::AnyBuffer>(index);
    if (found.has_error()) return ffi::Unexpected(found.error());
    ffi::AnyBuffer buffer = [&] {
        if constexpr (std::is_same_v<Buffers, ffi::RemainingRets>) {
            return **found;
        } else {
            return *found;
        }
    }();
    if (buffer.element_type() != ffi::DataType::F32 ||
        (elements >= 0 && static_cast<int64_t>(buffer.element_count()) != elements)) {
        return ffi::Unexpected(Wrong("array " + std::to_string(index) + " has another type"));
    }
    return static_cast<float*>(buffer.untyped_data());
}

struct Parameter {
    software::AdamWArgs args;
    software::AdamWRun run;
};

// How many of its gradients are infinite or NaN.
int64_t CountNonfinite(const software::AdamWRun& run) {
    int64_t count = 0;
    for (int64_t i = 0; i < run.n; ++i) {
        count += run.gradient != nullptr ? !std::isfinite(run.gradient[i])
                                         : (run.half_gradient[i] & 0x7FFF) >= kHalfInf;
    }
    return count;
}

// A part of `run`.
software::AdamWRun Piece(software::AdamWRun run, int64_t begin, int64_t end) {
    for (size_t i = 0; i < kResults; ++i) {
        run.from[i] += begin;
        run.to[i] += begin;
    }
    if (run.gradient != nullptr) run.gradient += begin;
    if (run.half_gradient != nullptr) run.half_gradient += begin;
    run.n = end - begin;
    return run;
}

void Update(const Parameter& parameter, bool applies, const software::KernelTable& kernels) {
    const software::AdamWRun& run = parameter.run;
    if (applies) {
        kernels.adamw(parameter.args, run);
        return;
    }
    for (size_t i = 0; i < kResults; ++i) {
        if (run.to[i] == run.from[i]) continue;
        std::memcpy(run.to[i], run.from[i], static_cast<size_t>(run.n) * sizeof(float));
    }
}

ffi::Error CallAdamW(ffi::RemainingArgs args, ffi::RemainingRets rets, float b1, float rest1,
                     float b2, float rest2, float eps, float eps_root, float decay, bool sanitizes,
                     ffi::Span<const int64_t> decays) {
    const size_t count = rets.size() / kResults;
    if (rets.size() != count * kResults + 1 || args.size() != 1 + count * kArguments ||
        decays.size() != count) {
        return Wrong("another number of arrays than " + std::to_string(count) + " parameters have");
    }
    auto scalars = FloatsOf(args, 0, kScalars);
    if (scalars.has_error()) return scalars.error();
    software::AdamWArgs common;
    common.factor = (*scalars)[0];
    common.inverse1 = (*scalars)[1];
    common.inverse2 = (*scalars)[2];
    common.step = (*scalars)[3];
    const bool applies = (*scalars)[4] != 0, counts = (*scalars)[5] != 0;
    auto nonfinite = rets.get<ffi::Buffer<ffi::DataType::S32>>(count * kResults);
    if (nonfinite.has_error()) return nonfinite.error();
    if ((*nonfinite)->element_count() != 1) return Wrong("the count is no scalar");
    common.b1 = b1, common.rest1 = rest1, common.b2 = b2, common.rest2 = rest2;
    common.eps = eps, common.eps_root = eps_root, common.decay = decay;
    common.sanitizes = sanitizes;

    std::vector<Parameter> parameters(count);
    std::vector<int64_t> pieces{0};  // before each parameter
    for (size_t i = 0; i < count; ++i) {
        Parameter& parameter = parameters[i];
        parameter.args = common;
        parameter.args.decays = decays[i] != 0;
        const size_t first = 1 + i * kArguments;
        auto gradient = args.get<ffi::AnyBuffer>(first + kResults);
        if (gradient.has_error()) return gradient.error();
        const auto n = static_cast<int64_t>(gradient->element_count());
        parameter.run.n = n;
        if (gradient->element_type() == ffi::DataType::F16) {
            parameter.run.half_gradient = static_cast<const Half*>(gradient->untyped_data());
        } else if (gradient->element_type() == ffi::DataType::F32) {
            parameter.run.gradient = static_cast<const float*>(gradient->untyped_data());
        } else {
            return Wrong("a gradient that is neither float32 nor float16");
        }
        for (size_t k = 0; k < kResults; ++k) {
            auto from = FloatsOf(args, first + k, n);
            if (from.has_error()) return from.error();
            auto to = FloatsOf(rets, i * kResults + k, n);
            if (to.has_error()) return to.error();
            parameter.run.from[k] = *from;
            parameter.run.to[k] = *to;
        }
        auto scale = FloatsOf(args, first + kResults + 1, 1);
        if (scale.has_error()) return scale.error();
        parameter.args.scale = **scale;
        pieces.push_back(pieces.back() + (n + kPiece - 1) / kPiece);
    }
    std::atomic<int64_t> found{0};
    const software::Engine engine = software::CurrentEngine();
    ParallelFor(engine.pool.get(), pieces.back(), 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t piece = begin; piece < end; ++piece) {
            const auto next = std::upper_bound(pieces.begin(), pieces.end(), piece);
            const auto index = static_cast<size_t>(next - pieces.begin()) - 1;
            Parameter part = parameters[index];
            const int64_t at = (piece - pieces[index]) * kPiece;
            part.run = Piece(part.run, at, std::min(at + kPiece, part.run.n));
            if (counts) found.fetch_add(CountNonfinite(part.run), std::memory_order_relaxed);
            Update(part, applies, *engine.kernels);
        }
    });
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    *(*nonfinite)->typed_data() = static_cast<int32_t>(std::min(found.load(), kMost));
    return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER(kCallAdamW, CallAdamW,
                       ffi::Ffi::Bind()
                           .RemainingArgs()
                           .RemainingRets()
                           .Attr<float>("b1")
                           .Attr<float>("rest1")
                           .Attr<float>("b2")
                           .Attr<float>("rest2")
                           .Attr<float>("eps")
                           .Attr<float>("eps_root")
                           .Attr<float>("decay")
                           .Attr<bool>("sanitizes")
                           .Attr<ffi::Span<const int64_t>>("decays"));

}  // namespace

void* AdamWHandler() { return reinterpret_cast<void*>(kCallAdamW); }

}  // namespace jax_ane::runtime
