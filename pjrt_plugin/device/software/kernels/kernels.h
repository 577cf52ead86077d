// SPDX-License-Identifier: Apache-2.0
// The table of kernels: one function pointer a family, filled once per instruction set (table.cc).
// `exact` kernels must equal the scalar reference bit for bit; `fast` ones may sum in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "device/software/kernels/adamw.h"
#include "util/half.h"
#include "util/thread_pool.h"

namespace jax_ane::software {

enum class NumericsMode : uint8_t { kExact = 0, kFast = 1 };
inline constexpr int kNumericsModes = 2;

// ---- GEMM
// -----------------------------------------------------------------------------------------------------------

// Element (i, j) is data[i * row_stride + j * column_stride]; strides count elements and may be
// anything, so that neither transpose needs a copy.
struct MatrixView {
    const Half* data = nullptr;
    int64_t row_stride = 0;
    int64_t column_stride = 0;
};

// Rows made of pieces: element k of row i is data[rows[i] + taps[k / tap_length] + k % tap_length].
// Without `rows` there is none, and the view's strides count.
struct RowGather {
    const int64_t* rows = nullptr;
    const int64_t* taps = nullptr;
    int64_t tap_length = 0;
};

enum class BiasKind : uint8_t { kNone, kPerRow, kPerColumn };

// C[m, n] = A[m, k] x B[k, n] + bias. Batches are the caller's loop.
struct GemmArgs {
    int64_t m = 0;
    int64_t n = 0;
    int64_t k = 0;
    MatrixView a;
    RowGather a_gather;              // when set, how the rows of `a` lie
    MatrixView b;                    // ignored when packed_b is set
    const void* packed_b = nullptr;  // made by pack_b of the same kernel, or null
    Half* c = nullptr;               // element (i, j) at c[i * c_row_stride + j]
    int64_t c_row_stride = 0;
    BiasKind bias_kind = BiasKind::kNone;
    const Half* bias = nullptr;  // m (per row) or n (per column) elements
    // When set, the sums are stored here instead of fp16 in c: exact ones in units of 2^-16, with
    // INT32_MAX and INT32_MIN for the sticky infinities, fast ones as the bits of a float32. Row
    // stride c_row_stride. Used by the Winograd forms.
    int32_t* raw = nullptr;
    void* scratch = nullptr;     // 64-byte aligned, scratch_bytes(m, n, k, pool size) long
    ThreadPool* pool = nullptr;  // null: run on the calling thread only
};

// Element k of row i of the left side.
static inline Half LeftElement(const GemmArgs& g, int64_t i, int64_t k) {
    if (g.a_gather.rows == nullptr) {
        return g.a.data[i * g.a.row_stride + k * g.a.column_stride];
    }
    const int64_t tap = k / g.a_gather.tap_length, rest = k % g.a_gather.tap_length;
    return g.a.data[g.a_gather.rows[i] + g.a_gather.taps[tap] + rest];
}

struct GemmKernel {
    // Scratch for one call with at most `threads` threads at work (1 when the pool is null).
    size_t (*scratch_bytes)(int64_t m, int64_t n, int64_t k, int threads);
    // Size of B packed for repeated use (64-byte aligned memory); 0 when this kernel does not pack
    // ahead.
    size_t (*packed_b_bytes)(int64_t n, int64_t k);
    void (*pack_b)(const MatrixView& b, int64_t n, int64_t k, void* packed, ThreadPool* pool);
    void (*run)(const GemmArgs& args);
};

// ---- Elementwise
// ----------------------------------------------------------------------------------------------------

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kMaximum, kMinimum, kPow, kFloorDiv };
inline constexpr int kBinaryOps = 8;

// out[i] = a[i * a_step] op b[i * b_step] for i < n. Steps are 0 (a scalar) or 1. out may be a or b
// (same index).
using BinaryFn = void (*)(const Half* a, int a_step, const Half* b, int b_step, Half* out,
                          int64_t n);

enum class CompareOp : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
inline constexpr int kCompareOps = 6;

// As BinaryFn; out is 0 or 1 a byte. NaN compares as +inf.
using CompareFn = void (*)(const Half* a, int a_step, const Half* b, int b_step, uint8_t* out,
                           int64_t n);

// out[i] = condition[i * c_step] ? a[i * a_step] : b[i * b_step].
using SelectFn = void (*)(const uint8_t* condition, int c_step, const Half* a, int a_step,
                          const Half* b, int b_step, Half* out, int64_t n);

// out[i] = table[x[i]]; table has 65,536 entries. Every unary operation on fp16 is one of these.
using LookupFn = void (*)(const Half* table, const Half* x, Half* out, int64_t n);

// Unary operations of the fast mode that vectors of float32 compute faster than a lookup: within
// one unit of fp16's last place of the correctly rounded result, and nearly always equal to it.
enum class UnaryOp : uint8_t {
    kAbs,        // |x|
    kClip,       // min(max(x, a), b)
    kErf,        // erf(x)
    kExp,        // e^x
    kExp2,       // 2^x
    kGelu,       // x * (1 + erf(x / sqrt 2)) / 2
    kInverse,    // 1 / (x + a + b)
    kLeakyRelu,  // x, or a * x where negative
    kRsqrt,      // 1 / sqrt(x + a + b)
    kSigmoid,    // 1 / (1 + e^-x)
    kSilu,       // x / (1 + e^-x)
    kSqrt,       // sqrt(x)
    kSquare,     // x * x
    kTanh,       // tanh(x)
};
inline constexpr int kUnaryOps = 14;

// out may be x.
using UnaryFn = void (*)(const Half* x, Half* out, int64_t n, float a, float b);

// ---- Reductions, conversions, movement
// --------------------------------------------------------------------------------

enum class ReduceOp : uint8_t { kSum, kMax, kMin };
inline constexpr int kReduceOps = 3;

// out[r] = reduction of x[r * n .. r * n + n) for r < rows. `long_row`: exact sums of at least this
// many terms go by radix-4 passes (numerics.md section 5); ignored otherwise.
using ReduceRowsFn = void (*)(const Half* x, int64_t rows, int64_t n, int64_t long_row, Half* out);

// The fast mode's other reductions of a row, in float32 with one rounding. `long_row` is ignored.
enum class FloatReduceOp : uint8_t { kMean, kL1Norm, kL2Norm, kSumSquare, kLogSum, kLogSumExp };
inline constexpr int kFloatReduceOps = 6;

// The fast mode's softmax of each row, in float32. out may be x; scratch has n floats.
using SoftmaxRowsFn = void (*)(const Half* x, Half* out, int64_t rows, int64_t n, float* scratch);

// y = (x - mean) / sqrt(mean of squares + epsilon) * gamma + beta. Without `center` nothing is
// subtracted and squares are summed instead of averaged (l2_norm).
struct NormArgs {
    bool center = true;
    float epsilon = 0;
    const Half* gamma = nullptr;  // null: 1
    const Half* beta = nullptr;   // null: 0
    int affine_step = 1;          // gamma and beta: 1, n values for each row; 0, one value
};

// The fast mode's normalisation of each row, in float32. out may be x.
using NormRowsFn = void (*)(const NormArgs& args, const Half* x, Half* out, int64_t rows,
                            int64_t n);

// NumPy's casts (nearest, ties to even) of x * scale. A power of two loses nothing.
using HalfToFloatFn = void (*)(const Half* x, float* out, int64_t n, float scale);
using FloatToHalfFn = void (*)(const float* x, Half* out, int64_t n, float scale);

// The largest magnitude of n numbers as bits, in which infinities and NaN are largest of all.
using LargestHalfFn = uint16_t (*)(const Half* x, int64_t n);
using LargestFloatFn = uint32_t (*)(const float* x, int64_t n);

// out[j * out_stride + i] = x[i * x_stride + j] for i < rows, j < columns; strides in elements.
using Transpose16Fn = void (*)(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                               int64_t rows, int64_t columns);

// Fast numerics: 4x4 pixels of `channels` fp16 values each to the 16 points of F(2x2, 3x3),
// `stride` apart.
using WinogradInputFn = void (*)(const Half* const* pixels, int64_t channels, Half* v,
                                 int64_t stride);
// And back: 16 points of float32 sums to 2x2 pixels; null ones are left out.
using WinogradOutputFn = void (*)(const float* m, int64_t stride, int64_t channels,
                                  Half* const* out);

// ---- Depthwise convolution

// out[i] = bias + sum over t < taps of weights[t] * x[offsets[t] + i], for i < n. x must be
// readable for kTapSlack elements beyond the last one used.
struct TapSumArgs {
    const Half* x = nullptr;
    uint16_t max_bits = 0;  // largest magnitude in x, as bits
    const int64_t* offsets = nullptr;
    const Half* weights = nullptr;
    int64_t taps = 0;  // at most kMaxTaps
    Half bias = 0;
    int64_t n = 0;
    Half* out = nullptr;
};
inline constexpr int64_t kTapSlack = 64;
inline constexpr int64_t kMaxTaps = 256;
using TapSumFn = void (*)(const TapSumArgs& args);

struct KernelTable {
    const char* isa = "scalar";
    GemmKernel gemm[kNumericsModes];
    BinaryFn binary[kNumericsModes][kBinaryOps];
    CompareFn compare[kCompareOps];
    SelectFn select;
    LookupFn lookup;
    UnaryFn unary[kUnaryOps];  // null where the lookup serves
    ReduceRowsFn reduce_rows[kNumericsModes][kReduceOps];
    ReduceRowsFn float_reduce_rows[kFloatReduceOps];
    SoftmaxRowsFn softmax_rows;
    NormRowsFn norm_rows;
    HalfToFloatFn half_to_float;
    FloatToHalfFn float_to_half;
    LargestHalfFn largest_half;
    LargestFloatFn largest_float;
    Transpose16Fn transpose16;
    TapSumFn tap_sum[kNumericsModes];
    AdamWFn adamw;
    WinogradInputFn winograd_input;  // null where right sides are not packed ahead
    WinogradOutputFn winograd_output;
};

// The scalar reference: every pointer set but those of `unary`.
const KernelTable& ReferenceKernels();

// The table for an instruction set ("auto", "scalar", "avx2", "avx512", "amx", "neon"), or null if
// this machine or build lacks it.
const KernelTable* FindKernels(std::string_view isa);

}  // namespace jax_ane::software
