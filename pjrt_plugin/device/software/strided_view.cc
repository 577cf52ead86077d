// SPDX-License-Identifier: Apache-2.0
#include "device/software/strided_view.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace jax_ane::software {

int64_t GatheredRows::rows() const {
    return std::accumulate(row_dims.begin(), row_dims.end(), int64_t{1}, std::multiplies<>());
}

std::vector<int64_t> GatheredRows::RowOffsets() const {
    std::vector<int64_t> offsets{0};
    for (size_t axis = 0; axis < row_dims.size(); ++axis) {
        std::vector<int64_t> next;
        next.reserve(offsets.size() * static_cast<size_t>(row_dims[axis]));
        for (int64_t base : offsets) {
            for (int64_t i = 0; i < row_dims[axis]; ++i) {
                next.push_back(base + i * row_strides[axis]);
            }
        }
        offsets = std::move(next);
    }
    return offsets;
}

StridedView DenseView(const std::vector<int64_t>& dims) {
    StridedView view;
    view.strides.assign(dims.size(), 1);
    for (size_t i = dims.size(); i-- > 1;) view.strides[i - 1] = view.strides[i] * dims[i];
    return view;
}

bool IsDense(const StridedView& view, const std::vector<int64_t>& dims) {
    if (view.rows != nullptr) return false;
    int64_t expected = 1;
    for (size_t i = dims.size(); i-- > 0;) {
        if (dims[i] != 1 && view.strides[i] != expected) return false;
        expected *= dims[i];
    }
    return true;
}

namespace {

std::optional<StridedView> ReshapeRows(const StridedView& view, const std::vector<int64_t>& to) {
    if (to.empty() || to.back() != view.rows->length()) return std::nullopt;
    return view;
}

}  // namespace

std::optional<StridedView> Reshape(const StridedView& view, const std::vector<int64_t>& from,
                                   const std::vector<int64_t>& to) {
    if (view.rows != nullptr) return ReshapeRows(view, to);
    // Axes of one element may lie anywhere.
    std::vector<int64_t> dims, strides;
    for (size_t i = 0; i < from.size(); ++i) {
        if (from[i] == 1) continue;
        dims.push_back(from[i]);
        strides.push_back(view.strides[i]);
    }
    StridedView result{std::vector<int64_t>(to.size(), 0), view.offset, nullptr};
    size_t in = 0, out = 0;
    while (out < to.size()) {
        if (to[out] == 1) {
            ++out;
            continue;
        }
        // The smallest groups of axes on either side with equally many elements.
        const size_t first_in = in, first_out = out;
        int64_t a = dims[in++], b = to[out++];
        while (a != b) {
            if (a < b) {
                a *= dims[in++];
            } else {
                b *= to[out++];
            }
        }
        for (size_t i = first_in; i + 1 < in; ++i) {
            if (strides[i] != strides[i + 1] * dims[i + 1]) return std::nullopt;
        }
        int64_t stride = strides[in - 1];
        for (size_t i = out; i-- > first_out;) {
            result.strides[i] = stride;
            stride *= to[i];
        }
    }
    return result;
}

}  // namespace jax_ane::software
