// SPDX-License-Identifier: Apache-2.0
// Brings the axes that an operation works along to the end, as contiguous rows, and back again.
#pragma once

#include <algorithm>
#include <optional>

#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {

// Rows of n elements that are worked on at once: the kernels sum several in parallel, and they stay
// in the cache.
inline constexpr int64_t kMostRows = 16;
inline int64_t RowsAtOnce(int64_t n) { return std::clamp<int64_t>(8192 / n, 1, kMostRows); }

// A tensor as [rows, length]. Where the axes are already last no copy is made.
class RowView {
  public:
    // `axes` sorted. Reserves scratch when a copy is needed.
    RowView(PlanContext& p, Ref x, const std::vector<int64_t>& dims,
            const std::vector<int64_t>& axes);

    int64_t rows() const { return rows_; }
    int64_t length() const { return length_; }
    bool copies() const { return in_.has_value(); }

    // The rows of the operand (copied into scratch if need be).
    const Half* Load(const Run& run) const;
    // Where rows of the same shape as the operand are written before Store brings them home.
    Half* Target(const Run& run, const Ref& out) const {
        return run.At<Half>(copies() ? scratch_ : out);
    }
    void Store(const Run& run, const Ref& out) const;

  private:
    const KernelTable* kernels_;
    ThreadPool* pool_;
    Ref x_, scratch_;
    int64_t rows_ = 1, length_ = 1;
    std::optional<StridedCopy> in_, out_;
};

}  // namespace jax_ane::software
