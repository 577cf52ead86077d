// SPDX-License-Identifier: Apache-2.0
// Transpose of 16-bit elements in blocks of 8 by 8, for the x86 kernels.
#pragma once

#include <immintrin.h>

#include "device/software/kernels/transpose_blocks.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software {
namespace {

inline void TransposeBlock(const Half* x, int64_t x_stride, Half* out, int64_t out_stride) {
    __m128i row[8], pair[8], quad[8];
    for (int i = 0; i < 8; ++i) {
        row[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i * x_stride));
    }
    for (int i = 0; i < 4; ++i) {
        pair[2 * i] = _mm_unpacklo_epi16(row[2 * i], row[2 * i + 1]);
        pair[2 * i + 1] = _mm_unpackhi_epi16(row[2 * i], row[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        quad[4 * i] = _mm_unpacklo_epi32(pair[4 * i], pair[4 * i + 2]);
        quad[4 * i + 1] = _mm_unpackhi_epi32(pair[4 * i], pair[4 * i + 2]);
        quad[4 * i + 2] = _mm_unpacklo_epi32(pair[4 * i + 1], pair[4 * i + 3]);
        quad[4 * i + 3] = _mm_unpackhi_epi32(pair[4 * i + 1], pair[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        auto* even = reinterpret_cast<__m128i*>(out + 2 * i * out_stride);
        auto* odd = reinterpret_cast<__m128i*>(out + (2 * i + 1) * out_stride);
        _mm_storeu_si128(even, _mm_unpacklo_epi64(quad[i], quad[4 + i]));
        _mm_storeu_si128(odd, _mm_unpackhi_epi64(quad[i], quad[4 + i]));
    }
}

inline void TransposeHalves(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                            int64_t rows, int64_t columns) {
    TransposeByBlocks<TransposeBlock>(x, x_stride, out, out_stride, rows, columns);
}

}  // namespace
}  // namespace jax_ane::software
