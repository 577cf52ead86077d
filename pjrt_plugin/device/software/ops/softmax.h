// SPDX-License-Identifier: Apache-2.0
// Softmax of rows, for the operation and for attention.
#pragma once

#include "device/software/ops/op.h"

namespace jax_ane::software {

// Exact: the sequence of fp16 operations maximum, sub, exp, sum, real_div. Fast: in float32.
class SoftmaxRows {
  public:
    // Rows of n elements.
    SoftmaxRows(PlanContext& p, int64_t n);

    // out may be x; `slot` is the thread's.
    void Apply(const Run& run, const Half* x, Half* out, int64_t rows, int slot) const;

  private:
    void ExactRows(const Half* x, Half* out, int64_t rows) const;

    int64_t n_, long_row_;
    BinaryFn sub_, divide_;
    ReduceRowsFn maximum_, sum_;
    LookupFn lookup_;
    const Half* exp_ = nullptr;
    SoftmaxRowsFn fast_ = nullptr;
    Ref scratch_;           // fast only: a row of float32 for each thread,
    int64_t row_elements_;  // in whole vectors
};

}  // namespace jax_ane::software
