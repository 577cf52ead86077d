// SPDX-License-Identifier: Apache-2.0
// GEMM in plain C++: the oracle of the exact kernels, and quick enough to be used until a vector
// kernel is there.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "device/software/kernels/mac.h"
#include "device/software/kernels/reference.h"

namespace jax_ane::software {
namespace {

constexpr int64_t kColumns = 64;  // columns of a tile
constexpr int64_t kRows = 64;     // rows of a tile
constexpr int64_t kDepth = 256;   // k steps between two packings

// What one thread needs while it computes a tile.
struct TileScratch {
    alignas(64) float b[kDepth * kColumns];
    alignas(64) int32_t b_exponent[kDepth * kColumns];
    alignas(64) int32_t sum[kRows * kColumns];
    alignas(64) float float_sum[kRows * kColumns];
    double column_norm[kColumns];
    double row_norm[kRows];
};

struct Tile {
    int64_t row, rows, column, columns;
};

Half At(const MatrixView& v, int64_t i, int64_t j) {
    return v.data[i * v.row_stride + j * v.column_stride];
}

Half BiasAt(const GemmArgs& g, int64_t i, int64_t j) {
    if (g.bias_kind == BiasKind::kNone) return 0;
    return g.bias[g.bias_kind == BiasKind::kPerRow ? i : j];
}

// Decodes B[k0 .. k0+depth, tile's columns] and adds its squares to the column norms.
void PackColumns(const GemmArgs& g, const Tile& t, int64_t k0, int64_t depth, TileScratch& s) {
    for (int64_t k = 0; k < depth; ++k) {
        float* values = s.b + k * kColumns;
        int32_t* exponents = s.b_exponent + k * kColumns;
        const Half* source = g.b.data + (k0 + k) * g.b.row_stride + t.column * g.b.column_stride;
        for (int64_t j = 0; j < t.columns; ++j) {
            const Half h = source[j * g.b.column_stride];
            values[j] = MacFloat(h);
            exponents[j] = MacExponent(h);
        }
        for (int64_t j = t.columns; j < kColumns; ++j) {
            values[j] = 0;
            exponents[j] = -14;
        }
        for (int64_t j = 0; j < kColumns; ++j) {
            s.column_norm[j] += static_cast<double>(values[j]) * values[j];
        }
    }
}

// sum[j] += round_away(a * b[j] * 2^16) where the exponents keep the product. A product of two fp16
// numbers has 22 significant bits, so it and its sum with one half are exact in float32. What int32
// does not hold is cut off: such a sum is computed anew with every partial sum checked.
void AccumulateRow(float a, int32_t a_exponent, const float* b, const int32_t* b_exponent,
                   int32_t* sum) {
    constexpr float kMost = 0x1.fffffep30f;
    const float scaled = a * 65536.0f;
    const int32_t dropped = kMacDropExponent - a_exponent;
    for (int64_t j = 0; j < kColumns; ++j) {
        const float product = scaled * b[j];
        const float moved = product + std::copysign(0.5f, product);
        const auto rounded = static_cast<int32_t>(std::min(std::max(-kMost, moved), kMost));
        const int32_t kept = b_exponent[j] > dropped ? rounded : 0;
        sum[j] = static_cast<int32_t>(static_cast<uint32_t>(sum[j]) + static_cast<uint32_t>(kept));
    }
}

// Every partial sum checked, in ascending k.
int32_t CheckedDot(const GemmArgs& g, int64_t i, int64_t j) {
    MacAccumulator sum(MacStart(BiasAt(g, i, j)));
    for (int64_t k = 0; k < g.k; ++k) {
        sum.Add(MacProduct(DecodeMac(LeftElement(g, i, k)), DecodeMac(At(g.b, k, j))));
    }
    return sum.Raw();
}

void StoreExact(const GemmArgs& g, int64_t i, int64_t j, int32_t raw) {
    if (g.raw != nullptr) {
        g.raw[i * g.c_row_stride + j] = raw;
        return;
    }
    Half value = MacRoundToHalf(raw);
    if (raw == std::numeric_limits<int32_t>::max()) value = kHalfInf;
    if (raw == std::numeric_limits<int32_t>::min()) value = kHalfNegInf;
    g.c[i * g.c_row_stride + j] = value;
}

// Whether no partial sum of output (i, j) can reach 2^15, by Cauchy-Schwarz plus half a unit for
// each rounding.
bool CannotOverflow(const GemmArgs& g, double row_norm, double column_norm, Half bias) {
    const double start = std::fabs(static_cast<double>(MacFloat(bias)));
    const double rounding = (static_cast<double>(g.k) + 1) * 0x1p-17;
    return std::sqrt(row_norm * column_norm) * (1 + 1e-9) + start + rounding < 32767.0;
}

void ExactTile(const GemmArgs& g, const Tile& t, TileScratch& s) {
    std::memset(s.sum, 0, sizeof s.sum);
    std::fill(s.column_norm, s.column_norm + kColumns, 0.0);
    std::fill(s.row_norm, s.row_norm + kRows, 0.0);
    for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, g.k - k0);
        PackColumns(g, t, k0, depth, s);
        for (int64_t i = 0; i < t.rows; ++i) {
            for (int64_t k = 0; k < depth; ++k) {
                const Half h = LeftElement(g, t.row + i, k0 + k);
                const float a = MacFloat(h);
                s.row_norm[i] += static_cast<double>(a) * a;
                AccumulateRow(a, MacExponent(h), s.b + k * kColumns, s.b_exponent + k * kColumns,
                              s.sum + i * kColumns);
            }
        }
    }
    for (int64_t i = 0; i < t.rows; ++i) {
        for (int64_t j = 0; j < t.columns; ++j) {
            const int64_t row = t.row + i, column = t.column + j;
            const Half bias = BiasAt(g, row, column);
            // Where an overflow is possible the quick sums may have wrapped, so they are thrown
            // away.
            const int32_t raw = CannotOverflow(g, s.row_norm[i], s.column_norm[j], bias)
                                    ? s.sum[i * kColumns + j] + static_cast<int32_t>(MacStart(bias))
                                    : CheckedDot(g, row, column);
            StoreExact(g, row, column, raw);
        }
    }
}

void FastTile(const GemmArgs& g, const Tile& t, TileScratch& s) {
    std::fill(s.float_sum, s.float_sum + kRows * kColumns, 0.0f);
    for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, g.k - k0);
        for (int64_t k = 0; k < depth; ++k) {
            for (int64_t j = 0; j < kColumns; ++j) {
                s.b[k * kColumns + j] =
                    j < t.columns ? HalfToFloat(At(g.b, k0 + k, t.column + j)) : 0.0f;
            }
        }
        for (int64_t i = 0; i < t.rows; ++i) {
            float* sum = s.float_sum + i * kColumns;
            for (int64_t k = 0; k < depth; ++k) {
                const float a = HalfToFloat(LeftElement(g, t.row + i, k0 + k));
                const float* b = s.b + k * kColumns;
                for (int64_t j = 0; j < kColumns; ++j) sum[j] += a * b[j];
            }
        }
    }
    for (int64_t i = 0; i < t.rows; ++i) {
        for (int64_t j = 0; j < t.columns; ++j) {
            const int64_t row = t.row + i, column = t.column + j;
            g.c[row * g.c_row_stride + column] =
                FloatToHalf(s.float_sum[i * kColumns + j] + HalfToFloat(BiasAt(g, row, column)));
        }
    }
}

template <void (*kTile)(const GemmArgs&, const Tile&, TileScratch&)>
void RunGemm(const GemmArgs& g) {
    const int64_t row_tiles = (g.m + kRows - 1) / kRows;
    const int64_t column_tiles = (g.n + kColumns - 1) / kColumns;
    auto* scratch = static_cast<TileScratch*>(g.scratch);
    ParallelFor(g.pool, row_tiles * column_tiles, 1, [&](int64_t begin, int64_t end, int slot) {
        for (int64_t index = begin; index < end; ++index) {
            const int64_t row = index % row_tiles * kRows;
            const int64_t column = index / row_tiles * kColumns;
            kTile(g, {row, std::min(kRows, g.m - row), column, std::min(kColumns, g.n - column)},
                  scratch[slot]);
        }
    });
}

size_t ScratchBytes(int64_t, int64_t, int64_t, int threads) {
    return sizeof(TileScratch) * static_cast<size_t>(std::max(threads, 1));
}
size_t NoPackedB(int64_t, int64_t) { return 0; }
void PackNothing(const MatrixView&, int64_t, int64_t, void*, ThreadPool*) {}

}  // namespace

void FillReferenceGemm(KernelTable& table) {
    table.gemm[static_cast<int>(NumericsMode::kExact)] = {ScratchBytes, NoPackedB, PackNothing,
                                                          RunGemm<ExactTile>};
    table.gemm[static_cast<int>(NumericsMode::kFast)] = {ScratchBytes, NoPackedB, PackNothing,
                                                         RunGemm<FastTile>};
}

}  // namespace jax_ane::software
