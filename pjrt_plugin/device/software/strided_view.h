// SPDX-License-Identifier: Apache-2.0
// How the elements of a value lie in memory: strides, or rows that are gathered from several
// places.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace jax_ane::software {

// Rows made of `taps` equally long pieces of neighbouring elements: the rows of a concatenation of
// slices, such as a convolution's gathered windows. Row r begins where its index in `row_dims`
// says; piece t of it at taps[t] from there.
struct GatheredRows {
    std::vector<int64_t> row_dims, row_strides;  // elements
    std::vector<int64_t> taps;                   // elements
    int64_t tap_length = 0;

    int64_t length() const { return static_cast<int64_t>(taps.size()) * tap_length; }
    int64_t rows() const;
    // Where each row begins.
    std::vector<int64_t> RowOffsets() const;
};

// Strides of each axis and the first element's place, in elements. With `rows` set, the value is
// those rows one after another, and `strides` is empty.
struct StridedView {
    std::vector<int64_t> strides;
    int64_t offset = 0;
    std::shared_ptr<const GatheredRows> rows;
};

// Row-major, from the first element on.
StridedView DenseView(const std::vector<int64_t>& dims);

// Whether the elements lie row-major without gaps; axes of one element do not count.
bool IsDense(const StridedView& view, const std::vector<int64_t>& dims);

// The view under another shape of as many elements, or nothing if no strides can say it.
std::optional<StridedView> Reshape(const StridedView& view, const std::vector<int64_t>& from,
                                   const std::vector<int64_t>& to);

}  // namespace jax_ane::software
