// SPDX-License-Identifier: Apache-2.0
// Exact sums of rows (numerics.md section 5), and maxima and minima, in vectors: bit for bit those
// of reduce_reference.cc, to which rows with infinities or NaN are left.
//
// A lane adds a group of four terms by the 12-bit aligned adder. Its values have at most 13
// significant bits, so float32 holds them and scaling by a power of two is exact.
#pragma once

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/reference.h"
#include "device/software/kernels/rows_vector.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software::vectors {
namespace {

// Both operands cut toward zero to the larger one's 12 bits, then added.
template <typename Isa>
inline typename Isa::Float AlignedAdd(typename Isa::Float a, typename Isa::Float b) {
    using F = typename Isa::Float;
    // 2^e as bits. Scaling by 2^(11 - e) leaves 12 bits before the point, scaling by 2^(e - 11)
    // goes back. Where both operands are 0 the factors are odd but finite.
    const F exponent = Isa::LargerExponent(a, b);
    const F forth = Isa::BitsFrom(static_cast<int32_t>(265u << 23), exponent);
    const F back = Isa::BitsPlus(exponent, -(11 << 23));
    const F sum = Isa::AddF(Isa::TruncF(Isa::MulF(a, forth)), Isa::TruncF(Isa::MulF(b, forth)));
    return Isa::MulF(sum, back);
}

// The sums of kLanes groups of the first `kTerms` of four neighbouring terms.
template <typename Isa, int kTerms>
inline typename Isa::Float GroupSums(const Half* x) {
    typename Isa::Float t[4];
    Isa::LoadQuads(x, t);
    typename Isa::Float sum = t[0];
    for (int j = 1; j < kTerms; ++j) sum = AlignedAdd<Isa>(sum, t[j]);
    return Isa::AddF(sum, Isa::Zero());  // -0 becomes +0
}

// Sums of whole groups of four, or of the first kTerms of each, to fp16.
template <typename Isa, int kTerms>
void GroupsToHalves(const Half* x, int64_t groups, Half* out) {
    int64_t g = 0;
    for (; g + Isa::kLanes <= groups; g += Isa::kLanes) {
        Isa::Store(Isa::NarrowAway(GroupSums<Isa, kTerms>(x + 4 * g)), out + g);
    }
    if (g == groups) return;
    alignas(64) Half buffer[4 * Isa::kLanes] = {};
    std::memcpy(buffer, x + 4 * g, static_cast<size_t>(4 * (groups - g)) * sizeof(Half));
    Put<Isa>(Isa::NarrowAway(GroupSums<Isa, kTerms>(buffer)), out, g, groups - g);
}

template <typename Isa>
void PartialGroups(const Half* x, int64_t terms, int64_t groups, Half* out) {
    if (terms == 1) {
        GroupsToHalves<Isa, 1>(x, groups, out);
    } else if (terms == 2) {
        GroupsToHalves<Isa, 2>(x, groups, out);
    } else {
        GroupsToHalves<Isa, 3>(x, groups, out);
    }
}

inline ReduceRowsFn Reference(NumericsMode mode, ReduceOp op) {
    return ReferenceKernels().reduce_rows[static_cast<int>(mode)][static_cast<int>(op)];
}

// Whether all of these are finite.
template <typename Isa>
inline bool AllFinite(const Half* x, int64_t n) {
    auto largest = Isa::Splat(0);
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        largest = Isa::MaxKeys(largest, Isa::Magnitudes(FetchPadded<Isa>(x + i, count, 0)));
    });
    return HorizontalMax<Isa>(largest) < kHalfInf;
}

inline constexpr int64_t kBatchRows = 16;
inline constexpr int64_t kBatchHalves = 4096;  // results of the first pass of one batch

// One radix-4 pass over `rows` rows of n terms that follow one another; returns the new length.
template <typename Isa>
int64_t SumPass(const Half* x, int64_t rows, int64_t n, Half* out) {
    const int64_t whole = n / 4, terms = n % 4, length = whole + (terms > 0 ? 1 : 0);
    if (terms == 0) {
        GroupsToHalves<Isa, 4>(x, rows * whole, out);
        return length;
    }
    Half rest[4 * kBatchRows], sums[kBatchRows] = {};
    for (int64_t r = 0; r < rows; ++r) {
        GroupsToHalves<Isa, 4>(x + r * n, whole, out + r * length);
        for (int64_t j = 0; j < 4; ++j) {
            rest[4 * r + j] = j < terms ? x[r * n + 4 * whole + j] : Half{0};
        }
    }
    PartialGroups<Isa>(rest, terms, rows, sums);
    for (int64_t r = 0; r < rows; ++r) out[r * length + whole] = sums[r];
    return length;
}

// Long rows: passes until one value is left. False where an infinity appears on the way.
template <typename Isa>
bool SumLongBatch(const Half* x, int64_t rows, int64_t n, Half* out) {
    alignas(64) Half buffers[2][kBatchHalves + kBatchRows];
    if (!AllFinite<Isa>(x, rows * n)) return false;
    int64_t length = n;
    int turn = 0;
    do {
        length = SumPass<Isa>(x, rows, length, buffers[turn]);
        x = buffers[turn];
        turn ^= 1;
        if (length > 1 && !AllFinite<Isa>(x, rows * length)) return false;
    } while (length > 1);
    std::memcpy(out, x, static_cast<size_t>(rows) * sizeof(Half));
    return true;
}

// A row too long for the buffers: pieces of a power of four, each brought down to one value, which
// are what that many passes over the whole row leave.
template <typename Isa>
bool SumVeryLong(const Half* x, int64_t n, Half* out) {
    constexpr int64_t kPiece = 4 * kBatchHalves;
    alignas(64) Half values[kBatchHalves];
    const int64_t pieces = (n + kPiece - 1) / kPiece;
    if (pieces > kBatchHalves) return false;
    for (int64_t i = 0; i < pieces; ++i) {
        const int64_t length = std::min(kPiece, n - i * kPiece);
        if (!SumLongBatch<Isa>(x + i * kPiece, 1, length, values + i)) return false;
    }
    return SumLongBatch<Isa>(values, 1, pieces, out);
}

// Short rows: the groups' sums add up exactly, in float64.
template <typename Isa>
double SumShortRow(const Half* x, int64_t n) {
    typename Isa::Doubles total;
    const int64_t whole = n / 4;
    int64_t g = 0;
    for (; g + Isa::kLanes <= whole; g += Isa::kLanes) {
        total.Add(GroupSums<Isa, 4>(x + 4 * g));
    }
    if (g < whole) {
        alignas(64) Half buffer[4 * Isa::kLanes] = {};
        std::memcpy(buffer, x + 4 * g, static_cast<size_t>(4 * (whole - g)) * sizeof(Half));
        total.Add(GroupSums<Isa, 4>(buffer));
    }
    double sum = total.Sum();
    if (n % 4 != 0) {
        alignas(64) Half buffer[4 * Isa::kLanes] = {};
        std::memcpy(buffer, x + 4 * whole, static_cast<size_t>(n % 4) * sizeof(Half));
        alignas(64) float sums[Isa::kLanes];
        Isa::StoreF(n % 4 == 1   ? GroupSums<Isa, 1>(buffer)
                    : n % 4 == 2 ? GroupSums<Isa, 2>(buffer)
                                 : GroupSums<Isa, 3>(buffer),
                    sums);
        sum += sums[0];
    }
    return sum;
}

// Up to here a sum of groups (below 2^18, multiples of 2^-24) is exact in float64.
inline constexpr int64_t kMaxShortRow = 8192;

template <typename Isa>
void ExactSumRows(const Half* x, int64_t rows, int64_t n, int64_t long_row, Half* out) {
    if (n < long_row) {
        for (int64_t r = 0; r < rows; ++r, x += n) {
            if (n <= kMaxShortRow && AllFinite<Isa>(x, n)) {
                out[r] = DoubleToHalfAway(SumShortRow<Isa>(x, n));
            } else {
                Reference(NumericsMode::kExact, ReduceOp::kSum)(x, 1, n, long_row, out + r);
            }
        }
        return;
    }
    const int64_t batch = std::clamp<int64_t>(kBatchHalves / ((n + 3) / 4), 1, kBatchRows);
    for (int64_t r = 0; r < rows; r += batch) {
        const int64_t count = std::min(batch, rows - r);
        const bool done = n > 4 * kBatchHalves ? SumVeryLong<Isa>(x + r * n, n, out + r)
                                               : SumLongBatch<Isa>(x + r * n, count, n, out + r);
        if (done) continue;
        Reference(NumericsMode::kExact, ReduceOp::kSum)(x + r * n, count, n, long_row, out + r);
    }
}

// ---- Maxima and minima

// By the keys. Rows with NaN, and in the exact mode the sign of a zero, are the reference's.
template <typename Isa, NumericsMode kMode, ReduceOp kOp>
void ExtremeRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    using H = typename Isa::Halves;
    constexpr bool kMax = kOp == ReduceOp::kMax;
    for (int64_t r = 0; r < rows; ++r, x += n) {
        H best[2] = {Isa::Keys(Isa::Splat(x[0])), Isa::Keys(Isa::Splat(x[0]))};
        H magnitude = Isa::Splat(0);
        auto look = [&](H halves, int j) {
            const H keys = Isa::Keys(halves);
            best[j] = kMax ? Isa::MaxKeys(best[j], keys) : Isa::MinKeys(best[j], keys);
            magnitude = Isa::MaxKeys(magnitude, Isa::Magnitudes(halves));
        };
        int64_t i = 0;
        for (; i + 2 * Isa::kLanes <= n; i += 2 * Isa::kLanes) {
            look(Isa::Load(x + i), 0);
            look(Isa::Load(x + i + Isa::kLanes), 1);
        }
        for (; i < n; i += Isa::kLanes) {
            look(FetchPadded<Isa>(x + i, std::min<int64_t>(Isa::kLanes, n - i), x[0]), 0);
        }
        const int16_t key = kMax ? HorizontalMax<Isa>(Isa::MaxKeys(best[0], best[1]))
                                 : HorizontalMin<Isa>(Isa::MinKeys(best[0], best[1]));
        const Half value = HalfOfKey(key);
        const bool signed_zero = kMode == NumericsMode::kExact && (value & 0x7FFF) == 0;
        if (signed_zero || HorizontalMax<Isa>(magnitude) > kHalfInf) {
            Reference(kMode, kOp)(x, 1, n, 0, out + r);
        } else {
            out[r] = value;
        }
    }
}

template <typename Isa, NumericsMode kMode>
void FillExtremes(KernelTable& table) {
    ReduceRowsFn* rows = table.reduce_rows[static_cast<int>(kMode)];
    rows[static_cast<int>(ReduceOp::kMax)] = ExtremeRows<Isa, kMode, ReduceOp::kMax>;
    rows[static_cast<int>(ReduceOp::kMin)] = ExtremeRows<Isa, kMode, ReduceOp::kMin>;
}

template <typename Isa>
void FillSums(KernelTable& table) {
    ReduceRowsFn* exact = table.reduce_rows[static_cast<int>(NumericsMode::kExact)];
    exact[static_cast<int>(ReduceOp::kSum)] = ExactSumRows<Isa>;
    FillExtremes<Isa, NumericsMode::kExact>(table);
    FillExtremes<Isa, NumericsMode::kFast>(table);
}

}  // namespace
}  // namespace jax_ane::software::vectors
