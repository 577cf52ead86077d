// SPDX-License-Identifier: Apache-2.0
// GEMM for AVX2 with FMA and F16C: 4 rows by 16 columns a register tile. Without mask registers a
// dropped product is ANDed away.
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include "device/software/kernels/gemm_blocked.h"
#include "device/software/kernels/transpose_sse.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

struct Avx2 {
    static constexpr int kLanes = 8;
    static constexpr int kVectors = 2;
    static constexpr int kRows = 4;
    static constexpr bool kMaskedAddsMagic = false;
    static constexpr int kPanel = kLanes * kVectors;

    using Float = __m256;
    using Sum = __m256i;
    struct Exponents {
        __m256i half[2];
    };
    using Keep = Exponents;

    static Float Load(const float* p) { return _mm256_load_ps(p); }
    static Float Broadcast(const float* p) { return _mm256_broadcast_ss(p); }
    static Sum LoadSum(const int32_t* p) {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    }
    static void StoreSum(int32_t* p, Sum s) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(p), s);
    }
    static Exponents LoadExponents(const int8_t* p) {
        const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(p));
        return {{_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))}};
    }
    static Keep Above(const Exponents& e, const int32_t* drop) {
        const __m256i limit = _mm256_srai_epi32(_mm256_set1_epi32(*drop), 24);
        return {{_mm256_cmpgt_epi32(e.half[0], limit), _mm256_cmpgt_epi32(e.half[1], limit)}};
    }

    static __m256i RoundSmall(__m256 a, __m256 b) {
        const __m256 magic = _mm256_set1_ps(blocked::kMagic);
        return _mm256_sub_epi32(_mm256_castps_si256(_mm256_fmadd_ps(a, b, magic)),
                                _mm256_castps_si256(magic));
    }

    // As in gemm_avx512.cc: small products by the magic number, large ones without the step away
    // from zero.
    static __m256i RoundLarge(__m256 a, __m256 b) {
        const __m256i nonzero =
            _mm256_castps_si256(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_OQ));
        const __m256 exact_a =
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), nonzero));
        const __m256 product = _mm256_mul_ps(exact_a, b);
        const __m256 magnitude =
            _mm256_and_ps(product, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
        const __m256 is_small = _mm256_cmp_ps(magnitude, _mm256_set1_ps(0x1p21f), _CMP_LT_OQ);
        return _mm256_blendv_epi8(_mm256_cvtps_epi32(product), RoundSmall(a, b),
                                  _mm256_castps_si256(is_small));
    }

    template <blocked::Inner kInner>
    static Sum Step(Sum sum, Float a, Float b, const Keep& keep, int v) {
        const __m256i rounded =
            kInner == blocked::Inner::kMasked ? RoundSmall(a, b) : RoundLarge(a, b);
        return _mm256_add_epi32(sum, _mm256_and_si256(rounded, keep.half[v]));
    }

    static Sum UnmaskedStep(Sum sum, Float a, Float b) {
        const __m256 q = _mm256_fmadd_ps(a, b, _mm256_set1_ps(blocked::kMagic));
        return _mm256_add_epi32(sum, _mm256_castps_si256(q));
    }

    static Sum FastStep(Sum sum, Float a, Float b) {
        return _mm256_castps_si256(_mm256_fmadd_ps(a, b, _mm256_castsi256_ps(sum)));
    }

    // ---- Packing

    static __m256 Decode(__m128i halves) {
        const __m256i bits = _mm256_cvtepu16_epi32(halves);
        const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFF));
        const __m256i sign =
            _mm256_slli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x8000)), 16);
        const __m256i normal =
            _mm256_add_epi32(_mm256_slli_epi32(magnitude, 13), _mm256_set1_epi32(112 << 23));
        const __m256i subnormal = _mm256_castps_si256(
            _mm256_mul_ps(_mm256_cvtepi32_ps(magnitude), _mm256_set1_ps(0x1p-24f)));
        const __m256i is_normal =
            _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x3FF));
        return _mm256_castsi256_ps(
            _mm256_or_si256(_mm256_blendv_epi8(subnormal, normal, is_normal), sign));
    }

    static __m256i Exponent(__m128i halves) {
        const __m256i field = _mm256_and_si256(
            _mm256_srli_epi32(_mm256_cvtepu16_epi32(halves), 10), _mm256_set1_epi32(31));
        return _mm256_sub_epi32(_mm256_max_epi32(field, _mm256_set1_epi32(1)),
                                _mm256_set1_epi32(15));
    }

    // What a block holds, vector-wise. Zeros do not count: their products are zero anyway.
    struct RangeVectors {
        __m256i min_exponent = _mm256_set1_epi32(99);
        __m256 max_magnitude = _mm256_setzero_ps();
        __m256 square = _mm256_setzero_ps();

        void Add(__m256 value, __m256i exponent) {
            const __m256i nonzero =
                _mm256_castps_si256(_mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_NEQ_OQ));
            const __m256i counted =
                _mm256_blendv_epi8(_mm256_set1_epi32(99), exponent, nonzero);
            min_exponent = _mm256_min_epi32(min_exponent, counted);
            max_magnitude = _mm256_max_ps(
                max_magnitude,
                _mm256_and_ps(value, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF))));
            square = _mm256_fmadd_ps(value, value, square);
        }
        void Finish(blocked::Range& range, float& square_sum) const {
            alignas(32) int32_t exponents[8];
            alignas(32) float magnitudes[8];
            alignas(32) float squares[8];
            _mm256_store_si256(reinterpret_cast<__m256i*>(exponents), min_exponent);
            _mm256_store_ps(magnitudes, max_magnitude);
            _mm256_store_ps(squares, square);
            for (int i = 0; i < 8; ++i) {
                range.min_exponent = std::min(range.min_exponent, exponents[i]);
                range.max_magnitude = std::max(range.max_magnitude, magnitudes[i]);
                square_sum += squares[i];
            }
        }
    };

    static __m128i LoadHalves(const Half* source, int64_t count) {
        if (count >= 8) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
        alignas(16) Half buffer[8] = {};
        std::memcpy(buffer, source, static_cast<size_t>(count) * sizeof(Half));
        return _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
    }

    template <bool kExact>
    static void DecodeRow(const Half* source, int64_t count, float* values, int32_t* drop,
                          blocked::Range& range, float& square) {
        RangeVectors seen;
        for (int64_t k = 0; k < count; k += 8) {
            const __m128i halves = LoadHalves(source + k, count - k);
            if constexpr (!kExact) {
                _mm256_store_ps(values + k, _mm256_cvtph_ps(halves));
                continue;
            }
            const __m256 value = Decode(halves);
            const __m256i exponent = Exponent(halves);
            seen.Add(value, exponent);
            const __m256i scaled =
                _mm256_castps_si256(_mm256_mul_ps(value, _mm256_set1_ps(65536.0f)));
            const __m256i nonzero =
                _mm256_castps_si256(_mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_NEQ_OQ));
            _mm256_store_si256(reinterpret_cast<__m256i*>(values + k),
                               _mm256_sub_epi32(scaled, nonzero));
            const __m256i byte =
                _mm256_and_si256(_mm256_sub_epi32(_mm256_set1_epi32(kMacDropExponent), exponent),
                                 _mm256_set1_epi32(0xFF));
            _mm256_store_si256(reinterpret_cast<__m256i*>(drop + k),
                               _mm256_mullo_epi32(byte, _mm256_set1_epi32(0x01010101)));
        }
        if constexpr (kExact) seen.Finish(range, square);
    }

    static void StoreExponents(__m256i exponent, int8_t* out, int64_t stride, int64_t count) {
        alignas(32) int32_t values[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(values), exponent);
        for (int64_t i = 0; i < count; ++i) out[i * stride] = static_cast<int8_t>(values[i]);
    }

    template <bool kExact>
    static void DecodePanelRow(const Half* source, int64_t columns, float* values,
                               int8_t* exponents, blocked::Range& range, float* square) {
        RangeVectors seen;
        for (int64_t j = 0; j < kPanel; j += kLanes) {
            const __m128i halves =
                columns > j ? LoadHalves(source + j, columns - j) : _mm_setzero_si128();
            if constexpr (!kExact) {
                _mm256_store_ps(values + j, _mm256_cvtph_ps(halves));
                continue;
            }
            const __m256 value = Decode(halves);
            const __m256i exponent = Exponent(halves);
            seen.Add(value, exponent);
            _mm256_store_ps(values + j, value);
            StoreExponents(exponent, exponents + j, 1, kLanes);
            _mm256_store_ps(square + j,
                            _mm256_fmadd_ps(value, value, _mm256_load_ps(square + j)));
        }
        float unused = 0;
        if constexpr (kExact) seen.Finish(range, unused);
    }

    static void Transpose(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                          int64_t rows, int64_t columns) {
        TransposeHalves(x, x_stride, out, out_stride, rows, columns);
    }

    // ---- Output: see RoundEight in gemm_avx512.cc.

    static __m128i RoundFour(__m128i sums) {
        const __m256i bits = _mm256_castpd_si256(_mm256_cvtepi32_pd(sums));
        const __m256i rounded =
            _mm256_and_si256(_mm256_add_epi64(bits, _mm256_set1_epi64x(int64_t{1} << 41)),
                             _mm256_set1_epi64x(~((int64_t{1} << 42) - 1)));
        const __m128 value =
            _mm_mul_ps(_mm256_cvtpd_ps(_mm256_castsi256_pd(rounded)), _mm_set1_ps(0x1p-16f));
        return _mm_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
    }

    static void RoundRow(const int32_t* sums, int64_t count, Half* out) {
        int64_t j = 0;
        for (; j + 4 <= count; j += 4) {
            const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + j));
            _mm_storel_epi64(reinterpret_cast<__m128i*>(out + j), RoundFour(four));
        }
        for (; j < count; ++j) out[j] = MacRoundToHalf(sums[j]);
    }

    static void NarrowRow(const float* sums, int64_t count, Half* out) {
        int64_t j = 0;
        for (; j + 8 <= count; j += 8) {
            _mm_storeu_si128(
                reinterpret_cast<__m128i*>(out + j),
                _mm256_cvtps_ph(_mm256_loadu_ps(sums + j), _MM_FROUND_TO_NEAREST_INT));
        }
        for (; j < count; ++j) out[j] = FloatToHalf(sums[j]);
    }
};

}  // namespace

void FillAvx2Gemm(KernelTable& table) { blocked::Fill<Avx2>(table); }

}  // namespace jax_ane::software

#endif
