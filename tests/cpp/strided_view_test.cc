// SPDX-License-Identifier: Apache-2.0
#include "device/software/strided_view.h"

#include <doctest/doctest.h>

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

StridedView Strides(Dims strides, int64_t offset = 0) { return {std::move(strides), offset, {}}; }

TEST_CASE("reshape of dense memory is dense") {
    const auto view = Reshape(DenseView({2, 3, 4}), {2, 3, 4}, {6, 1, 2, 2});
    REQUIRE(view.has_value());
    CHECK(IsDense(*view, {6, 1, 2, 2}));
}

TEST_CASE("reshape splits an axis of a transposed view") {
    // [4, 6] seen as its transpose [6, 4], then [2, 3, 4].
    const auto view = Reshape(Strides({1, 6}, 5), {6, 4}, {2, 3, 4});
    REQUIRE(view.has_value());
    CHECK(view->strides == Dims{3, 1, 6});
    CHECK(view->offset == 5);
    CHECK_FALSE(IsDense(*view, {2, 3, 4}));
}

TEST_CASE("reshape does not merge axes that are not neighbours in memory") {
    CHECK_FALSE(Reshape(Strides({1, 6}), {6, 4}, {24}).has_value());
    CHECK_FALSE(Reshape(Strides({32, 1}), {3, 20}, {60}).has_value());
    CHECK(Reshape(Strides({32, 1}), {3, 20}, {3, 4, 5}).has_value());
}

TEST_CASE("axes of one element are free") {
    CHECK(IsDense(Strides({99, 1}), {1, 8}));
    const auto view = Reshape(Strides({99, 7, 1}), {1, 4, 3}, {4, 3, 1, 1});
    REQUIRE(view.has_value());
    CHECK(view->strides[0] == 7);
    CHECK(view->strides[1] == 1);
}

TEST_CASE("gathered rows keep their length and say where they begin") {
    auto rows = std::make_shared<GatheredRows>();
    rows->row_dims = {2, 2};
    rows->row_strides = {100, 10};
    rows->taps = {0, 3, 50};
    rows->tap_length = 4;
    CHECK(rows->rows() == 4);
    CHECK(rows->length() == 12);
    CHECK(rows->RowOffsets() == Dims{0, 10, 100, 110});
    const StridedView view{{}, 0, rows};
    CHECK(Reshape(view, {2, 2, 12}, {1, 4, 12}).has_value());
    CHECK_FALSE(Reshape(view, {2, 2, 12}, {4, 3, 4}).has_value());
}

}  // namespace
}  // namespace jax_ane::software
