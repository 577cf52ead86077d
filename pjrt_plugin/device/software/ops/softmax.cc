// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/softmax.h"

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

void SoftmaxRows::ExactRow(const Half* x, Half* out) const {
    Half top, total;
    maximum_(x, 1, n_, long_row_, &top);
    sub_(x, 1, &top, 0, out, n_);
    lookup_(exp_, out, out, n_);
    sum_(out, 1, n_, long_row_, &total);
    divide_(out, 1, &total, 0, out, n_);
}

void SoftmaxRows::Apply(const Run& run, const Half* x, Half* out, int64_t rows, int slot) const {
    if (fast_ != nullptr) {
        fast_(x, out, rows, n_, run.At<float>(scratch_) + slot * row_elements_);
        return;
    }
    for (int64_t r = 0; r < rows; ++r) ExactRow(x + r * n_, out + r * n_);
}

}  // namespace jax_ane::software
