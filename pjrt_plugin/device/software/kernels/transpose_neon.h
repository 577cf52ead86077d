// SPDX-License-Identifier: Apache-2.0
// Transpose of 16-bit elements in blocks of 8 by 8, for the NEON kernels.
#pragma once

#include <arm_neon.h>

#include "device/software/kernels/transpose_blocks.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software {
namespace {

inline void TransposeBlock(const Half* x, int64_t x_stride, Half* out, int64_t out_stride) {
    uint16x8_t row[8];
    uint32x4_t pair[8];
    uint64x2_t quad[8];
    for (int i = 0; i < 8; ++i) row[i] = vld1q_u16(x + i * x_stride);
    // Rows 2i and 2i + 1: their even columns beside each other, then their odd ones.
    for (int i = 0; i < 8; i += 2) {
        pair[i] = vreinterpretq_u32_u16(vtrn1q_u16(row[i], row[i + 1]));
        pair[i + 1] = vreinterpretq_u32_u16(vtrn2q_u16(row[i], row[i + 1]));
    }
    // Columns 0 and 4, 1 and 5, 2 and 6, 3 and 7 of rows 0 to 3, then of rows 4 to 7.
    for (int i = 0; i < 8; i += 4) {
        for (int odd = 0; odd < 2; ++odd) {
            const uint32x4_t a = pair[i + odd], b = pair[i + 2 + odd];
            quad[i + odd] = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
            quad[i + 2 + odd] = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
        }
    }
    for (int j = 0; j < 4; ++j) {
        vst1q_u16(out + j * out_stride, vreinterpretq_u16_u64(vtrn1q_u64(quad[j], quad[4 + j])));
        vst1q_u16(out + (j + 4) * out_stride,
                  vreinterpretq_u16_u64(vtrn2q_u64(quad[j], quad[4 + j])));
    }
}

inline void TransposeHalves(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                            int64_t rows, int64_t columns) {
    TransposeByBlocks<TransposeBlock>(x, x_stride, out, out_stride, rows, columns);
}

}  // namespace
}  // namespace jax_ane::software
