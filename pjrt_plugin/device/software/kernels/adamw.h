// SPDX-License-Identifier: Apache-2.0
// One AdamW update of a run of elements, operation by operation as optax does it: every product and
// sum is rounded to float32, none is fused.
#pragma once

#include <cstdint>

#include "util/half.h"

namespace jax_ane::software {

struct AdamWArgs {
    float scale = 1;          // of the gradient as it is stored, a power of two
    float factor = 1;         // what it is multiplied by after that
    float b1 = 0, rest1 = 1;  // decay of the mean, and 1 - b1
    float b2 = 0, rest2 = 1;
    float inverse1 = 1, inverse2 = 1;  // the moments' bias corrections: XLA divides so by a scalar
    float eps = 0, eps_root = 0;
    float decay = 0;
    float step = 0;  // minus the learning rate
    bool decays = false;
    bool sanitizes = false;  // gradients that are not finite count as 0
};

// Parameters and moments are read from `from` and written to `to`, which may be the same.
struct AdamWRun {
    const float* from[3] = {};  // parameter, mean, mean of squares
    float* to[3] = {};
    const float* gradient = nullptr;  // or, where null,
    const Half* half_gradient = nullptr;
    int64_t n = 0;
};

using AdamWFn = void (*)(const AdamWArgs& args, const AdamWRun& run);

// One element at a time.
static inline void AdamWElements(const AdamWArgs& a, const AdamWRun& run, int64_t begin) {
    for (int64_t i = begin; i < run.n; ++i) {
        const float stored =
            run.gradient != nullptr ? run.gradient[i] : HalfToFloat(run.half_gradient[i]);
        float g = stored * a.scale * a.factor;
        if (a.sanitizes && g - g != 0) g = 0;  // infinite or NaN
        const float p = run.from[0][i];
        const float mean = a.rest1 * g + a.b1 * run.from[1][i];
        const float square = a.rest2 * (g * g) + a.b2 * run.from[2][i];
        const float root = __builtin_sqrtf(square * a.inverse2 + a.eps_root) + a.eps;
        float update = mean * a.inverse1 / root;
        if (a.decays) update = update + a.decay * p;
        run.to[0][i] = p + a.step * update;
        run.to[1][i] = mean;
        run.to[2][i] = square;
    }
}

namespace vectors {
namespace {

template <typename Isa>
void AdamW(const AdamWArgs& a, const AdamWRun& run) {
    using F = typename Isa::Float;
    const F scale = Isa::SplatF(a.scale), factor = Isa::SplatF(a.factor);
    const F b1 = Isa::SplatF(a.b1), rest1 = Isa::SplatF(a.rest1);
    const F b2 = Isa::SplatF(a.b2), rest2 = Isa::SplatF(a.rest2);
    const F inverse1 = Isa::SplatF(a.inverse1), inverse2 = Isa::SplatF(a.inverse2);
    const F eps = Isa::SplatF(a.eps), eps_root = Isa::SplatF(a.eps_root);
    const F decay = Isa::SplatF(a.decay), step = Isa::SplatF(a.step);
    const F infinity = Isa::SplatF(__builtin_inff());
    int64_t i = 0;
    for (; i + Isa::kLanes <= run.n; i += Isa::kLanes) {
        const F stored = run.gradient != nullptr ? Isa::LoadF(run.gradient + i)
                                                 : Isa::Widen(Isa::Load(run.half_gradient + i));
        F g = Isa::MulF(Isa::MulF(stored, scale), factor);
        if (a.sanitizes) g = Isa::Choose(Isa::LessF(Isa::AbsF(g), infinity), g, Isa::Zero());
        const F p = Isa::LoadF(run.from[0] + i);
        const F mean = Isa::AddF(Isa::MulF(rest1, g), Isa::MulF(b1, Isa::LoadF(run.from[1] + i)));
        const F square = Isa::AddF(Isa::MulF(rest2, Isa::MulF(g, g)),
                                   Isa::MulF(b2, Isa::LoadF(run.from[2] + i)));
        const F root = Isa::AddF(Isa::SqrtF(Isa::AddF(Isa::MulF(square, inverse2), eps_root)), eps);
        F update = Isa::DivF(Isa::MulF(mean, inverse1), root);
        if (a.decays) update = Isa::AddF(update, Isa::MulF(decay, p));
        Isa::StoreF(Isa::AddF(p, Isa::MulF(step, update)), run.to[0] + i);
        Isa::StoreF(mean, run.to[1] + i);
        Isa::StoreF(square, run.to[2] + i);
    }
    AdamWElements(a, run, i);
}

}  // namespace
}  // namespace vectors

}  // namespace jax_ane::software
