// SPDX-License-Identifier: Apache-2.0
// Sums over the taps of a depthwise convolution in plain C++.
#include "device/software/kernels/mac.h"
#include "device/software/kernels/reference.h"

namespace jax_ane::software {

void ExactTapSum(const TapSumArgs& g) {
    for (int64_t i = 0; i < g.n; ++i) {
        MacAccumulator sum(MacStart(g.bias));
        for (int64_t t = 0; t < g.taps; ++t) {
            sum.Add(MacProduct(DecodeMac(g.weights[t]), DecodeMac(g.x[g.offsets[t] + i])));
        }
        g.out[i] = sum.ToHalf();
    }
}

namespace {

void FastTapSum(const TapSumArgs& g) {
    for (int64_t i = 0; i < g.n; ++i) {
        float sum = 0;
        for (int64_t t = 0; t < g.taps; ++t) {
            sum += HalfToFloat(g.weights[t]) * HalfToFloat(g.x[g.offsets[t] + i]);
        }
        g.out[i] = FloatToHalf(sum + HalfToFloat(g.bias));
    }
}

}  // namespace

void FillReferenceTaps(KernelTable& table) {
    table.tap_sum[static_cast<int>(NumericsMode::kExact)] = ExactTapSum;
    table.tap_sum[static_cast<int>(NumericsMode::kFast)] = FastTapSum;
}

}  // namespace jax_ane::software
