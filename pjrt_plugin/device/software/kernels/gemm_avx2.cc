// SPDX-License-Identifier: Apache-2.0
// GEMM for AVX2 with FMA and F16C: 4 rows by 16 columns a register tile. Without mask registers a
// dropped product is ANDed away.
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include "device/software/kernels/gemm_entry.h"
#include "device/software/kernels/transpose_sse.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

struct Avx2 {
    static constexpr int kLanes = 8;
    static constexpr int kVectors = 2;
    static constexpr int kRows = 4;
    static constexpr bool kMaskedAddsMagic = false;
    static constexpr int kDirectAccumulators = 12;  // of the direct form, in vectors
    static constexpr int kDirectPasses = 2;
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
    static Sum ZeroSum() { return _mm256_setzero_si256(); }
    static Float AddF(Float a, Float b) { return _mm256_add_ps(a, b); }
    static Float SubF(Float a, Float b) { return _mm256_sub_ps(a, b); }
    static Float LoadUnaligned(const float* p) { return _mm256_loadu_ps(p); }
    static Float WidenUnaligned(const Half* p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static void NarrowUnaligned(Float f, Half* p) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                         _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT));
    }
    static Float Widen(const Half* p) {
        return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static void Prefetch(const Half* p) { _mm_prefetch(p, _MM_HINT_T0); }
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

    static Sum ThresholdStep(Sum sum, Float a, Float b, Float threshold) {
        const __m256 magnitude =
            _mm256_and_ps(b, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
        const __m256 keep = _mm256_cmp_ps(magnitude, threshold, _CMP_GE_OQ);
        const __m256 magic = _mm256_set1_ps(blocked::kMagic);
        const __m256 q = _mm256_blendv_ps(magic, _mm256_fmadd_ps(a, b, magic), keep);
        return _mm256_add_epi32(sum, _mm256_castps_si256(q));
    }

    static Sum FastStep(Sum sum, Float a, Float b) {
        return _mm256_castps_si256(_mm256_fmadd_ps(a, b, _mm256_castsi256_ps(sum)));
    }

    // ---- Packing

    // Exact also for exponent field 31, which the unit reads as an ordinary number.
    static __m256 Decode(__m128i halves) {
        const __m256 value = _mm256_cvtph_ps(halves);
        const __m128i exponent = _mm_set1_epi16(0x7C00);
        const __m128i special = _mm_cmpeq_epi16(_mm_and_si128(halves, exponent), exponent);
        if (_mm_testz_si128(special, special)) [[likely]]
            return value;
        const __m256i bits = _mm256_cvtepu16_epi32(halves);
        const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFF));
        const __m256i sign =
            _mm256_slli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x8000)), 16);
        const __m256i number =
            _mm256_add_epi32(_mm256_slli_epi32(magnitude, 13), _mm256_set1_epi32(112 << 23));
        return _mm256_blendv_ps(value, _mm256_castsi256_ps(_mm256_or_si256(number, sign)),
                                _mm256_castsi256_ps(_mm256_cvtepi16_epi32(special)));
    }

    // The exponent field, 1 for subnormals.
    static __m128i Field(__m128i halves) {
        const __m128i field = _mm_and_si128(_mm_srli_epi16(halves, 10), _mm_set1_epi16(31));
        return _mm_max_epu16(field, _mm_set1_epi16(1));
    }

    static __m128i IsZero(__m128i halves) {
        return _mm_cmpeq_epi16(_mm_and_si128(halves, _mm_set1_epi16(0x7FFF)), _mm_setzero_si128());
    }

    // What a block holds, in 16-bit lanes.
    struct RangeVectors {
        __m128i min_field = _mm_set1_epi16(64);
        __m128i max_bits = _mm_setzero_si128();

        void Add(__m128i halves, __m128i field) {
            const __m128i counted =
                _mm_or_si128(field, _mm_and_si128(IsZero(halves), _mm_set1_epi16(64)));
            min_field = _mm_min_epu16(min_field, counted);
            max_bits = _mm_max_epu16(max_bits, _mm_and_si128(halves, _mm_set1_epi16(0x7FFF)));
        }
        void Finish(blocked::Range& range) const {
            alignas(16) uint16_t fields[8];
            alignas(16) uint16_t bits[8];
            _mm_store_si128(reinterpret_cast<__m128i*>(fields), min_field);
            _mm_store_si128(reinterpret_cast<__m128i*>(bits), max_bits);
            for (int i = 0; i < 8; ++i) {
                range.min_field = std::min<int32_t>(range.min_field, fields[i]);
                range.max_bits = std::max<int32_t>(range.max_bits, bits[i]);
            }
        }
    };

    static __m128i LoadHalves(const Half* source, int64_t count) {
        if (count >= 8) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
        alignas(16) Half buffer[8] = {};
        std::memcpy(buffer, source, static_cast<size_t>(count) * sizeof(Half));
        return _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
    }

    // One row of A: `count` neighbouring values.
    template <bool kExact>
    static void DecodeRow(const Half* source, int64_t count, float* values, int32_t* drop,
                          blocked::Range& range) {
        RangeVectors seen;
        for (int64_t k = 0; k < count; k += 8) {
            const __m128i halves = LoadHalves(source + k, count - k);
            if constexpr (!kExact) {
                _mm256_store_ps(values + k, _mm256_cvtph_ps(halves));
                continue;
            }
            const __m128i field = Field(halves);
            seen.Add(halves, field);
            const __m256i scaled =
                _mm256_castps_si256(_mm256_mul_ps(Decode(halves), _mm256_set1_ps(65536.0f)));
            const __m256i step =
                _mm256_add_epi32(_mm256_cvtepi16_epi32(IsZero(halves)), _mm256_set1_epi32(1));
            _mm256_store_si256(reinterpret_cast<__m256i*>(values + k),
                               _mm256_add_epi32(scaled, step));
            // The byte -17 - e(a) in the top of each word, where Above looks for it.
            const __m256i byte =
                _mm256_cvtepi16_epi32(_mm_sub_epi16(_mm_set1_epi16(kMacDropExponent + 15), field));
            _mm256_store_si256(reinterpret_cast<__m256i*>(drop + k), _mm256_slli_epi32(byte, 24));
        }
        if constexpr (kExact) seen.Finish(range);
    }

    // What PackB gathers over a whole panel.
    using PanelRange = RangeVectors;

    // One k of a panel of B: `columns` neighbouring values, zero beyond.
    template <bool kExact>
    static void DecodePanelRow(const Half* source, int64_t columns, float* values,
                               int8_t* exponents, PanelRange& seen) {
        for (int64_t j = 0; j < kPanel; j += kLanes) {
            const __m128i halves =
                columns > j ? LoadHalves(source + j, columns - j) : _mm_setzero_si128();
            if constexpr (!kExact) {
                _mm256_store_ps(values + j, _mm256_cvtph_ps(halves));
                continue;
            }
            const __m128i field = Field(halves);
            seen.Add(halves, field);
            _mm256_store_ps(values + j, Decode(halves));
            const __m128i exponent = _mm_sub_epi16(field, _mm_set1_epi16(15));
            _mm_storel_epi64(reinterpret_cast<__m128i*>(exponents + j),
                             _mm_packs_epi16(exponent, exponent));
        }
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
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + j),
                             _mm256_cvtps_ph(_mm256_loadu_ps(sums + j), _MM_FROUND_TO_NEAREST_INT));
        }
        for (; j < count; ++j) out[j] = FloatToHalf(sums[j]);
    }
};

}  // namespace

void FillAvx2Gemm(KernelTable& table) { blocked::Fill<Avx2>(table); }

}  // namespace jax_ane::software

#endif
