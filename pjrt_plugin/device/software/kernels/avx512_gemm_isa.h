// SPDX-License-Identifier: Apache-2.0
// The AVX-512 (F, BW, VL, DQ) instruction set as gemm_blocked.h wants it: 6 rows by 64 columns a
// register tile, and the byte compare of the exact rule covers a whole panel of 64 columns at once.
#pragma once

#include <immintrin.h>

#include "device/software/kernels/gemm_entry.h"
#include "device/software/kernels/transpose_sse.h"

namespace jax_ane::software {
namespace {

struct Avx512Narrow;

struct Avx512 {
    // Zen 4 widens 16 halves in four cycles and 8 in little more than one.
    using Narrow = Avx512Narrow;
    static bool PrefersNarrow() { return __builtin_cpu_is("amd"); }

    static constexpr int kLanes = 16;
    static constexpr int kVectors = 4;
    static constexpr int kRows = 6;
    static constexpr bool kMaskedAddsMagic = true;
    static constexpr int kDirectAccumulators = 24;  // of the direct form, in vectors
    static constexpr int kDirectPasses = 3;

    using Float = __m512;
    using Sum = __m512i;
    using Exponents = __m512i;
    using Keep = __mmask64;

    static Float Load(const float* p) { return _mm512_load_ps(p); }
    static Float Broadcast(const float* p) { return _mm512_set1_ps(*p); }
    static Sum LoadSum(const int32_t* p) { return _mm512_load_si512(p); }
    static void StoreSum(int32_t* p, Sum s) { _mm512_store_si512(p, s); }
    static Sum ZeroSum() { return _mm512_setzero_si512(); }
    static Float AddF(Float a, Float b) { return _mm512_add_ps(a, b); }
    static Float SubF(Float a, Float b) { return _mm512_sub_ps(a, b); }
    static Float LoadUnaligned(const float* p) { return _mm512_loadu_ps(p); }
    static Float WidenUnaligned(const Half* p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static void NarrowUnaligned(Float f, Half* p) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                            _mm512_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT));
    }
    static Float Widen(const Half* p) {
        return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static void Prefetch(const Half* p) { _mm_prefetch(p, _MM_HINT_T0); }
    static Exponents LoadExponents(const int8_t* p) { return _mm512_load_si512(p); }
    static Keep Above(Exponents e, const int32_t* drop) {
        return _mm512_cmpgt_epi8_mask(e, _mm512_set1_epi32(*drop));
    }

    template <blocked::Inner kInner>
    static Sum Step(Sum sum, Float a, Float b, Keep keep, int v) {
        const auto lanes = static_cast<__mmask16>(keep >> (16 * v));
        if constexpr (kInner == blocked::Inner::kMasked) {
            // Masked-off lanes keep the magic number, which adds 0.
            const __m512 q = _mm512_mask3_fmadd_ps(a, b, _mm512_set1_ps(blocked::kMagic), lanes);
            return _mm512_add_epi32(sum, _mm512_castps_si512(q));
        } else {
            return _mm512_mask_add_epi32(sum, lanes, sum, RoundLarge(a, b));
        }
    }

    static Sum UnmaskedStep(Sum sum, Float a, Float b) {
        const __m512 q = _mm512_fmadd_ps(a, b, _mm512_set1_ps(blocked::kMagic));
        return _mm512_add_epi32(sum, _mm512_castps_si512(q));
    }

    static Sum ThresholdStep(Sum sum, Float a, Float b, Float threshold) {
        const __mmask16 keep = _mm512_cmp_ps_mask(_mm512_abs_ps(b), threshold, _CMP_GE_OQ);
        const __m512 q = _mm512_mask3_fmadd_ps(a, b, _mm512_set1_ps(blocked::kMagic), keep);
        return _mm512_add_epi32(sum, _mm512_castps_si512(q));
    }

    static Sum FastStep(Sum sum, Float a, Float b) {
        return _mm512_castps_si512(_mm512_fmadd_ps(a, b, _mm512_castsi512_ps(sum)));
    }

    // A product of any size in units of 2^-16. Small ones by the magic number, large ones are whole
    // already; beyond int32 the result does not matter, for the scalar check takes over.
    static __m512i RoundLarge(__m512 a, __m512 b) {
        const __m512 magic = _mm512_set1_ps(blocked::kMagic);
        // A large product must not see the step away from zero, which is worth whole units there.
        const __mmask16 nonzero = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_OQ);
        const __m512i bits = _mm512_castps_si512(a);
        const __m512 exact_a =
            _mm512_castsi512_ps(_mm512_mask_sub_epi32(bits, nonzero, bits, _mm512_set1_epi32(1)));
        const __m512 product = _mm512_mul_ps(exact_a, b);
        const __m512i small = _mm512_sub_epi32(_mm512_castps_si512(_mm512_fmadd_ps(a, b, magic)),
                                               _mm512_castps_si512(magic));
        const __m512i large = _mm512_cvtps_epi32(product);
        const __mmask16 is_small =
            _mm512_cmp_ps_mask(_mm512_abs_ps(product), _mm512_set1_ps(0x1p21f), _CMP_LT_OQ);
        return _mm512_mask_mov_epi32(large, is_small, small);
    }

    // ---- Packing

    // Exact also for exponent field 31, which the unit reads as an ordinary number.
    static __m512 Decode(__m256i halves) {
        const __m512 value = _mm512_cvtph_ps(halves);
        const __m256i exponent = _mm256_set1_epi16(0x7C00);
        const __mmask16 special =
            _mm256_cmpeq_epi16_mask(_mm256_and_si256(halves, exponent), exponent);
        if (special == 0) [[likely]]
            return value;
        const __m512i bits = _mm512_cvtepu16_epi32(halves);
        const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFF));
        const __m512i sign =
            _mm512_slli_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0x8000)), 16);
        const __m512i number =
            _mm512_add_epi32(_mm512_slli_epi32(magnitude, 13), _mm512_set1_epi32(112 << 23));
        return _mm512_mask_mov_ps(value, special,
                                  _mm512_castsi512_ps(_mm512_or_si512(number, sign)));
    }

    // The exponent field, 1 for subnormals.
    static __m256i Field(__m256i halves) {
        const __m256i field =
            _mm256_and_si256(_mm256_srli_epi16(halves, 10), _mm256_set1_epi16(31));
        return _mm256_max_epu16(field, _mm256_set1_epi16(1));
    }

    // What a block holds, in 16-bit lanes.
    struct RangeVectors {
        __m256i min_field = _mm256_set1_epi16(64);
        __m256i max_bits = _mm256_setzero_si256();

        void Add(__m256i halves, __m256i field) {
            const __m256i bits = _mm256_and_si256(halves, _mm256_set1_epi16(0x7FFF));
            const __mmask16 nonzero = _mm256_test_epi16_mask(bits, bits);
            min_field = _mm256_mask_min_epu16(min_field, nonzero, min_field, field);
            max_bits = _mm256_max_epu16(max_bits, bits);
        }
        void Finish(blocked::Range& range) const {
            alignas(32) uint16_t fields[16];
            alignas(32) uint16_t bits[16];
            _mm256_store_si256(reinterpret_cast<__m256i*>(fields), min_field);
            _mm256_store_si256(reinterpret_cast<__m256i*>(bits), max_bits);
            for (int i = 0; i < 16; ++i) {
                range.min_field = std::min<int32_t>(range.min_field, fields[i]);
                range.max_bits = std::max<int32_t>(range.max_bits, bits[i]);
            }
        }
    };

    static __m256i LoadHalves(const Half* source, int64_t count) {
        const auto lanes = static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1 << count) - 1);
        return _mm256_maskz_loadu_epi16(lanes, source);
    }

    // One row of A: `count` neighbouring values.
    template <bool kExact>
    static void DecodeRow(const Half* source, int64_t count, float* values, int32_t* drop,
                          blocked::Range& range) {
        RangeVectors seen;
        for (int64_t k = 0; k < count; k += 16) {
            const __m256i halves = LoadHalves(source + k, count - k);
            if constexpr (!kExact) {
                _mm512_store_ps(values + k, _mm512_cvtph_ps(halves));
                continue;
            }
            const __m256i field = Field(halves);
            seen.Add(halves, field);
            const __m512i scaled =
                _mm512_castps_si512(_mm512_mul_ps(Decode(halves), _mm512_set1_ps(65536.0f)));
            const __mmask16 nonzero = _mm256_test_epi16_mask(halves, _mm256_set1_epi16(0x7FFF));
            _mm512_store_si512(
                values + k, _mm512_mask_add_epi32(scaled, nonzero, scaled, _mm512_set1_epi32(1)));
            // The byte -17 - e(a) four times: e is the field less 15.
            const __m512i byte = _mm512_cvtepu16_epi32(
                _mm256_sub_epi16(_mm256_set1_epi16(kMacDropExponent + 15), field));
            const __m512i spread = _mm512_set4_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0);
            _mm512_store_si512(drop + k, _mm512_shuffle_epi8(byte, spread));
        }
        if constexpr (kExact) seen.Finish(range);
    }

    // What PackB gathers over a whole panel.
    using PanelRange = RangeVectors;

    // One k of a panel of B: `columns` neighbouring values, zero beyond.
    template <bool kExact>
    static void DecodePanelRow(const Half* source, int64_t columns, float* values,
                               int8_t* exponents, PanelRange& seen) {
        for (int64_t j = 0; j < 64 && j < columns; j += 16) {
            const __m256i halves = LoadHalves(source + j, columns - j);
            if constexpr (!kExact) {
                _mm512_store_ps(values + j, _mm512_cvtph_ps(halves));
                continue;
            }
            const __m256i field = Field(halves);
            seen.Add(halves, field);
            _mm512_store_ps(values + j, Decode(halves));
            _mm_store_si128(reinterpret_cast<__m128i*>(exponents + j),
                            _mm256_cvtepi16_epi8(_mm256_sub_epi16(field, _mm256_set1_epi16(15))));
        }
    }

    static void Transpose(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                          int64_t rows, int64_t columns) {
        TransposeHalves(x, x_stride, out, out_stride, rows, columns);
    }

    // ---- Output

    // Sums in units of 2^-16 to fp16, ties away from zero. A double holds a sum exactly; half a
    // unit of fp16's last place is added and the rest cut off. Sums are multiples of 2^-16, so
    // subnormal results need no rounding.
    static __m128i RoundEight(__m256i sums) {
        const __m512i bits = _mm512_castpd_si512(_mm512_cvtepi32_pd(sums));
        const __m512i rounded =
            _mm512_and_si512(_mm512_add_epi64(bits, _mm512_set1_epi64(int64_t{1} << 41)),
                             _mm512_set1_epi64(~((int64_t{1} << 42) - 1)));
        const __m256 value =
            _mm256_mul_ps(_mm512_cvtpd_ps(_mm512_castsi512_pd(rounded)), _mm256_set1_ps(0x1p-16f));
        return _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
    }

    static void RoundRow(const int32_t* sums, int64_t count, Half* out) {
        int64_t j = 0;
        for (; j + 8 <= count; j += 8) {
            const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + j));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + j), RoundEight(eight));
        }
        for (; j < count; ++j) out[j] = MacRoundToHalf(sums[j]);
    }

    static void NarrowRow(const float* sums, int64_t count, Half* out) {
        for (int64_t j = 0; j < count; j += 16) {
            const auto lanes =
                static_cast<__mmask16>(count - j >= 16 ? 0xFFFF : (1 << (count - j)) - 1);
            const __m256i halves =
                _mm512_cvtps_ph(_mm512_maskz_loadu_ps(lanes, sums + j), _MM_FROUND_TO_NEAREST_INT);
            _mm256_mask_storeu_epi16(out + j, lanes, halves);
        }
    }
};

// The direct form on 256-bit vectors, of which there are 32.
struct Avx512Narrow : Avx512 {
    static constexpr int kLanes = 8;

    using Float = __m256;
    using Sum = __m256i;

    static Sum ZeroSum() { return _mm256_setzero_si256(); }
    static void StoreSum(int32_t* p, Sum s) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(p), s);
    }
    static Float Broadcast(const float* p) { return _mm256_broadcast_ss(p); }
    static Float Widen(const Half* p) {
        return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static Sum ThresholdStep(Sum sum, Float a, Float b, Float threshold) {
        const __m256 magnitude =
            _mm256_and_ps(b, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
        const __mmask8 keep = _mm256_cmp_ps_mask(magnitude, threshold, _CMP_GE_OQ);
        const __m256 q = _mm256_mask3_fmadd_ps(a, b, _mm256_set1_ps(blocked::kMagic), keep);
        return _mm256_add_epi32(sum, _mm256_castps_si256(q));
    }
    static Sum UnmaskedStep(Sum sum, Float a, Float b) {
        const __m256 q = _mm256_fmadd_ps(a, b, _mm256_set1_ps(blocked::kMagic));
        return _mm256_add_epi32(sum, _mm256_castps_si256(q));
    }
    static Sum FastStep(Sum sum, Float a, Float b) {
        return _mm256_castps_si256(_mm256_fmadd_ps(a, b, _mm256_castsi256_ps(sum)));
    }
};

}  // namespace
}  // namespace jax_ane::software
