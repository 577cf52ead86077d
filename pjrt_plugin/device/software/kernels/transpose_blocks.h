// SPDX-License-Identifier: Apache-2.0
// Transpose of 16-bit elements by blocks of 8 by 8, which an instruction set supplies.
#pragma once

#include <algorithm>

#include "util/half.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software {
namespace {

// out[j * out_stride + i] = x[i * x_stride + j] for i < rows, j < columns.
template <void (*kBlock)(const Half*, int64_t, Half*, int64_t)>
inline void TransposeByBlocks(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                              int64_t rows, int64_t columns) {
    const int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
    constexpr int64_t kStep = 64;  // columns at a time, so that the rows written stay in L1
    for (int64_t j0 = 0; j0 < whole_columns; j0 += kStep) {
        const int64_t j1 = std::min(whole_columns, j0 + kStep);
        for (int64_t i = 0; i < whole_rows; i += 8) {
            for (int64_t j = j0; j < j1; j += 8) {
                kBlock(x + i * x_stride + j, x_stride, out + j * out_stride + i, out_stride);
            }
        }
    }
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t first = i < whole_rows ? whole_columns : 0;
        for (int64_t j = first; j < columns; ++j) out[j * out_stride + i] = x[i * x_stride + j];
    }
}

}  // namespace
}  // namespace jax_ane::software
