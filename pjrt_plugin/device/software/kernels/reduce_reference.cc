// SPDX-License-Identifier: Apache-2.0
// Row reductions in plain C++. Sums follow the bounded model of numerics.md section 5: a 12-bit
// aligned adder inside groups of four, exact or radix-4 above it. Max and min are exact.
#include <bit>
#include <cmath>

#include "device/software/kernels/planar.h"
#include "device/software/kernels/reference.h"

namespace jax_ane::software {
namespace {

// An fp16 value as an integer multiple of 2^-24.
int64_t ToGrid(Half h) {
    const int field = (h >> 10) & 31;
    const int64_t mantissa = (h & 0x3FF) | (field != 0 ? 0x400 : 0);
    const int64_t magnitude = mantissa << (field != 0 ? field - 1 : 0);
    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

Half FromGrid(int64_t value) { return DoubleToHalfAway(static_cast<double>(value) * 0x1p-24); }

// Both operands are cut toward zero to the larger one's 12 bits, then added.
int64_t AlignedAdd(int64_t a, int64_t b) {
    const uint64_t x = static_cast<uint64_t>(a < 0 ? -a : a);
    const uint64_t y = static_cast<uint64_t>(b < 0 ? -b : b);
    const int bits = 64 - std::countl_zero(x | y);
    const int cut = bits > 12 ? bits - 12 : 0;
    const int64_t p = static_cast<int64_t>(x >> cut << cut);
    const int64_t q = static_cast<int64_t>(y >> cut << cut);
    return (a < 0 ? -p : p) + (b < 0 ? -q : q);
}

struct Infinities {
    bool positive = false;
    bool negative = false;
};

// Reads one term; infinities (and NaN, which reads as +inf) are noted and count 0.
int64_t Term(Half h, Infinities& seen) {
    if ((h & 0x7C00) == 0x7C00) {
        const bool negative = h == kHalfNegInf;
        (negative ? seen.negative : seen.positive) = true;
        return 0;
    }
    return ToGrid(h);
}

int64_t AddGroup(const Half* x, int64_t count, Infinities& seen) {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; ++i) sum = AlignedAdd(sum, Term(x[i], seen));
    return sum;
}

Half Finish(int64_t sum, const Infinities& seen) {
    if (seen.positive && seen.negative) return 0;
    if (seen.positive) return kHalfInf;
    if (seen.negative) return kHalfNegInf;
    return FromGrid(sum);
}

Half SumShort(const Half* x, int64_t n) {
    Infinities seen;
    int64_t total = 0;
    for (int64_t i = 0; i < n; i += 4) total += AddGroup(x + i, std::min<int64_t>(4, n - i), seen);
    return Finish(total, seen);
}

Half SumFour(const Half* x, int64_t count) {
    Infinities seen;
    const int64_t sum = AddGroup(x, count, seen);
    return Finish(sum, seen);
}

// Passes over contiguous groups of four, each rounded to fp16, until one value is left. Streamed:
// level i holds the results of pass i that wait for their group to fill, so no scratch memory is
// needed.
Half SumLong(const Half* x, int64_t n) {
    constexpr int kLevels = 33;
    Half waiting[kLevels][4];
    int count[kLevels] = {};
    for (int64_t i = 0; i < n; i += 4) {
        Half value = SumFour(x + i, std::min<int64_t>(4, n - i));
        for (int level = 0;; ++level) {
            waiting[level][count[level]++] = value;
            if (count[level] < 4) break;
            value = SumFour(waiting[level], 4);
            count[level] = 0;
        }
    }
    // The last, partial group of each pass. A pass that holds one value and has nothing above it is
    // the result.
    for (int level = 0; level < kLevels - 1; ++level) {
        bool above = false;
        for (int i = level + 1; i < kLevels; ++i) above |= count[i] > 0;
        if (!above && count[level] == 1) return waiting[level][0];
        if (count[level] == 0) continue;
        waiting[level + 1][count[level + 1]++] = SumFour(waiting[level], count[level]);
        count[level] = 0;
        if (count[level + 1] == 4 && level + 2 < kLevels) {
            waiting[level + 2][count[level + 2]++] = SumFour(waiting[level + 1], 4);
            count[level + 1] = 0;
        }
    }
    return 0;
}

void SumRows(const Half* x, int64_t rows, int64_t n, int64_t long_row, Half* out) {
    for (int64_t r = 0; r < rows; ++r) {
        out[r] = n >= long_row ? SumLong(x + r * n, n) : SumShort(x + r * n, n);
    }
}

void FastSumRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    for (int64_t r = 0; r < rows; ++r) {
        float lanes[16] = {};
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (int j = 0; j < 16; ++j) lanes[j] += HalfToFloat(x[r * n + i + j]);
        }
        float sum = 0;
        for (float lane : lanes) sum += lane;
        for (; i < n; ++i) sum += HalfToFloat(x[r * n + i]);
        out[r] = FloatToHalf(sum);
    }
}

void MaxRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    for (int64_t r = 0; r < rows; ++r) {
        Half best = x[r * n];
        for (int64_t i = 0; i < n; ++i) best = PlanarMax(best, x[r * n + i]);
        out[r] = best;
    }
}

void MinRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    for (int64_t r = 0; r < rows; ++r) {
        Half best = x[r * n];
        for (int64_t i = 0; i < n; ++i) best = PlanarMin(best, x[r * n + i]);
        out[r] = best;
    }
}

// float32 order with NaN kept, as NumPy does.
template <bool kMax>
void FastExtremeRows(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    for (int64_t r = 0; r < rows; ++r) {
        Half best = x[r * n];
        for (int64_t i = 1; i < n && !HalfIsNan(best); ++i) {
            const Half h = x[r * n + i];
            const float a = HalfToFloat(best), b = HalfToFloat(h);
            if (HalfIsNan(h) || (kMax ? b > a : b < a)) best = h;
        }
        out[r] = best;
    }
}

}  // namespace

void FillReferenceReduce(KernelTable& table) {
    table.reduce_rows[0][static_cast<int>(ReduceOp::kSum)] = SumRows;
    table.reduce_rows[0][static_cast<int>(ReduceOp::kMax)] = MaxRows;
    table.reduce_rows[0][static_cast<int>(ReduceOp::kMin)] = MinRows;
    table.reduce_rows[1][static_cast<int>(ReduceOp::kSum)] = FastSumRows;
    table.reduce_rows[1][static_cast<int>(ReduceOp::kMax)] = FastExtremeRows<true>;
    table.reduce_rows[1][static_cast<int>(ReduceOp::kMin)] = FastExtremeRows<false>;
}

}  // namespace jax_ane::software
