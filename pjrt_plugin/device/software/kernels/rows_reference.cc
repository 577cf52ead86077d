// SPDX-License-Identifier: Apache-2.0
// The fast mode's softmax, normalisation and compound reductions of rows in plain C++, float32.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/software/kernels/reference.h"

namespace jax_ane::software {
namespace {

void SoftmaxRows(const Half* x, Half* out, int64_t rows, int64_t n, float* scratch) {
    for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
        float top = -std::numeric_limits<float>::infinity(), total = 0;
        for (int64_t i = 0; i < n; ++i) {
            scratch[i] = HalfToFloat(x[i]);
            top = std::max(top, scratch[i]);
        }
        for (int64_t i = 0; i < n; ++i) total += scratch[i] = std::exp(scratch[i] - top);
        for (int64_t i = 0; i < n; ++i) out[i] = FloatToHalf(scratch[i] / total);
    }
}

void NormRows(const NormArgs& g, const Half* x, Half* out, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
        float mean = 0, squares = 0;
        if (g.center) {
            for (int64_t i = 0; i < n; ++i) mean += HalfToFloat(x[i]);
            mean /= static_cast<float>(n);
        }
        for (int64_t i = 0; i < n; ++i) {
            const float d = HalfToFloat(x[i]) - mean;
            squares += d * d;
        }
        if (g.center) squares /= static_cast<float>(n);
        const float scale = 1 / std::sqrt(squares + g.epsilon);
        for (int64_t i = 0; i < n; ++i) {
            float y = (HalfToFloat(x[i]) - mean) * scale;
            if (g.gamma != nullptr) y *= HalfToFloat(g.gamma[i * g.affine_step]);
            if (g.beta != nullptr) y += HalfToFloat(g.beta[i * g.affine_step]);
            out[i] = FloatToHalf(y);
        }
    }
}

// What is added up for one element. `shift` is the row's maximum, or 0 when that is not finite.
template <FloatReduceOp kOp>
float Term(float v, [[maybe_unused]] float shift) {
    if constexpr (kOp == FloatReduceOp::kL1Norm) return std::fabs(v);
    if constexpr (kOp == FloatReduceOp::kL2Norm || kOp == FloatReduceOp::kSumSquare) return v * v;
    if constexpr (kOp == FloatReduceOp::kLogSumExp) return std::exp(v - shift);
    return v;
}

template <FloatReduceOp kOp>
void Reduce(const Half* x, int64_t rows, int64_t n, int64_t, Half* out) {
    for (int64_t r = 0; r < rows; ++r, x += n) {
        float shift = 0, sum = 0;
        if constexpr (kOp == FloatReduceOp::kLogSumExp) {
            shift = -std::numeric_limits<float>::infinity();
            for (int64_t i = 0; i < n; ++i) shift = std::max(shift, HalfToFloat(x[i]));
            if (!std::isfinite(shift)) shift = 0;
        }
        for (int64_t i = 0; i < n; ++i) sum += Term<kOp>(HalfToFloat(x[i]), shift);
        out[r] = FloatToHalf(FinishFloatReduce(kOp, sum, shift, n));
    }
}

}  // namespace

float FinishFloatReduce(FloatReduceOp op, float sum, float shift, int64_t n) {
    switch (op) {
        case FloatReduceOp::kMean:
            return sum / static_cast<float>(n);
        case FloatReduceOp::kL2Norm:
            return std::sqrt(sum);
        case FloatReduceOp::kLogSum:
        case FloatReduceOp::kLogSumExp:
            return std::log(sum) + shift;
        case FloatReduceOp::kL1Norm:
        case FloatReduceOp::kSumSquare:
            break;
    }
    return sum;
}

void FillReferenceRows(KernelTable& table) {
    table.softmax_rows = SoftmaxRows;
    table.norm_rows = NormRows;
    const ReduceRowsFn reduce[kFloatReduceOps] = {
        Reduce<FloatReduceOp::kMean>,   Reduce<FloatReduceOp::kL1Norm>,
        Reduce<FloatReduceOp::kL2Norm>, Reduce<FloatReduceOp::kSumSquare>,
        Reduce<FloatReduceOp::kLogSum>, Reduce<FloatReduceOp::kLogSumExp>};
    std::copy(reduce, reduce + kFloatReduceOps, table.float_reduce_rows);
}

}  // namespace jax_ane::software
