// SPDX-License-Identifier: Apache-2.0
// Products of a few rows with a packed right-hand side, read as fp16 and widened in registers: the
// work is bound by how fast the panels stream in, so they are touched once and nothing is unpacked.
// An instruction set supplies `Isa` as for gemm_blocked.h.
//
// The exact form masks a product out by the magnitude of b: with a's exponent known, "exponents sum
// to -17 or less" is |b| < 2^(-16 - e(a)), and below 2^-14, where subnormals keep the exponent -14,
// it is all or nothing.
#pragma once

#include "device/software/kernels/gemm_blocked.h"

namespace jax_ane::software::blocked {
namespace {

template <typename Isa>
struct DirectGeometry {
    static constexpr int kVectors = static_cast<int>(PackedPanels::kColumns) / Isa::kLanes;
    static constexpr int kFastRows = Isa::kDirectAccumulators / kVectors;  // rows of one pass
    // Rows up to which reading panels directly beats unpacking them.
    static constexpr int64_t kMaxFastRows = Isa::kDirectPasses * kFastRows;
    static constexpr int64_t kMaxExactRows = kFastRows < 4 ? kFastRows : 4;
};

// Rows of A as float32, [pass][k][rows of the pass]; exact: scaled and moved away from zero as in
// PackA, followed by the same number of thresholds for |b|.
struct DirectA {
    float* values;
    float* thresholds;  // exact only
    Range range;
    float max_square = 0;  // largest sum of squares of a row
};

// What |b| must reach for the product with `a` to count.
inline float DropThreshold(Half a) {
    const int32_t least = kMacDropExponent + 1 - MacExponent(a);
    return least <= -14 ? 0.0f : std::bit_cast<float>((least + 127) << 23);
}

// The next float away from zero; zero stays.
inline float AwayFromZero(float value) {
    return value == 0 ? value : std::bit_cast<float>(std::bit_cast<uint32_t>(value) + 1);
}

template <bool kExact>
DirectA PackDirectA(const GemmArgs& g, int64_t pass_rows) {
    DirectA a;
    a.values = static_cast<float*>(g.scratch);
    a.thresholds = a.values + g.m * g.k;
    for (int64_t first = 0; first < g.m; first += pass_rows) {
        const int64_t rows = std::min(pass_rows, g.m - first);
        for (int64_t i = 0; i < rows; ++i) {
            float* values = a.values + first * g.k + i;
            float* thresholds = a.thresholds + first * g.k + i;
            float square = 0;
            for (int64_t k = 0; k < g.k; ++k) {
                const Half h = LeftElement(g, first + i, k);
                if constexpr (!kExact) {
                    values[k * rows] = HalfToFloat(h);
                    continue;
                }
                const bool nonzero = (h & 0x7FFF) != 0;
                values[k * rows] = AwayFromZero(MacFloat(h) * 65536.0f);
                thresholds[k * rows] = DropThreshold(h);
                square += MacFloat(h) * MacFloat(h);
                if (nonzero) {
                    a.range.min_field = std::min(a.range.min_field, std::max((h >> 10) & 31, 1));
                    a.range.max_bits = std::max<int32_t>(a.range.max_bits, h & 0x7FFF);
                }
            }
            a.max_square = std::max(a.max_square, square);
        }
    }
    return a;
}

// kRows rows by kPanels panels over all of k.
template <typename Isa, Inner kInner, int kRows, int kPanels>
void DirectBlock(const float* a, const float* thresholds, const Half* b, int64_t stride, int64_t k,
                 int32_t* sums) {
    constexpr int kVectors = DirectGeometry<Isa>::kVectors;
    constexpr int kCount = kPanels * kVectors;
    typename Isa::Sum accumulator[kRows][kCount];
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        Unroll<kCount>([&](auto v)
                           __attribute__((always_inline)) { accumulator[i][v] = Isa::ZeroSum(); });
    });
    for (int64_t step = 0; step < k; ++step) {
        typename Isa::Float row[kRows], threshold[kRows];
        Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
            row[i] = Isa::Broadcast(a + i);
            if constexpr (kInner == Inner::kMasked) threshold[i] = Isa::Broadcast(thresholds + i);
        });
        Unroll<kPanels>([&](auto p) __attribute__((always_inline)) {
            const Half* source = b + p * stride;
            if constexpr (kRows <= 2) Isa::Prefetch(source + 16 * PackedPanels::kColumns);
            Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
                const typename Isa::Float column = Isa::Widen(source + v * Isa::kLanes);
                Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
                    auto& sum = accumulator[i][p * kVectors + v];
                    if constexpr (kInner == Inner::kFast) {
                        sum = Isa::FastStep(sum, row[i], column);
                    } else if constexpr (kInner == Inner::kMasked) {
                        sum = Isa::ThresholdStep(sum, row[i], column, threshold[i]);
                    } else {
                        sum = Isa::UnmaskedStep(sum, row[i], column);
                    }
                });
            });
        });
        a += kRows;
        thresholds += kRows;
        b += PackedPanels::kColumns;
    }
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        Unroll<kCount>([&](auto v) __attribute__((always_inline)) {
            Isa::StoreSum(sums + (i * kCount + v) * Isa::kLanes, accumulator[i][v]);
        });
    });
}

// One pass over some panels: multiplies, then stores the rows.
template <typename Isa, Inner kInner, int kRows, int kPanels>
void DirectPass(const GemmArgs& g, const PackedPanels& panels, const DirectA& a, int64_t row,
                int64_t panel) {
    alignas(64) int32_t sums[kRows * kPanels * PackedPanels::kColumns];
    constexpr int64_t kWidth = kPanels * PackedPanels::kColumns;
    DirectBlock<Isa, kInner, kRows, kPanels>(a.values + row * g.k, a.thresholds + row * g.k,
                                             panels.panel(panel), panels.stride(), g.k, sums);
    Tile t{row, kRows, panel * PackedPanels::kColumns, 0};
    t.columns = std::min(kWidth, g.n - t.column);
    if constexpr (kInner == Inner::kFast) {
        for (int64_t i = 0; i < kRows; ++i) {
            StoreFastRow<Isa>(g, t, i, reinterpret_cast<float*>(sums + i * kWidth));
        }
        return;
    }
    const auto magic = std::bit_cast<uint32_t>(kMagic) * static_cast<uint32_t>(g.k);
    for (int64_t i = 0; i < kRows; ++i) {
        SubtractMagic(sums + i * kWidth, t.columns, magic);
        FinishExactRow<Isa>(g, t, i, sums + i * kWidth);
    }
}

// Panels [begin, end) in groups of kPanels, then of fewer.
template <typename Isa, Inner kInner, int kRows, int kPanels>
void DirectPanels(const GemmArgs& g, const PackedPanels& panels, const DirectA& a, int64_t row,
                  int64_t begin, int64_t end) {
    for (; begin + kPanels <= end; begin += kPanels) {
        DirectPass<Isa, kInner, kRows, kPanels>(g, panels, a, row, begin);
    }
    if constexpr (kPanels > 1) {
        if (begin < end) {
            DirectPanels<Isa, kInner, kRows, (kPanels + 1) / 2>(g, panels, a, row, begin, end);
        }
    }
}

template <typename Isa, Inner kInner, int kRows>
void DirectRows(const GemmArgs& g, const PackedPanels& panels, const DirectA& a, int64_t row,
                int64_t rows, int64_t begin, int64_t end) {
    if constexpr (kRows > 1) {
        if (rows < kRows) {
            DirectRows<Isa, kInner, kRows - 1>(g, panels, a, row, rows, begin, end);
            return;
        }
    }
    DirectPanels<Isa, kInner, kRows, DirectGeometry<Isa>::kFastRows / kRows>(g, panels, a, row,
                                                                             begin, end);
}

template <typename Isa, Inner kInner, int kRows>
void RunDirect(const GemmArgs& g, const PackedPanels& panels, const DirectA& a) {
    // Few rows: a group of panels is one stretch of memory streams, shared out whole.
    const int64_t group = std::max<int64_t>(1, DirectGeometry<Isa>::kFastRows / g.m);
    const int64_t count = PackedPanels::Count(g.n);
    const int64_t threads = g.pool == nullptr ? 1 : g.pool->size();
    const int64_t share = std::max<int64_t>(1, count / (threads * 4));
    const int64_t grain = (share + group - 1) / group * group;
    const int64_t steps = g.m * g.k * g.n;
    ParallelFor(steps < (1 << 16) ? nullptr : g.pool, count, grain,
                [&](int64_t begin, int64_t end, int) {
                    for (int64_t row = 0; row < g.m; row += kRows) {
                        DirectRows<Isa, kInner, kRows>(
                            g, panels, a, row, std::min<int64_t>(kRows, g.m - row), begin, end);
                    }
                });
}

// Which vectors to use: the instruction set's own, or its `Narrow` ones for very few rows on
// machines where those stream faster.
template <typename Isa>
bool UsesNarrow(int64_t rows) {
    if constexpr (requires { typename Isa::Narrow; }) {
        return rows <= 2 && Isa::PrefersNarrow();
    }
    return false;
}

template <typename Isa>
struct NarrowOf {
    using Type = Isa;
};
template <typename Isa>
    requires requires { typename Isa::Narrow; }
struct NarrowOf<Isa> {
    using Type = typename Isa::Narrow;
};

template <typename Isa>
bool RunFastDirect(const GemmArgs& g) {
    using G = DirectGeometry<Isa>;
    if (g.packed_b == nullptr || g.m > G::kMaxFastRows) return false;
    const DirectA a = PackDirectA<false>(g, G::kFastRows);
    const PackedPanels panels(g.packed_b, g.n, g.k);
    if (UsesNarrow<Isa>(g.m)) {
        RunDirect<typename NarrowOf<Isa>::Type, Inner::kFast, 2>(g, panels, a);
    } else {
        RunDirect<Isa, Inner::kFast, G::kFastRows>(g, panels, a);
    }
    return true;
}

template <typename Isa, int kRows>
void RunExactForm(const GemmArgs& g, const PackedPanels& panels, const DirectA& a, bool drops) {
    if (drops) {
        RunDirect<Isa, Inner::kMasked, kRows>(g, panels, a);
    } else {
        RunDirect<Isa, Inner::kUnmasked, kRows>(g, panels, a);
    }
}

// False where a partial sum could overflow or a product leaves the quick range: the blocked form
// knows what to do then.
template <typename Isa>
bool RunExactDirect(const GemmArgs& g) {
    using G = DirectGeometry<Isa>;
    constexpr int kRows = static_cast<int>(G::kMaxExactRows);
    if (g.packed_b == nullptr || g.m > kRows || g.raw != nullptr) return false;
    const PackedPanels panels(g.packed_b, g.n, g.k);
    Range b;
    float max_square = 0;
    for (int64_t p = 0; p < PackedPanels::Count(g.n); ++p) {
        b.Add(panels.range(p));
        max_square = std::max(max_square, panels.range(p).max_square);
    }
    if (b.max_bits >= 0x7C00) return false;  // widening would make infinities
    const DirectA a = PackDirectA<true>(g, kRows);
    const double bound = std::sqrt(static_cast<double>(a.max_square) * max_square);
    if (a.range.max_magnitude() * b.max_magnitude() >= kMaxMagicProduct ||
        !CannotOverflow(g.k, bound, LargestBias(g, {0, g.m, 0, g.n}))) {
        return false;
    }
    const bool drops = a.range.min_exponent() + b.min_exponent() <= kMacDropExponent;
    if (UsesNarrow<Isa>(g.m)) {
        RunExactForm<typename NarrowOf<Isa>::Type, 2>(g, panels, a, drops);
    } else {
        RunExactForm<Isa, kRows>(g, panels, a, drops);
    }
    return true;
}

}  // namespace
}  // namespace jax_ane::software::blocked
