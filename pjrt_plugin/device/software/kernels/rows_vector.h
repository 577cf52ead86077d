// SPDX-License-Identifier: Apache-2.0
// The fast mode's row kernels in vectors of float32, for every vector instruction set: softmax,
// normalisation, reductions. A row comes from memory once: what later passes need of it stays in
// scratch as float32, or, where that would not fit the caches, is widened again.
#pragma once

#include <cmath>

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/reference.h"
#include "device/software/kernels/unary_vector.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software::vectors {
namespace {

// Lanes that count, as factors: kLanes from kLaneFactors + 16 - count.
alignas(64) inline constexpr float kLaneFactors[32] = {1, 1, 1, 1, 1, 1, 1, 1,
                                                       1, 1, 1, 1, 1, 1, 1, 1};

// Where the vectors of a row come from: fp16 in memory, the same with a float32 copy left behind,
// or that copy. Beyond the end they are 0.
template <typename Isa>
struct FromHalves {
    const Half* x;
    typename Isa::Float operator()(int64_t i, int64_t count) const {
        return Isa::Widen(FetchPadded<Isa>(x + i, count, 0));
    }
};
template <typename Isa>
struct FromHalvesKept {
    const Half* x;
    float* copy;
    typename Isa::Float operator()(int64_t i, int64_t count) const {
        const auto value = FromHalves<Isa>{x}(i, count);
        Isa::StoreF(value, copy + i);
        return value;
    }
};
template <typename Isa>
struct FromFloats {
    const float* x;
    typename Isa::Float operator()(int64_t i, int64_t) const { return Isa::LoadF(x + i); }
};

// Adds up term(vector) over a row, in four independent sums.
template <typename Isa, typename Source, typename Term>
inline float SumRow(const Source& source, int64_t n, Term&& term) {
    using F = typename Isa::Float;
    constexpr int64_t kLanes = Isa::kLanes;
    F sums[4] = {Isa::Zero(), Isa::Zero(), Isa::Zero(), Isa::Zero()};
    int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
        for (int j = 0; j < 4; ++j) {
            sums[j] = Isa::AddF(sums[j], term(source(i + j * kLanes, kLanes)));
        }
    }
    for (; i + kLanes <= n; i += kLanes) sums[0] = Isa::AddF(sums[0], term(source(i, kLanes)));
    if (i < n) {
        const F factors = Isa::LoadF(kLaneFactors + 16 - (n - i));
        sums[1] = Isa::Fma(term(source(i, n - i)), factors, sums[1]);
    }
    return Isa::SumLanes(Isa::AddF(Isa::AddF(sums[0], sums[1]), Isa::AddF(sums[2], sums[3])));
}

// ---- Softmax

template <typename Isa>
inline int16_t HorizontalMax(typename Isa::Halves keys) {
    alignas(64) int16_t lanes[Isa::kLanes];
    Isa::Store(keys, reinterpret_cast<Half*>(lanes));
    int16_t largest = lanes[0];
    for (int16_t lane : lanes) largest = lane > largest ? lane : largest;
    return largest;
}

template <typename Isa>
inline int16_t HorizontalMin(typename Isa::Halves keys) {
    alignas(64) int16_t lanes[Isa::kLanes];
    Isa::Store(keys, reinterpret_cast<Half*>(lanes));
    int16_t least = lanes[0];
    for (int16_t lane : lanes) least = lane < least ? lane : least;
    return least;
}

// The largest key (see Isa::Keys) of a row; above that of +inf when the row has a NaN of positive
// sign. Other NaNs show in the sum.
template <typename Isa>
inline int16_t LargestKey(const Half* x, int64_t n) {
    typename Isa::Halves best = Isa::Keys(Isa::Splat(x[0])), other = best;
    constexpr int64_t kLanes = Isa::kLanes;
    int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
        best = Isa::MaxKeys(best, Isa::Keys(Isa::Load(x + i)));
        other = Isa::MaxKeys(other, Isa::Keys(Isa::Load(x + i + kLanes)));
    }
    for (; i < n; i += kLanes) {
        const int64_t count = std::min<int64_t>(kLanes, n - i);
        best = Isa::MaxKeys(best, Isa::Keys(FetchPadded<Isa>(x + i, count, x[0])));
    }
    return HorizontalMax<Isa>(Isa::MaxKeys(best, other));
}

inline Half HalfOfKey(int16_t key) { return static_cast<Half>(key < 0 ? key ^ 0x7FFF : key); }

template <typename Isa>
inline typename Isa::Float ExpBelow(typename Isa::Float x, typename Isa::Float top) {
    // Not 0 far below, but less than float32 sees beside the 1 of the largest.
    return Exp2Of<Isa, Range2::kNormal>(Isa::MaxF(Isa::SplatF(-80.0f), Isa::SubF(x, top)), kLog2e);
}

template <typename Isa>
void SoftmaxRows(const Half* x, Half* out, int64_t rows, int64_t n, float* scratch) {
    using F = typename Isa::Float;
    for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
        const F top = Isa::SplatF(HalfToFloat(HalfOfKey(LargestKey<Isa>(x, n))));
        F sums[2] = {Isa::Zero(), Isa::Zero()};
        int64_t i = 0;
        for (; i + 2 * Isa::kLanes <= n; i += 2 * Isa::kLanes) {
            for (int j = 0; j < 2; ++j) {
                const int64_t at = i + j * Isa::kLanes;
                const F e = ExpBelow<Isa>(Isa::Widen(Isa::Load(x + at)), top);
                Isa::StoreF(e, scratch + at);
                sums[j] = Isa::AddF(sums[j], e);
            }
        }
        for (; i < n; i += Isa::kLanes) {
            const int64_t count = std::min<int64_t>(Isa::kLanes, n - i);
            const auto halves = FetchPadded<Isa>(x + i, count, kHalfNegInf);
            const F e = ExpBelow<Isa>(Isa::Widen(halves), top);
            Isa::StoreF(e, scratch + i);
            sums[0] = Isa::AddF(sums[0], e);
        }
        const F scale = Isa::SplatF(1.0f / Isa::SumLanes(Isa::AddF(sums[0], sums[1])));
        ForVectors<Isa>(n, [&](int64_t k, int64_t count) {
            Put<Isa>(Isa::Narrow(Isa::MulF(Isa::LoadF(scratch + k), scale)), out, k, count);
        });
    }
}

// ---- Normalisation

enum class Affine { kNone, kGamma, kBoth };

// Rows up to here are kept as float32 on the stack, 16 KiB.
inline constexpr int64_t kNormScratch = 4096;

// Sums of a row's differences to `shift` and of their squares.
template <typename Isa, typename Source>
inline void Moments(const Source& source, int64_t n, float shift, float* sum, float* squares) {
    using F = typename Isa::Float;
    constexpr int64_t kLanes = Isa::kLanes;
    const F center = Isa::SplatF(shift);
    F sums[2] = {Isa::Zero(), Isa::Zero()}, squared[2] = {Isa::Zero(), Isa::Zero()};
    int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
        for (int j = 0; j < 2; ++j) {
            const F d = Isa::SubF(source(i + j * kLanes, kLanes), center);
            sums[j] = Isa::AddF(sums[j], d);
            squared[j] = Isa::Fma(d, d, squared[j]);
        }
    }
    for (; i < n; i += kLanes) {
        const int64_t count = std::min<int64_t>(kLanes, n - i);
        const F factors = Isa::LoadF(kLaneFactors + 16 - count);
        const F d = Isa::MulF(Isa::SubF(source(i, count), center), factors);
        sums[0] = Isa::AddF(sums[0], d);
        squared[0] = Isa::Fma(d, d, squared[0]);
    }
    *sum = Isa::SumLanes(Isa::AddF(sums[0], sums[1]));
    *squares = Isa::SumLanes(Isa::AddF(squared[0], squared[1]));
}

// `first` reads the row for the first time and `again` later on. One pass for both moments: taken
// from the row's own first value, the sums do not cancel for rows far from zero.
template <typename Isa, Affine kAffine, typename First, typename Again>
void NormRow(const NormArgs& g, const First& first, const Again& again, float shift, Half* out,
             int64_t n) {
    using F = typename Isa::Float;
    float sum, squares, mean = 0;
    Moments<Isa>(first, n, g.center ? shift : 0.0f, &sum, &squares);
    if (g.center) {
        const float offset = sum / static_cast<float>(n);
        mean = shift + offset;
        squares = std::max(squares / static_cast<float>(n) - offset * offset, 0.0f);
    }
    const F center = Isa::SplatF(mean);
    const F scale = Isa::SplatF(1 / std::sqrt(squares + g.epsilon));
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        F y = Isa::MulF(Isa::SubF(again(i, count), center), scale);
        if constexpr (kAffine != Affine::kNone) {
            const F gamma = Isa::Widen(Fetch<Isa>(g.gamma, g.affine_step, i, count));
            if constexpr (kAffine == Affine::kBoth) {
                y = Isa::Fma(y, gamma, Isa::Widen(Fetch<Isa>(g.beta, g.affine_step, i, count)));
            } else {
                y = Isa::MulF(y, gamma);
            }
        }
        Put<Isa>(Isa::Narrow(y), out, i, count);
    });
}

template <typename Isa, Affine kAffine>
void NormRowsOf(const NormArgs& args, const Half* x, Half* out, int64_t rows, int64_t n) {
    alignas(64) float row[kNormScratch];
    for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
        const float shift = HalfToFloat(x[0]);
        if (n <= kNormScratch) {
            NormRow<Isa, kAffine>(args, FromHalvesKept<Isa>{x, row}, FromFloats<Isa>{row}, shift,
                                  out, n);
        } else {
            NormRow<Isa, kAffine>(args, FromHalves<Isa>{x}, FromHalves<Isa>{x}, shift, out, n);
        }
    }
}

template <typename Isa>
void NormRows(const NormArgs& args, const Half* x, Half* out, int64_t rows, int64_t n) {
    if (args.gamma == nullptr && args.beta != nullptr) {
        ReferenceKernels().norm_rows(args, x, out, rows, n);
    } else if (args.gamma == nullptr) {
        NormRowsOf<Isa, Affine::kNone>(args, x, out, rows, n);
    } else if (args.beta == nullptr) {
        NormRowsOf<Isa, Affine::kGamma>(args, x, out, rows, n);
    } else {
        NormRowsOf<Isa, Affine::kBoth>(args, x, out, rows, n);
    }
}

// ---- Reductions

template <typename Isa, FloatReduceOp kOp>
void FloatReduceRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    using F = typename Isa::Float;
    for (int64_t r = 0; r < rows; ++r, x += n) {
        const FromHalves<Isa> source{x};
        float shift = 0, sum = 0;
        if constexpr (kOp == FloatReduceOp::kLogSumExp) {
            shift = HalfToFloat(HalfOfKey(LargestKey<Isa>(x, n)));
            if (!std::isfinite(shift)) {
                ReferenceKernels().float_reduce_rows[static_cast<int>(kOp)](x, 1, n, 0, out + r);
                continue;
            }
            const F top = Isa::SplatF(shift);
            sum = SumRow<Isa>(source, n, [&](F v) { return ExpBelow<Isa>(v, top); });
        } else {
            sum = SumRow<Isa>(source, n, [&](F v) {
                if constexpr (kOp == FloatReduceOp::kL1Norm) return Isa::AbsF(v);
                if constexpr (kOp == FloatReduceOp::kL2Norm || kOp == FloatReduceOp::kSumSquare) {
                    return Isa::MulF(v, v);
                }
                return v;
            });
        }
        out[r] = FloatToHalf(FinishFloatReduce(kOp, sum, shift, n));
    }
}

template <typename Isa>
void FloatSumRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    using F = typename Isa::Float;
    for (int64_t r = 0; r < rows; ++r) {
        out[r] = FloatToHalf(SumRow<Isa>(FromHalves<Isa>{x + r * n}, n, [](F v) { return v; }));
    }
}

template <typename Isa>
void FillRows(KernelTable& table) {
    table.softmax_rows = SoftmaxRows<Isa>;
    table.norm_rows = NormRows<Isa>;
    const ReduceRowsFn reduce[kFloatReduceOps] = {FloatReduceRows<Isa, FloatReduceOp::kMean>,
                                                  FloatReduceRows<Isa, FloatReduceOp::kL1Norm>,
                                                  FloatReduceRows<Isa, FloatReduceOp::kL2Norm>,
                                                  FloatReduceRows<Isa, FloatReduceOp::kSumSquare>,
                                                  FloatReduceRows<Isa, FloatReduceOp::kLogSum>,
                                                  FloatReduceRows<Isa, FloatReduceOp::kLogSumExp>};
    for (int op = 0; op < kFloatReduceOps; ++op) table.float_reduce_rows[op] = reduce[op];
    table.reduce_rows[static_cast<int>(NumericsMode::kFast)][static_cast<int>(ReduceOp::kSum)] =
        FloatSumRows<Isa>;
}

}  // namespace
}  // namespace jax_ane::software::vectors
