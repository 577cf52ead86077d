// SPDX-License-Identifier: Apache-2.0
// The elementwise kernels for AVX-512 (F, BW, VL, DQ).
#if defined(__AVX512F__) && defined(__AVX512BW__)

#include <immintrin.h>

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/rows_vector.h"
#include "device/software/kernels/sums_vector.h"
#include "device/software/kernels/unary_vector.h"
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

    // Ties away from zero: with its last bit set no value lies on a tie, and none has crossed one.
    // That bit makes NaN of infinities, which is undone.
    static Halves NarrowAway(Float f) {
        const __m512i odd = _mm512_or_si512(_mm512_castps_si512(f), _mm512_set1_epi32(1));
        const Halves halves = Narrow(_mm512_castsi512_ps(odd));
        return _mm256_min_epu16(_mm256_min_epi16(halves, _mm256_set1_epi16(kHalfInf)),
                                _mm256_set1_epi16(static_cast<int16_t>(kHalfNegInf)));
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
    static Float AddTowardZero(Float a, Float b) {
        return _mm512_add_round_ps(a, b, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    }

    // ---- For unary_vector.h, rows_vector.h and sums_vector.h

    static Float LoadF(const float* p) { return _mm512_loadu_ps(p); }
    static Float SplatF(float f) { return _mm512_set1_ps(f); }
    static Float Fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
    // b where the two do not compare.
    static Float MaxF(Float a, Float b) { return _mm512_max_ps(a, b); }
    static Float MinF(Float a, Float b) { return _mm512_min_ps(a, b); }
    static Float AbsF(Float a) { return _mm512_abs_ps(a); }
    static Float SqrtF(Float a) { return _mm512_sqrt_ps(a); }
    static Float TruncF(Float a) {
        return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    }
    // 1 / a for finite a that is not 0, to about 2^-22.
    static Float Reciprocal(Float a) {
        const __m512 r = _mm512_rcp14_ps(a);
        return _mm512_fmadd_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(1.0f)), r);
    }
    static Float ShiftIntoExponent(Float a) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23));
    }
    // The larger exponent of the two as it stands in the bits of a float.
    static Float LargerExponent(Float a, Float b) {
        return _mm512_and_ps(_mm512_range_ps(a, b, 0xB), _mm512_set1_ps(__builtin_inff()));
    }
    static Float BitsFrom(int32_t from, Float a) {
        return _mm512_castsi512_ps(
            _mm512_sub_epi32(_mm512_set1_epi32(from), _mm512_castps_si512(a)));
    }
    static Float AddBits(Float a, Float b) {
        return _mm512_castsi512_ps(
            _mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
    }
    static Float BitsPlus(Float a, int32_t plus) {
        return _mm512_castsi512_ps(
            _mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(plus)));
    }
    static float SumLanes(Float a) { return _mm512_reduce_add_ps(a); }
    // Adds the lanes of a float vector to doubles.
    struct Doubles {
        __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
        void Add(Float a) {
            low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(a)));
            high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)));
        }
        double Sum() const { return _mm512_reduce_add_pd(_mm512_add_pd(low, high)); }
    };

    // fp16 bits as 16-bit integers that order as the values do.
    static Halves Keys(Halves h) {
        return _mm256_xor_si256(
            h, _mm256_and_si256(_mm256_srai_epi16(h, 15), _mm256_set1_epi16(0x7FFF)));
    }
    static Halves MaxKeys(Halves a, Halves b) { return _mm256_max_epi16(a, b); }
    static Halves MinKeys(Halves a, Halves b) { return _mm256_min_epi16(a, b); }
    static Halves Magnitudes(Halves h) { return _mm256_and_si256(h, _mm256_set1_epi16(0x7FFF)); }

    // t[j] gets element 4 * i + j of p in lane i.
    static void LoadQuads(const Half* p, Float (&t)[4]) {
        const __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 32);
        // Elements 0, 4, ... 60 and then 1, 5, ... 61.
        alignas(64) static constexpr uint16_t kPick[32] = {
            0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60,
            1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61};
        const __m512i first = _mm512_load_si512(kPick);
        const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(2));
        const __m512i even = _mm512_permutex2var_epi16(a, first, b);
        const __m512i odd = _mm512_permutex2var_epi16(a, second, b);
        t[0] = Widen(_mm512_castsi512_si256(even));
        t[1] = Widen(_mm512_extracti64x4_epi64(even, 1));
        t[2] = Widen(_mm512_castsi512_si256(odd));
        t[3] = Widen(_mm512_extracti64x4_epi64(odd, 1));
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

void FillAvx512Elementwise(KernelTable& table) {
    vectors::Fill<Avx512>(table);
    vectors::FillUnary<Avx512>(table);
    vectors::FillRows<Avx512>(table);
    vectors::FillSums<Avx512>(table);
}

}  // namespace jax_ane::software

#endif
