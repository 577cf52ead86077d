// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/softmax.h"

#include <algorithm>

#include "device/software/ops/rows.h"
#include "device/software/unary.h"

namespace jax_ane::software {

SoftmaxRows::SoftmaxRows(PlanContext& p, int64_t n)
    : n_(n), long_row_(p.chip().long_reduction), row_elements_((n + 15) / 16 * 16) {
    const KernelTable& k = p.kernels();
    sub_ = k.binary[p.mode_index()][static_cast<int>(BinaryOp::kSub)];
    divide_ = k.binary[p.mode_index()][static_cast<int>(BinaryOp::kDiv)];
    maximum_ = k.reduce_rows[p.mode_index()][static_cast<int>(ReduceOp::kMax)];
    sum_ = k.reduce_rows[p.mode_index()][static_cast<int>(ReduceOp::kSum)];
    lookup_ = k.lookup;
    if (p.mode() == NumericsMode::kFast) {
        fast_ = k.softmax_rows;
        scratch_ = p.Scratch(static_cast<size_t>(row_elements_ * p.threads()) * sizeof(float));
        return;
    }
    auto table = GetUnaryTable("exp", p.mode(), {});
    exp_ = table->data();
    p.Keep(std::move(table));
}

void SoftmaxRows::ExactRows(const Half* x, Half* out, int64_t rows) const {
    Half top[kMostRows], total[kMostRows];
    maximum_(x, rows, n_, long_row_, top);
    for (int64_t r = 0; r < rows; ++r) sub_(x + r * n_, 1, top + r, 0, out + r * n_, n_);
    lookup_(exp_, out, out, rows * n_);
    sum_(out, rows, n_, long_row_, total);
    for (int64_t r = 0; r < rows; ++r) divide_(out + r * n_, 1, total + r, 0, out + r * n_, n_);
}

void SoftmaxRows::Apply(const Run& run, const Half* x, Half* out, int64_t rows, int slot) const {
    if (fast_ != nullptr) {
        fast_(x, out, rows, n_, run.At<float>(scratch_) + slot * row_elements_);
        return;
    }
    const int64_t step = RowsAtOnce(n_);
    for (int64_t r = 0; r < rows; r += step) {
        ExactRows(x + r * n_, out + r * n_, std::min(step, rows - r));
    }
}

}  // namespace jax_ane::software
