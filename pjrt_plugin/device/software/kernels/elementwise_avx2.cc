// SPDX-License-Identifier: Apache-2.0
// The elementwise kernels and the transpose for AVX2 with F16C.
#if defined(__AVX2__) && defined(__F16C__)

#include <immintrin.h>

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/rows_vector.h"
#include "device/software/kernels/sums_vector.h"
#include "device/software/kernels/transpose_sse.h"
#include "device/software/kernels/unary_vector.h"
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

    // As in elementwise_avx512.cc.
    static Halves NarrowAway(Float f) {
        const __m256i odd = _mm256_or_si256(_mm256_castps_si256(f), _mm256_set1_epi32(1));
        const Halves halves = Narrow(_mm256_castsi256_ps(odd));
        return _mm_min_epu16(_mm_min_epi16(halves, _mm_set1_epi16(kHalfInf)),
                             _mm_set1_epi16(static_cast<int16_t>(kHalfNegInf)));
    }

    static Float Zero() { return _mm256_setzero_ps(); }
    static Float AddF(Float a, Float b) { return _mm256_add_ps(a, b); }
    static Float SubF(Float a, Float b) { return _mm256_sub_ps(a, b); }
    static Float MulF(Float a, Float b) { return _mm256_mul_ps(a, b); }
    static Float DivF(Float a, Float b) { return _mm256_div_ps(a, b); }
    static Float Negate(Float a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
    static Float NanToZero(Float a) { return _mm256_and_ps(a, _mm256_cmp_ps(a, a, _CMP_ORD_Q)); }
    // One step back where the rounded sum is farther from zero than the exact one.
    static Float AddTowardZero(Float a, Float b) {
        const Float sum = AddF(a, b);
        const Float b_part = SubF(sum, a);
        const Float lost = AddF(SubF(a, SubF(sum, b_part)), SubF(b, b_part));
        const __m256i farther =
            _mm256_castps_si256(_mm256_cmp_ps(MulF(lost, sum), _mm256_setzero_ps(), _CMP_LT_OQ));
        return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), farther));
    }

    // ---- For unary_vector.h, rows_vector.h and sums_vector.h: see elementwise_avx512.cc.

    static Float LoadF(const float* p) { return _mm256_loadu_ps(p); }
    static Float SplatF(float f) { return _mm256_set1_ps(f); }
    static Float Fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
    static Float MaxF(Float a, Float b) { return _mm256_max_ps(a, b); }
    static Float MinF(Float a, Float b) { return _mm256_min_ps(a, b); }
    static Float AbsF(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
    static Float SqrtF(Float a) { return _mm256_sqrt_ps(a); }
    static Float TruncF(Float a) {
        return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    }
    static Float Reciprocal(Float a) {
        const __m256 r = _mm256_rcp_ps(a);
        return _mm256_fmadd_ps(r, _mm256_fnmadd_ps(a, r, _mm256_set1_ps(1.0f)), r);
    }
    static Float ShiftIntoExponent(Float a) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
    }
    static Float LargerExponent(Float a, Float b) {
        return _mm256_and_ps(_mm256_max_ps(AbsF(a), AbsF(b)), _mm256_set1_ps(__builtin_inff()));
    }
    static Float BitsFrom(int32_t from, Float a) {
        return _mm256_castsi256_ps(
            _mm256_sub_epi32(_mm256_set1_epi32(from), _mm256_castps_si256(a)));
    }
    static Float AddBits(Float a, Float b) {
        return _mm256_castsi256_ps(
            _mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
    }
    static Float BitsPlus(Float a, int32_t plus) {
        return _mm256_castsi256_ps(
            _mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(plus)));
    }
    static float SumLanes(Float a) {
        __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
    }
    struct Doubles {
        __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
        void Add(Float a) {
            low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(a)));
            high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)));
        }
        double Sum() const {
            const __m256d both = _mm256_add_pd(low, high);
            const __m128d sum =
                _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
            return _mm_cvtsd_f64(_mm_add_sd(sum, _mm_unpackhi_pd(sum, sum)));
        }
    };

    static Halves Keys(Halves h) {
        return _mm_xor_si128(h, _mm_and_si128(_mm_srai_epi16(h, 15), _mm_set1_epi16(0x7FFF)));
    }
    static Halves MaxKeys(Halves a, Halves b) { return _mm_max_epi16(a, b); }
    static Halves MinKeys(Halves a, Halves b) { return _mm_min_epi16(a, b); }
    static Halves Magnitudes(Halves h) { return _mm_and_si128(h, _mm_set1_epi16(0x7FFF)); }

    static void LoadQuads(const Half* p, Float (&t)[4]) {
        // Pairs of a term side by side, then a transpose of four by four pairs.
        const __m128i pairs = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
        __m128i q[4];
        for (int i = 0; i < 4; ++i) q[i] = _mm_shuffle_epi8(Load(p + 8 * i), pairs);
        const __m128i low01 = _mm_unpacklo_epi32(q[0], q[1]);
        const __m128i low23 = _mm_unpacklo_epi32(q[2], q[3]);
        const __m128i high01 = _mm_unpackhi_epi32(q[0], q[1]);
        const __m128i high23 = _mm_unpackhi_epi32(q[2], q[3]);
        t[0] = Widen(_mm_unpacklo_epi64(low01, low23));
        t[1] = Widen(_mm_unpackhi_epi64(low01, low23));
        t[2] = Widen(_mm_unpacklo_epi64(high01, high23));
        t[3] = Widen(_mm_unpackhi_epi64(high01, high23));
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
    vectors::FillUnary<Avx2>(table);
    vectors::FillRows<Avx2>(table);
    vectors::FillSums<Avx2>(table);
    table.transpose16 = TransposeHalves;
}

}  // namespace jax_ane::software

#endif
