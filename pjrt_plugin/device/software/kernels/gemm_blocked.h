// SPDX-License-Identifier: Apache-2.0
// The blocked GEMM behind every vector instruction set, exact and fast from one template. An
// instruction set supplies `Isa`: its vectors and the inner step (see gemm_avx512.cc). gemm_entry.h
// chooses between this form and that of gemm_direct.h.
//
// Exact, in three vector operations a product: `a` is scaled by 2^16 and moved one float32 step
// away from zero, so that fma(a, b, 1.5 * 2^23) rounds the product to a multiple of 2^-16 with ties
// away from zero and leaves it in the low bits of the float, which add up as integers. Products
// whose exponents sum to -17 or less are masked out by one byte compare. Where no product of a
// block can be dropped the mask is left out; where products reach 64 the rounding is done by
// conversion; where a partial sum might reach 2^15 the scalar reference decides.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "device/software/kernels/kernels.h"
#include "device/software/kernels/mac.h"
#include "device/software/kernels/packed_panels.h"

// Everything here has internal linkage: a function compiled for one instruction set must never be
// the copy that the linker keeps for another.
namespace jax_ane::software::blocked {
namespace {

inline constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
inline constexpr float kMaxMagicProduct = 64.0f;
inline constexpr int64_t kDepth = 256;  // k steps between two packings

// How a block's products are formed. The first three are exact and give the same bits.
enum class Inner { kMasked, kUnmasked, kLarge, kFast };

template <typename Isa>
struct Geometry {
    static constexpr int kLanes = Isa::kLanes;
    static constexpr int kVectors = Isa::kVectors;  // vectors across one panel of B
    static constexpr int kPanel = kLanes * kVectors;
    static constexpr int kRows = Isa::kRows;  // rows of the register tile
    static constexpr int64_t kTileRows = kRows * (192 / kRows);
    static constexpr int64_t kTileColumns = 256;
};

// One thread's packed blocks and sums. A is [row][k], B is [panel][k][column of the panel].
template <typename Isa>
struct Scratch {
    using G = Geometry<Isa>;
    alignas(64) float a[G::kTileRows * kDepth];
    alignas(64) int32_t a_drop[G::kTileRows * kDepth];  // the byte -17 - e(a), four times
    alignas(64) float b[G::kTileColumns * kDepth];
    alignas(64) int8_t b_exponent[G::kTileColumns * kDepth];
    alignas(64) Half turned[std::max<int64_t>(G::kTileRows * kDepth, G::kPanel* kDepth)];
    alignas(64) int32_t sum[G::kTileRows * G::kTileColumns];  // float bits when fast
    float row_square[G::kTileRows];  // filled only where an overflow is conceivable
    float column_square[G::kTileColumns];
};

struct Tile {
    int64_t row, rows, column, columns;
};

// Smallest exponent field of a non-zero operand (1 for subnormals) and largest magnitude of any, as
// fp16 bits without sign, over what was packed. Zeros do not count: their products are zero anyway.
struct Range {
    int32_t min_field = 64;
    int32_t max_bits = 0;

    void Add(const PanelRange& panel) {
        min_field = std::min<int32_t>(min_field, panel.min_field);
        max_bits = std::max<int32_t>(max_bits, panel.max_bits);
    }
    int32_t min_exponent() const { return min_field - 15; }
    float max_magnitude() const { return MacFloat(static_cast<Half>(max_bits)); }
};

inline int32_t WrappingAdd(int32_t a, int32_t b) {
    return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

inline Half BiasAt(const GemmArgs& g, int64_t i, int64_t j) {
    if (g.bias_kind == BiasKind::kNone) return 0;
    return g.bias[g.bias_kind == BiasKind::kPerRow ? i : j];
}

// ---- Packing

// Returns `rows` rows of `columns` neighbouring elements of a view; copied to `buffer` (and turned)
// when the view's columns do not lie side by side. `stride` receives the distance between rows.
template <typename Isa>
const Half* AsRows(const Half* source, int64_t row_stride, int64_t column_stride, int64_t rows,
                   int64_t columns, Half* buffer, int64_t* stride) {
    *stride = row_stride;
    if (column_stride == 1) return source;
    *stride = columns;
    if (row_stride == 1) {
        Isa::Transpose(source, column_stride, buffer, columns, columns, rows);
        return buffer;
    }
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
            buffer[i * columns + j] = source[i * row_stride + j * column_stride];
        }
    }
    return buffer;
}

// Puts the pieces of gathered rows [row, row + rows) together, from k0 on.
inline void GatherRows(const GemmArgs& g, int64_t row, int64_t rows, int64_t k0, int64_t depth,
                       Half* buffer) {
    const RowGather& gather = g.a_gather;
    for (int64_t i = 0; i < rows; ++i, buffer += depth) {
        const Half* source = g.a.data + gather.rows[row + i];
        int64_t tap = k0 / gather.tap_length, begin = k0 % gather.tap_length;
        for (int64_t k = 0; k < depth; ++tap, begin = 0) {
            const int64_t count = std::min(gather.tap_length - begin, depth - k);
            std::memcpy(buffer + k, source + gather.taps[tap] + begin,
                        static_cast<size_t>(count) * sizeof(Half));
            k += count;
        }
    }
}

// A[tile rows, k0 .. k0 + depth) as float32: exact, scaled by 2^16 and moved away from zero, with
// the drop bytes; fast, as it is.
template <typename Isa, bool kExact>
Range PackA(const GemmArgs& g, const Tile& t, int64_t k0, int64_t depth, Scratch<Isa>& s) {
    Range range;
    int64_t stride = depth;
    const Half* rows = s.turned;
    if (g.a_gather.rows != nullptr) {
        GatherRows(g, t.row, t.rows, k0, depth, s.turned);
    } else {
        rows = AsRows<Isa>(g.a.data + t.row * g.a.row_stride + k0 * g.a.column_stride,
                           g.a.row_stride, g.a.column_stride, t.rows, depth, s.turned, &stride);
    }
    for (int64_t i = 0; i < t.rows; ++i) {
        Isa::template DecodeRow<kExact>(rows + i * stride, depth, s.a + i * kDepth,
                                        s.a_drop + i * kDepth, range);
    }
    const int64_t padded = (t.rows + Isa::kRows - 1) / Isa::kRows * Isa::kRows;
    for (int64_t i = t.rows; i < padded; ++i) {
        std::fill_n(s.a + i * kDepth, depth, 0.0f);
        std::fill_n(s.a_drop + i * kDepth, depth, 0);
    }
    return range;
}

// The same from a packed right-hand side, whose panels are as wide as ours, wider or narrower.
template <typename Isa, bool kExact>
Range UnpackB(const GemmArgs& g, const Tile& t, int64_t k0, int64_t depth, Scratch<Isa>& s) {
    using G = Geometry<Isa>;
    constexpr int64_t kPiece = std::min<int64_t>(G::kPanel, PackedPanels::kColumns);
    const PackedPanels packed(g.packed_b, g.n, g.k);
    Range range;
    typename Isa::PanelRange ignored;
    for (int64_t first = 0; first < t.columns; first += kPiece) {
        const int64_t column = t.column + first, panel = column / PackedPanels::kColumns;
        const Half* source =
            packed.panel(panel) + k0 * PackedPanels::kColumns + column % PackedPanels::kColumns;
        const int64_t to = first / G::kPanel * G::kPanel * kDepth + first % G::kPanel;
        for (int64_t k = 0; k < depth; ++k) {
            Isa::template DecodePanelRow<kExact>(source + k * PackedPanels::kColumns, kPiece,
                                                 s.b + to + k * G::kPanel,
                                                 s.b_exponent + to + k * G::kPanel, ignored);
        }
        range.Add(packed.range(panel));
    }
    return range;
}

// B[k0 .. k0 + depth, tile columns) in panels, with the exponents where exact.
template <typename Isa, bool kExact>
Range PackB(const GemmArgs& g, const Tile& t, int64_t k0, int64_t depth, Scratch<Isa>& s) {
    using G = Geometry<Isa>;
    if (g.packed_b != nullptr) return UnpackB<Isa, kExact>(g, t, k0, depth, s);
    Range range;
    for (int64_t first = 0; first < t.columns; first += G::kPanel) {
        const int64_t columns = std::min<int64_t>(G::kPanel, t.columns - first);
        int64_t stride = 0;
        const Half* rows =
            AsRows<Isa>(g.b.data + k0 * g.b.row_stride + (t.column + first) * g.b.column_stride,
                        g.b.row_stride, g.b.column_stride, depth, columns, s.turned, &stride);
        float* values = s.b + first * kDepth;
        int8_t* exponents = s.b_exponent + first * kDepth;
        typename Isa::PanelRange seen;
        for (int64_t k = 0; k < depth; ++k) {
            Isa::template DecodePanelRow<kExact>(rows + k * stride, columns, values + k * G::kPanel,
                                                 exponents + k * G::kPanel, seen);
        }
        if constexpr (kExact) seen.Finish(range);
    }
    return range;
}

// ---- The register tile: kRows rows by kCount vectors of columns, `depth` steps.

// Calls fn(constant 0) ... fn(constant kCount - 1). A plain loop over the register tile is unrolled
// too late for GCC to keep the tile in registers.
template <typename Fn, int... kIndex>
[[gnu::always_inline]] inline void UnrolledCalls(Fn&& fn, std::integer_sequence<int, kIndex...>) {
    (fn(std::integral_constant<int, kIndex>()), ...);
}
template <int kCount, typename Fn>
[[gnu::always_inline]] inline void Unroll(Fn&& fn) {
    UnrolledCalls(fn, std::make_integer_sequence<int, kCount>());
}

template <typename Isa, Inner kInner, int kCount>
void Multiply(const Scratch<Isa>& s, int64_t row, int64_t panel, int64_t depth, int32_t* sum) {
    using G = Geometry<Isa>;
    typename Isa::Sum accumulator[G::kRows][kCount];
    Unroll<G::kRows>([&](auto i) __attribute__((always_inline)) {
        Unroll<kCount>([&](auto v) __attribute__((always_inline)) {
            accumulator[i][v] = Isa::LoadSum(sum + i * G::kTileColumns + v * G::kLanes);
        });
    });
    const float* a = s.a + row * kDepth;
    const int32_t* drop = s.a_drop + row * kDepth;
    const float* b = s.b + panel * kDepth;
    const int8_t* exponents = s.b_exponent + panel * kDepth;
    constexpr bool kMasks = kInner == Inner::kMasked || kInner == Inner::kLarge;
    for (int64_t k = 0; k < depth; ++k) {
        typename Isa::Float columns[kCount];
        Unroll<kCount>([&](auto v) __attribute__((always_inline)) {
            columns[v] = Isa::Load(b + v * G::kLanes);
        });
        typename Isa::Exponents e{};
        if constexpr (kMasks) e = Isa::LoadExponents(exponents);
        Unroll<G::kRows>([&](auto i) __attribute__((always_inline)) {
            const typename Isa::Float value = Isa::Broadcast(a + i * kDepth + k);
            typename Isa::Keep keep{};
            if constexpr (kMasks) keep = Isa::Above(e, drop + i * kDepth + k);
            Unroll<kCount>([&](auto v) __attribute__((always_inline)) {
                if constexpr (kMasks) {
                    accumulator[i][v] =
                        Isa::template Step<kInner>(accumulator[i][v], value, columns[v], keep, v);
                } else if constexpr (kInner == Inner::kFast) {
                    accumulator[i][v] = Isa::FastStep(accumulator[i][v], value, columns[v]);
                } else {
                    accumulator[i][v] = Isa::UnmaskedStep(accumulator[i][v], value, columns[v]);
                }
            });
        });
        b += G::kPanel;
        exponents += G::kPanel;
    }
    Unroll<G::kRows>([&](auto i) __attribute__((always_inline)) {
        Unroll<kCount>([&](auto v) __attribute__((always_inline)) {
            Isa::StoreSum(sum + i * G::kTileColumns + v * G::kLanes, accumulator[i][v]);
        });
    });
}

template <typename Isa, Inner kInner, int kCount = Isa::kVectors>
void MultiplyCount(int vectors, const Scratch<Isa>& s, int64_t row, int64_t panel, int64_t depth,
                   int32_t* sum) {
    if constexpr (kCount > 1) {
        if (vectors < kCount) {
            MultiplyCount<Isa, kInner, kCount - 1>(vectors, s, row, panel, depth, sum);
            return;
        }
    }
    Multiply<Isa, kInner, kCount>(s, row, panel, depth, sum);
}

template <typename Isa, Inner kInner>
void MultiplyBlock(const Tile& t, int64_t depth, Scratch<Isa>& s) {
    using G = Geometry<Isa>;
    for (int64_t panel = 0; panel < t.columns; panel += G::kPanel) {
        const int64_t columns = std::min<int64_t>(G::kPanel, t.columns - panel);
        const int vectors = static_cast<int>((columns + G::kLanes - 1) / G::kLanes);
        for (int64_t row = 0; row < t.rows; row += G::kRows) {
            MultiplyCount<Isa, kInner>(vectors, s, row, panel, depth,
                                       s.sum + row * G::kTileColumns + panel);
        }
    }
}

// ---- Tiles

// Every partial sum checked, in ascending k: the chip's answer where an overflow is possible.
inline int32_t CheckedDot(const GemmArgs& g, int64_t i, int64_t j) {
    MacAccumulator sum(MacStart(BiasAt(g, i, j)));
    const Half* b = g.b.data + j * g.b.column_stride;
    for (int64_t k = 0; k < g.k; ++k) {
        sum.Add(MacProduct(DecodeMac(LeftElement(g, i, k)), DecodeMac(b[k * g.b.row_stride])));
    }
    return sum.Raw();
}

inline void StoreRaw(const GemmArgs& g, int64_t i, int64_t j, int32_t raw) {
    if (g.raw != nullptr) {
        g.raw[i * g.c_row_stride + j] = raw;
        return;
    }
    Half value = MacRoundToHalf(raw);
    if (raw == std::numeric_limits<int32_t>::max()) value = kHalfInf;
    if (raw == std::numeric_limits<int32_t>::min()) value = kHalfNegInf;
    g.c[i * g.c_row_stride + j] = value;
}

// Whether partial sums bounded by `bound` stay below 2^15; the factor covers float32 rounding of
// the bound, the last term that of the products.
inline bool CannotOverflow(int64_t k, double bound, float bias) {
    return bound * 1.001 + std::fabs(bias) + (static_cast<double>(k) + 1) * 0x1p-17 < 32767.0;
}

// Squares of the norms of the tile's rows of A and columns of B, for Cauchy-Schwarz.
template <typename Isa>
void FillSquares(const GemmArgs& g, const Tile& t, Scratch<Isa>& s) {
    auto square = [&](auto&& element) {
        float sum = 0.0f;
        for (int64_t k = 0; k < g.k; ++k) {
            const float value = MacFloat(element(k));
            sum += value * value;
        }
        return sum;
    };
    for (int64_t i = 0; i < t.rows; ++i) {
        s.row_square[i] = square([&](int64_t k) { return LeftElement(g, t.row + i, k); });
    }
    for (int64_t j = 0; j < t.columns; ++j) {
        const Half* column = g.b.data + (t.column + j) * g.b.column_stride;
        s.column_square[j] = square([&](int64_t k) { return column[k * g.b.row_stride]; });
    }
}

// Takes out what the steps of the magic number left in the sums.
inline void SubtractMagic(int32_t* sums, int64_t count, uint32_t magic) {
    for (int64_t j = 0; j < count; ++j) {
        sums[j] = static_cast<int32_t>(static_cast<uint32_t>(sums[j]) - magic);
    }
}

// Adds the bias to a row of sums that did not overflow and stores it.
template <typename Isa>
void FinishExactRow(const GemmArgs& g, const Tile& t, int64_t i, int32_t* sum) {
    const int64_t row = t.row + i;
    if (g.bias_kind != BiasKind::kNone) {
        for (int64_t j = 0; j < t.columns; ++j) {
            const auto start = static_cast<int32_t>(MacStart(BiasAt(g, row, t.column + j)));
            sum[j] = WrappingAdd(sum[j], start);
        }
    }
    if (g.raw != nullptr) {
        std::memcpy(g.raw + row * g.c_row_stride + t.column, sum,
                    static_cast<size_t>(t.columns) * sizeof(int32_t));
    } else {
        Isa::RoundRow(sum, t.columns, g.c + row * g.c_row_stride + t.column);
    }
}

template <typename Isa>
void StoreExactRow(const GemmArgs& g, const Tile& t, int64_t i, bool safe, Scratch<Isa>& s) {
    FinishExactRow<Isa>(g, t, i, s.sum + i * Geometry<Isa>::kTileColumns);
    if (safe) return;
    const int64_t row = t.row + i;
    for (int64_t j = 0; j < t.columns; ++j) {
        const float bias = MacFloat(BiasAt(g, row, t.column + j));
        const double bound = std::sqrt(static_cast<double>(s.row_square[i]) * s.column_square[j]);
        if (CannotOverflow(g.k, bound, bias)) continue;
        StoreRaw(g, row, t.column + j, CheckedDot(g, row, t.column + j));
    }
}

inline float LargestBias(const GemmArgs& g, const Tile& t) {
    if (g.bias_kind == BiasKind::kNone) return 0.0f;
    const bool per_row = g.bias_kind == BiasKind::kPerRow;
    const int64_t first = per_row ? t.row : t.column;
    const int64_t count = per_row ? t.rows : t.columns;
    float largest = 0.0f;
    for (int64_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::fabs(MacFloat(g.bias[first + i])));
    }
    return largest;
}

template <typename Isa>
void ExactTile(const GemmArgs& g, const Tile& t, Scratch<Isa>& s) {
    using G = Geometry<Isa>;
    const int64_t padded = (t.rows + G::kRows - 1) / G::kRows * G::kRows;
    std::fill_n(s.sum, padded * G::kTileColumns, 0);
    int64_t biased = 0;  // steps that added the magic number's bits
    float largest_a = 0.0f, largest_b = 0.0f;
    for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, g.k - k0);
        const Range b = PackB<Isa, true>(g, t, k0, depth, s);
        const Range a = PackA<Isa, true>(g, t, k0, depth, s);
        largest_a = std::max(largest_a, a.max_magnitude());
        largest_b = std::max(largest_b, b.max_magnitude());
        if (a.max_magnitude() * b.max_magnitude() >= kMaxMagicProduct) {
            MultiplyBlock<Isa, Inner::kLarge>(t, depth, s);
        } else if (a.min_exponent() + b.min_exponent() > kMacDropExponent) {
            MultiplyBlock<Isa, Inner::kUnmasked>(t, depth, s);
            biased += depth;
        } else {
            MultiplyBlock<Isa, Inner::kMasked>(t, depth, s);
            biased += Isa::kMaskedAddsMagic ? depth : 0;
        }
    }
    const auto magic = std::bit_cast<uint32_t>(kMagic) * static_cast<uint32_t>(biased);
    const double bound = static_cast<double>(largest_a) * largest_b * static_cast<double>(g.k);
    const bool safe = CannotOverflow(g.k, bound, LargestBias(g, t));
    if (!safe) FillSquares(g, t, s);
    for (int64_t i = 0; i < t.rows; ++i) {
        SubtractMagic(s.sum + i * G::kTileColumns, t.columns, magic);
        StoreExactRow(g, t, i, safe, s);
    }
}

// Adds the bias to a row of float sums and stores it as fp16.
template <typename Isa>
void StoreFastRow(const GemmArgs& g, const Tile& t, int64_t i, float* sum) {
    if (g.bias_kind != BiasKind::kNone) {
        for (int64_t j = 0; j < t.columns; ++j) {
            sum[j] += HalfToFloat(BiasAt(g, t.row + i, t.column + j));
        }
    }
    const int64_t at = (t.row + i) * g.c_row_stride + t.column;
    if (g.raw != nullptr) {
        std::memcpy(g.raw + at, sum, static_cast<size_t>(t.columns) * sizeof(float));
    } else {
        Isa::NarrowRow(sum, t.columns, g.c + at);
    }
}

template <typename Isa>
void FastTile(const GemmArgs& g, const Tile& t, Scratch<Isa>& s) {
    using G = Geometry<Isa>;
    const int64_t padded = (t.rows + G::kRows - 1) / G::kRows * G::kRows;
    std::fill_n(s.sum, padded * G::kTileColumns, 0);
    for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, g.k - k0);
        PackB<Isa, false>(g, t, k0, depth, s);
        PackA<Isa, false>(g, t, k0, depth, s);
        MultiplyBlock<Isa, Inner::kFast>(t, depth, s);
    }
    for (int64_t i = 0; i < t.rows; ++i) {
        StoreFastRow<Isa>(g, t, i, reinterpret_cast<float*>(s.sum + i * G::kTileColumns));
    }
}

// Tiles of at most G::kTileRows x G::kTileColumns, each with its thread's scratch of type S.
template <typename G, typename S, void (*kTile)(const GemmArgs&, const Tile&, S&)>
void RunTiles(const GemmArgs& g) {
    const int64_t threads = g.pool == nullptr ? 1 : g.pool->size();
    const int64_t column_tiles = (g.n + G::kTileColumns - 1) / G::kTileColumns;
    // As many row tiles as the threads can share evenly, all of nearly the same size.
    int64_t pieces = (g.m + G::kTileRows - 1) / G::kTileRows;
    const int64_t wanted = threads > 1 ? 2 * threads : 1;
    if (pieces * column_tiles < wanted) pieces = (wanted + column_tiles - 1) / column_tiles;
    const int64_t rows =
        ((g.m + pieces - 1) / pieces + G::kRows - 1) / G::kRows * static_cast<int64_t>(G::kRows);
    const int64_t row_tiles = (g.m + rows - 1) / rows;
    auto* scratch = static_cast<S*>(g.scratch);
    ParallelFor(g.pool, row_tiles * column_tiles, 1, [&](int64_t begin, int64_t end, int slot) {
        for (int64_t index = begin; index < end; ++index) {
            const int64_t row = index % row_tiles * rows;
            const int64_t column = index / row_tiles * G::kTileColumns;
            kTile(g,
                  {row, std::min(rows, g.m - row), column, std::min(G::kTileColumns, g.n - column)},
                  scratch[slot]);
        }
    });
}

template <typename Isa, void (*kTile)(const GemmArgs&, const Tile&, Scratch<Isa>&)>
void Run(const GemmArgs& g) {
    RunTiles<Geometry<Isa>, Scratch<Isa>, kTile>(g);
}

}  // namespace
}  // namespace jax_ane::software::blocked
