// SPDX-License-Identifier: Apache-2.0
// Sums over the taps of a depthwise convolution: the steps of gemm_direct.h with one row of A, the
// weights, and columns that lie at an offset for each tap. An instruction set supplies `Isa` as for
// gemm_blocked.h.
#pragma once

#include "device/software/kernels/gemm_direct.h"
#include "device/software/kernels/reference.h"

namespace jax_ane::software::blocked {
namespace {

// One filter's weights as the steps take them, and what their sums can reach.
struct TapWeights {
    float values[kMaxTaps];
    float thresholds[kMaxTaps];  // exact only, for |x|
    float largest = 0;
    float sum = 0;  // of magnitudes

    template <bool kExact>
    void Read(const TapSumArgs& g) {
        for (int64_t t = 0; t < g.taps; ++t) {
            const Half h = g.weights[t];
            if constexpr (!kExact) {
                values[t] = HalfToFloat(h);
                continue;
            }
            const float value = MacFloat(h);
            values[t] = AwayFromZero(value * 65536.0f);
            thresholds[t] = DropThreshold(h);
            largest = std::max(largest, std::fabs(value));
            sum += std::fabs(value);
        }
    }
};

// kVectors vectors of sums from column i on.
template <typename Isa, Inner kInner, int kVectors>
void TapBlock(const TapSumArgs& g, const TapWeights& w, int64_t i, int32_t* sums) {
    typename Isa::Sum accumulator[kVectors];
    Unroll<kVectors>([&](auto v)
                         __attribute__((always_inline)) { accumulator[v] = Isa::ZeroSum(); });
    for (int64_t t = 0; t < g.taps; ++t) {
        const Half* x = g.x + g.offsets[t] + i;
        const typename Isa::Float weight = Isa::Broadcast(w.values + t);
        typename Isa::Float threshold{};
        if constexpr (kInner == Inner::kMasked) threshold = Isa::Broadcast(w.thresholds + t);
        Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
            const typename Isa::Float column = Isa::WidenUnaligned(x + v * Isa::kLanes);
            if constexpr (kInner == Inner::kFast) {
                accumulator[v] = Isa::FastStep(accumulator[v], weight, column);
            } else {
                accumulator[v] = Isa::ThresholdStep(accumulator[v], weight, column, threshold);
            }
        });
    }
    Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
        Isa::StoreSum(sums + v * Isa::kLanes, accumulator[v]);
    });
}

template <typename Isa>
void FastTaps(const TapSumArgs& g) {
    constexpr int kVectors = 4;
    constexpr int64_t kWidth = kVectors * Isa::kLanes;
    alignas(64) int32_t sums[kWidth];
    TapWeights w;
    w.Read<false>(g);
    const float bias = HalfToFloat(g.bias);
    for (int64_t i = 0; i < g.n; i += kWidth) {
        TapBlock<Isa, Inner::kFast, kVectors>(g, w, i, sums);
        auto* values = reinterpret_cast<float*>(sums);
        for (int64_t j = 0; j < kWidth; ++j) values[j] += bias;
        Isa::NarrowRow(values, std::min(kWidth, g.n - i), g.out + i);
    }
}

// The reference where a partial sum could overflow or a product leaves the quick range.
template <typename Isa>
void ExactTaps(const TapSumArgs& g) {
    constexpr int kVectors = 4;
    constexpr int64_t kWidth = kVectors * Isa::kLanes;
    alignas(64) int32_t sums[kWidth];
    TapWeights w;
    w.Read<true>(g);
    const float largest = MacFloat(g.max_bits);
    const bool quick =
        g.max_bits < 0x7C00 && w.largest * largest < kMaxMagicProduct &&
        CannotOverflow(g.taps, static_cast<double>(w.sum) * largest, MacFloat(g.bias));
    if (!quick) {
        ExactTapSum(g);
        return;
    }
    // What the steps added in place of nothing, less the start.
    const uint32_t surplus = std::bit_cast<uint32_t>(kMagic) * static_cast<uint32_t>(g.taps) -
                             static_cast<uint32_t>(MacStart(g.bias));
    for (int64_t i = 0; i < g.n; i += kWidth) {
        TapBlock<Isa, Inner::kMasked, kVectors>(g, w, i, sums);
        SubtractMagic(sums, kWidth, surplus);
        Isa::RoundRow(sums, std::min(kWidth, g.n - i), g.out + i);
    }
}

template <typename Isa>
void FillTaps(KernelTable& table) {
    table.tap_sum[static_cast<int>(NumericsMode::kExact)] = ExactTaps<Isa>;
    table.tap_sum[static_cast<int>(NumericsMode::kFast)] = FastTaps<Isa>;
}

}  // namespace
}  // namespace jax_ane::software::blocked
