// SPDX-License-Identifier: Apache-2.0
// The blocked transpose in plain C++.
#include <algorithm>

#include "device/software/kernels/reference.h"

namespace jax_ane::software {
namespace {

void Transpose16(const Half* x, int64_t x_stride, Half* out, int64_t out_stride, int64_t rows,
                 int64_t columns) {
    constexpr int64_t kBlock = 32;  // 32 x 64 bytes both ways stays in L1
    for (int64_t i0 = 0; i0 < rows; i0 += kBlock) {
        const int64_t i1 = std::min(rows, i0 + kBlock);
        for (int64_t j0 = 0; j0 < columns; j0 += kBlock) {
            const int64_t j1 = std::min(columns, j0 + kBlock);
            for (int64_t j = j0; j < j1; ++j) {
                for (int64_t i = i0; i < i1; ++i) out[j * out_stride + i] = x[i * x_stride + j];
            }
        }
    }
}

}  // namespace

void FillReferenceMovement(KernelTable& table) { table.transpose16 = Transpose16; }

}  // namespace jax_ane::software
