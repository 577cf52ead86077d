// SPDX-License-Identifier: Apache-2.0
// The elementwise, unary and row kernels and the transpose for NEON: eight lanes in two registers,
// so that fp16 goes by whole registers. Of fp16 only the conversions are used, which every AArch64
// has.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "device/software/kernels/elementwise_vector.h"
#include "device/software/kernels/rows_vector.h"
#include "device/software/kernels/sums_vector.h"
#include "device/software/kernels/transpose_neon.h"
#include "device/software/kernels/unary_vector.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

struct Neon {
    static constexpr int kLanes = 8;
    struct Float {
        float32x4_t low, high;
    };
    struct Mask {
        uint32x4_t low, high;
    };
    using Halves = uint16x8_t;

    // Applies an operation to both halves of its operands.
    template <typename Op>
    static Float Map(Float a, Op op) {
        return {op(a.low), op(a.high)};
    }
    template <typename Op>
    static Float Map(Float a, Float b, Op op) {
        return {op(a.low, b.low), op(a.high, b.high)};
    }
    static int32x4_t Bits(float32x4_t a) { return vreinterpretq_s32_f32(a); }
    static float32x4_t FromBits(int32x4_t a) { return vreinterpretq_f32_s32(a); }

    static Halves Load(const Half* p) { return vld1q_u16(p); }
    static Halves Splat(Half h) { return vdupq_n_u16(h); }
    static void Store(Halves h, Half* p) { vst1q_u16(p, h); }
    static Float LoadF(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
    static void StoreF(Float f, float* p) {
        vst1q_f32(p, f.low);
        vst1q_f32(p + 4, f.high);
    }
    static Float SplatF(float f) { return {vdupq_n_f32(f), vdupq_n_f32(f)}; }
    static Float Zero() { return SplatF(0.0f); }

    static Float Widen(Halves h) {
        const float16x8_t f = vreinterpretq_f16_u16(h);
        return {vcvt_f32_f16(vget_low_f16(f)), vcvt_high_f32_f16(f)};
    }
    static Float WidenPlanar(Halves h) {
        const float32x4_t infinity = vdupq_n_f32(__builtin_inff());
        return Map(Widen(h),
                   [&](float32x4_t f) { return vbslq_f32(vceqq_f32(f, f), f, infinity); });
    }
    static Halves Narrow(Float f) {
        return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(f.low), f.high));
    }
    static Halves NarrowInput(const float* p) { return Narrow(LoadF(p)); }
    // As in elementwise_avx512.cc.
    static Halves NarrowAway(Float f) {
        const Float odd =
            Map(f, [](float32x4_t a) { return FromBits(vorrq_s32(Bits(a), vdupq_n_s32(1))); });
        const int16x8_t halves = vreinterpretq_s16_u16(Narrow(odd));
        return vminq_u16(vreinterpretq_u16_s16(vminq_s16(halves, vdupq_n_s16(kHalfInf))),
                         vdupq_n_u16(kHalfNegInf));
    }

    static Float AddF(Float a, Float b) {
        return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
    }
    static Float SubF(Float a, Float b) {
        return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)};
    }
    static Float MulF(Float a, Float b) {
        return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
    }
    static Float DivF(Float a, Float b) {
        return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)};
    }
    static Float Fma(Float a, Float b, Float c) {
        return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
    }
    static Float Negate(Float a) { return {vnegq_f32(a.low), vnegq_f32(a.high)}; }
    static Float AbsF(Float a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
    static Float SqrtF(Float a) { return {vsqrtq_f32(a.low), vsqrtq_f32(a.high)}; }
    static Float TruncF(Float a) { return {vrndq_f32(a.low), vrndq_f32(a.high)}; }
    static Float NanToZero(Float a) {
        return Map(a, [](float32x4_t f) {
            return FromBits(vandq_s32(Bits(f), vreinterpretq_s32_u32(vceqq_f32(f, f))));
        });
    }
    // b where the two do not compare.
    static Float MaxF(Float a, Float b) { return Choose(LessF(b, a), a, b); }
    static Float MinF(Float a, Float b) { return Choose(LessF(a, b), a, b); }
    // As in elementwise_avx2.cc.
    static Float AddTowardZero(Float a, Float b) {
        return Map(a, b, [](float32x4_t x, float32x4_t y) {
            const float32x4_t sum = vaddq_f32(x, y);
            const float32x4_t y_part = vsubq_f32(sum, x);
            const float32x4_t lost =
                vaddq_f32(vsubq_f32(x, vsubq_f32(sum, y_part)), vsubq_f32(y, y_part));
            const uint32x4_t farther = vcltzq_f32(vmulq_f32(lost, sum));
            return FromBits(vaddq_s32(Bits(sum), vreinterpretq_s32_u32(farther)));
        });
    }
    static Float Reciprocal(Float a) {
        return Map(a, [](float32x4_t f) {
            float32x4_t r = vrecpeq_f32(f);
            r = vmulq_f32(r, vrecpsq_f32(f, r));
            return vmulq_f32(r, vrecpsq_f32(f, r));
        });
    }
    static Float ShiftIntoExponent(Float a) {
        return Map(a, [](float32x4_t f) { return FromBits(vshlq_n_s32(Bits(f), 23)); });
    }
    static Float LargerExponent(Float a, Float b) {
        return Map(a, b, [](float32x4_t x, float32x4_t y) {
            const float32x4_t larger = vmaxq_f32(vabsq_f32(x), vabsq_f32(y));
            return FromBits(vandq_s32(Bits(larger), vdupq_n_s32(0x7F800000)));
        });
    }
    static Float BitsFrom(int32_t from, Float a) {
        return Map(a,
                   [&](float32x4_t f) { return FromBits(vsubq_s32(vdupq_n_s32(from), Bits(f))); });
    }
    static Float AddBits(Float a, Float b) {
        return Map(a, b, [](float32x4_t x, float32x4_t y) {
            return FromBits(vaddq_s32(Bits(x), Bits(y)));
        });
    }
    static Float BitsPlus(Float a, int32_t plus) {
        return Map(a,
                   [&](float32x4_t f) { return FromBits(vaddq_s32(Bits(f), vdupq_n_s32(plus))); });
    }
    static float SumLanes(Float a) { return vaddvq_f32(vaddq_f32(a.low, a.high)); }
    struct Doubles {
        float64x2_t sums[2] = {vdupq_n_f64(0), vdupq_n_f64(0)};
        void Add(Float a) {
            for (const float32x4_t& part : {a.low, a.high}) {
                sums[0] = vaddq_f64(sums[0], vcvt_f64_f32(vget_low_f32(part)));
                sums[1] = vaddq_f64(sums[1], vcvt_high_f64_f32(part));
            }
        }
        double Sum() const { return vaddvq_f64(vaddq_f64(sums[0], sums[1])); }
    };

    static Mask LessF(Float a, Float b) {
        return {vcltq_f32(a.low, b.low), vcltq_f32(a.high, b.high)};
    }
    static Mask EqualF(Float a, Float b) {
        return {vceqq_f32(a.low, b.low), vceqq_f32(a.high, b.high)};
    }
    static Mask Not(Mask m) { return {vmvnq_u32(m.low), vmvnq_u32(m.high)}; }
    static Float Choose(Mask m, Float yes, Float no) {
        return {vbslq_f32(m.low, yes.low, no.low), vbslq_f32(m.high, yes.high, no.high)};
    }
    static void StoreBytes(Mask m, uint8_t* p) {
        const uint16x8_t words = vcombine_u16(vmovn_u32(m.low), vmovn_u32(m.high));
        vst1_u8(p, vand_u8(vmovn_u16(words), vdup_n_u8(1)));
    }
    static Halves ChooseHalves(const uint8_t* condition, Halves yes, Halves no) {
        const uint16x8_t words = vmovl_u8(vld1_u8(condition));
        return vbslq_u16(vtstq_u16(words, words), yes, no);
    }

    static Halves Keys(Halves h) {
        const int16x8_t sign = vshrq_n_s16(vreinterpretq_s16_u16(h), 15);
        return veorq_u16(h, vandq_u16(vreinterpretq_u16_s16(sign), vdupq_n_u16(0x7FFF)));
    }
    static Halves MaxKeys(Halves a, Halves b) {
        return vreinterpretq_u16_s16(vmaxq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
    }
    static Halves MinKeys(Halves a, Halves b) {
        return vreinterpretq_u16_s16(vminq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
    }
    static Halves Magnitudes(Halves h) { return vandq_u16(h, vdupq_n_u16(0x7FFF)); }

    static void LoadQuads(const Half* p, Float (&t)[4]) {
        const uint16x8x4_t terms = vld4q_u16(p);
        for (int j = 0; j < 4; ++j) t[j] = Widen(terms.val[j]);
    }
};

}  // namespace

void FillNeonElementwise(KernelTable& table) {
    vectors::Fill<Neon>(table);
    vectors::FillUnary<Neon>(table);
    vectors::FillRows<Neon>(table);
    vectors::FillSums<Neon>(table);
    table.transpose16 = TransposeHalves;
}

}  // namespace jax_ane::software

#endif
