// SPDX-License-Identifier: Apache-2.0
// The elementwise kernels for AVX-512 (F, BW, VL, DQ).
#if defined(__AVX512F__) && defined(__AVX512BW__)

#include <immintrin.h>

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

struct Avx512 {
    static constexpr int kLanes = 16;
    using Float = __m512;
    using Halves = __m256i;
    using Mask = __mmask16;

    static Halves Load(const Half* p) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    static Halves Splat(Half h) { return _mm256_set1_epi16(static_cast<int16_t>(h)); }
    static void Store(Halves h, Half* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), h); }
    static void StoreF(Float f, float* p) { _mm512_storeu_ps(p, f); }
    static Float Widen(Halves h) { return _mm512_cvtph_ps(h); }
    static Float WidenPlanar(Halves h) {
        const __m512 f = _mm512_cvtph_ps(h);
        const __mmask16 nan = _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q);
        return _mm512_mask_mov_ps(f, nan, _mm512_set1_ps(__builtin_inff()));
    }
    static Halves Narrow(Float f) { return _mm512_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT); }
    static Halves NarrowInput(const float* p) { return Narrow(_mm512_loadu_ps(p)); }

    // FloatBitsToHalfAway of util/half.h.
    static Halves NarrowAway(Float f) {
        const __m512i bits = _mm512_castps_si512(f);
        const __m512i sign =
            _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x8000));
        const __m512i u = _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF));
        __m512i result =
            _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x1000 - (112 << 23))), 13);
        const __mmask16 small = _mm512_cmplt_epi32_mask(u, _mm512_set1_epi32(113 << 23));
        const __m512 scaled = _mm512_add_ps(
            _mm512_mul_ps(_mm512_castsi512_ps(u), _mm512_set1_ps(0x1p24f)), _mm512_set1_ps(0.5f));
        result = _mm512_mask_mov_epi32(result, small, _mm512_maskz_cvttps_epi32(small, scaled));
        const __mmask16 huge = _mm512_cmpge_epi32_mask(u, _mm512_set1_epi32(0x477FF000));
        result = _mm512_mask_mov_epi32(result, huge, _mm512_set1_epi32(0x7C00));
        return _mm512_cvtepi32_epi16(_mm512_or_si512(result, sign));
    }

    static Float Zero() { return _mm512_setzero_ps(); }
    static Float AddF(Float a, Float b) { return _mm512_add_ps(a, b); }
    static Float SubF(Float a, Float b) { return _mm512_sub_ps(a, b); }
    static Float MulF(Float a, Float b) { return _mm512_mul_ps(a, b); }
    static Float DivF(Float a, Float b) { return _mm512_div_ps(a, b); }
    static Float Negate(Float a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
    static Float NanToZero(Float a) {
        return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a);
    }
    static Float StepTowardZeroWhereNegative(Float value, Float test) {
        const __mmask16 negative = _mm512_cmp_ps_mask(test, _mm512_setzero_ps(), _CMP_LT_OQ);
        const __m512i bits = _mm512_castps_si512(value);
        return _mm512_castsi512_ps(
            _mm512_mask_sub_epi32(bits, negative, bits, _mm512_set1_epi32(1)));
    }

    static Mask LessF(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
    static Mask EqualF(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
    static Mask Not(Mask m) { return static_cast<Mask>(~m); }
    static Float Choose(Mask m, Float yes, Float no) { return _mm512_mask_mov_ps(no, m, yes); }
    static void StoreBytes(Mask m, uint8_t* p) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m, 1));
    }
    static Halves ChooseHalves(const uint8_t* condition, Halves yes, Halves no) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(condition));
        return _mm256_mask_mov_epi16(no, _mm_test_epi8_mask(bytes, bytes), yes);
    }
};

}  // namespace

void FillAvx512Elementwise(KernelTable& table) { vectors::Fill<Avx512>(table); }

}  // namespace jax_ane::software

#endif
