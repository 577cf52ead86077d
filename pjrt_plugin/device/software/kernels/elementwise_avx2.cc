// SPDX-License-Identifier: Apache-2.0
// The elementwise kernels and the transpose for AVX2 with F16C.
#if defined(__AVX2__) && defined(__F16C__)

#include <immintrin.h>

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/transpose_sse.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

struct Avx2 {
    static constexpr int kLanes = 8;
    using Float = __m256;
    using Halves = __m128i;
    using Mask = __m256;

    static Halves Load(const Half* p) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    }
    static Halves Splat(Half h) { return _mm_set1_epi16(static_cast<int16_t>(h)); }
    static void Store(Halves h, Half* p) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), h); }
    static void StoreF(Float f, float* p) { _mm256_storeu_ps(p, f); }
    static Float Widen(Halves h) { return _mm256_cvtph_ps(h); }
    static Float WidenPlanar(Halves h) {
        const __m256 f = _mm256_cvtph_ps(h);
        return _mm256_blendv_ps(f, _mm256_set1_ps(__builtin_inff()),
                                _mm256_cmp_ps(f, f, _CMP_UNORD_Q));
    }
    static Halves Narrow(Float f) { return _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT); }
    static Halves NarrowInput(const float* p) { return Narrow(_mm256_loadu_ps(p)); }

    // FloatBitsToHalfAway of util/half.h.
    static Halves NarrowAway(Float f) {
        const __m256i bits = _mm256_castps_si256(f);
        const __m256i sign =
            _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x8000));
        const __m256i u = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
        const __m256i normal =
            _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x1000 - (112 << 23))), 13);
        const __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(113 << 23), u);
        const __m256 small = _mm256_castsi256_ps(_mm256_and_si256(u, is_small));
        const __m256i subnormal = _mm256_cvttps_epi32(
            _mm256_add_ps(_mm256_mul_ps(small, _mm256_set1_ps(0x1p24f)), _mm256_set1_ps(0.5f)));
        __m256i result = _mm256_blendv_epi8(normal, subnormal, is_small);
        const __m256i huge = _mm256_cmpgt_epi32(u, _mm256_set1_epi32(0x477FEFFF));
        result = _mm256_blendv_epi8(result, _mm256_set1_epi32(0x7C00), huge);
        result = _mm256_or_si256(result, sign);
        return _mm_packus_epi32(_mm256_castsi256_si128(result),
                                _mm256_extracti128_si256(result, 1));
    }

    static Float Zero() { return _mm256_setzero_ps(); }
    static Float AddF(Float a, Float b) { return _mm256_add_ps(a, b); }
    static Float SubF(Float a, Float b) { return _mm256_sub_ps(a, b); }
    static Float MulF(Float a, Float b) { return _mm256_mul_ps(a, b); }
    static Float DivF(Float a, Float b) { return _mm256_div_ps(a, b); }
    static Float Negate(Float a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
    static Float NanToZero(Float a) { return _mm256_and_ps(a, _mm256_cmp_ps(a, a, _CMP_ORD_Q)); }
    static Float StepTowardZeroWhereNegative(Float value, Float test) {
        const __m256i negative =
            _mm256_castps_si256(_mm256_cmp_ps(test, _mm256_setzero_ps(), _CMP_LT_OQ));
        return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), negative));
    }

    static Mask LessF(Float a, Float b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
    static Mask EqualF(Float a, Float b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
    static Mask Not(Mask m) { return _mm256_xor_ps(m, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
    static Float Choose(Mask m, Float yes, Float no) { return _mm256_blendv_ps(no, yes, m); }
    static void StoreBytes(Mask m, uint8_t* p) {
        const int bits = _mm256_movemask_ps(m);
        for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint8_t>((bits >> i) & 1);
    }
    static Halves ChooseHalves(const uint8_t* condition, Halves yes, Halves no) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(condition));
        const __m128i is_no = _mm_cmpeq_epi16(_mm_cvtepu8_epi16(bytes), _mm_setzero_si128());
        return _mm_blendv_epi8(yes, no, is_no);
    }
};

}  // namespace

void FillAvx2Elementwise(KernelTable& table) {
    vectors::Fill<Avx2>(table);
    table.transpose16 = TransposeHalves;
}

}  // namespace jax_ane::software

#endif
