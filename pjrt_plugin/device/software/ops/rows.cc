// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/rows.h"

#include <algorithm>

namespace jax_ane::software {

RowView::RowView(PlanContext& p, Ref x, const std::vector<int64_t>& dims,
                 const std::vector<int64_t>& axes)
    : kernels_(&p.kernels()), pool_(p.pool()), x_(x) {
    std::vector<int64_t> order;
    for (size_t i = 0; i < dims.size(); ++i) {
        if (!std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i))) {
            order.push_back(static_cast<int64_t>(i));
            rows_ *= dims[i];
        } else {
            length_ *= dims[i];
        }
    }
    order.insert(order.end(), axes.begin(), axes.end());
    // Axes of one element do not care where they are.
    int64_t last = -1;
    bool sorted = true;
    for (int64_t axis : order) {
        if (dims[static_cast<size_t>(axis)] == 1) continue;
        sorted = sorted && axis > last;
        last = axis;
    }
    if (sorted) return;
    const std::vector<int64_t> strides = DenseStrides(dims);
    std::vector<int64_t> walk, home;
    for (int64_t axis : order) {
        walk.push_back(dims[static_cast<size_t>(axis)]);
        home.push_back(strides[static_cast<size_t>(axis)]);
    }
    const std::vector<int64_t> rows = DenseStrides(walk);
    in_.emplace(2, walk, home, rows);
    // The way back walks in the order of the target, so that it too can go by blocks.
    std::vector<int64_t> back(dims.size());
    for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = rows[i];
    out_.emplace(2, dims, back, strides);
    scratch_ = p.Scratch(static_cast<size_t>(rows_ * length_) * sizeof(Half));
}

const Half* RowView::Load(const Run& run) const {
    if (!copies()) return run.At<Half>(x_);
    in_->Run(*kernels_, pool_, run.At<uint8_t>(x_), run.At<uint8_t>(scratch_));
    return run.At<Half>(scratch_);
}

void RowView::Store(const Run& run, const Ref& out) const {
    if (copies()) out_->Run(*kernels_, pool_, run.At<uint8_t>(scratch_), run.At<uint8_t>(out));
}

}  // namespace jax_ane::software
