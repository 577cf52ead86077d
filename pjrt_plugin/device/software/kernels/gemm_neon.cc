// SPDX-License-Identifier: Apache-2.0
// GEMM for NEON: 4 rows by 16 columns a register tile, with fp16 widened by the conversions that
// every AArch64 has.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "device/software/kernels/gemm_entry.h"
#include "device/software/kernels/transpose_neon.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

struct Neon {
    static constexpr int kLanes = 4;
    static constexpr int kVectors = 4;
    static constexpr int kRows = 4;
    static constexpr bool kMaskedAddsMagic = true;
    static constexpr int kDirectAccumulators = 16;  // of the direct form, in vectors
    static constexpr int kDirectPasses = 2;
    static constexpr int kPanel = kLanes * kVectors;

    using Float = float32x4_t;
    using Sum = int32x4_t;
    struct Exponents {
        int32x4_t quarter[4];
    };
    struct Keep {
        uint32x4_t quarter[4];
    };

    static Float Load(const float* p) { return vld1q_f32(p); }
    static Float Broadcast(const float* p) { return vld1q_dup_f32(p); }
    static Sum LoadSum(const int32_t* p) { return vld1q_s32(p); }
    static void StoreSum(int32_t* p, Sum s) { vst1q_s32(p, s); }
    static Sum ZeroSum() { return vdupq_n_s32(0); }
    static Float AddF(Float a, Float b) { return vaddq_f32(a, b); }
    static Float SubF(Float a, Float b) { return vsubq_f32(a, b); }
    static Float LoadUnaligned(const float* p) { return vld1q_f32(p); }
    static Float WidenUnaligned(const Half* p) { return Widen(p); }
    static void NarrowUnaligned(Float f, Half* p) {
        vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(f)));
    }
    static Float Widen(const Half* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
    static void Prefetch(const Half* p) { __builtin_prefetch(p); }
    static Exponents LoadExponents(const int8_t* p) {
        const int8x16_t bytes = vld1q_s8(p);
        const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
        return {{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
                 vmovl_high_s16(high)}};
    }
    static Keep Above(const Exponents& e, const int32_t* drop) {
        const int32x4_t limit = vld1q_dup_s32(drop);
        return {{vcgtq_s32(e.quarter[0], limit), vcgtq_s32(e.quarter[1], limit),
                 vcgtq_s32(e.quarter[2], limit), vcgtq_s32(e.quarter[3], limit)}};
    }

    static Float Magic() { return vdupq_n_f32(blocked::kMagic); }
    static Sum Bits(Float f) { return vreinterpretq_s32_f32(f); }
    static Float FromBits(Sum s) { return vreinterpretq_f32_s32(s); }

    // As in gemm_avx512.cc: small products by the magic number, large ones without the step away
    // from zero.
    static Sum RoundLarge(Float a, Float b) {
        const int32x4_t is_zero = vreinterpretq_s32_u32(vceqzq_f32(a));
        const int32x4_t step = vaddq_s32(is_zero, vdupq_n_s32(1));  // 1, or 0 for a zero
        const Float product = vmulq_f32(FromBits(vsubq_s32(Bits(a), step)), b);
        const Sum small = vsubq_s32(Bits(vfmaq_f32(Magic(), a, b)), Bits(Magic()));
        const uint32x4_t is_small = vcaltq_f32(product, vdupq_n_f32(0x1p21f));
        return vbslq_s32(is_small, small, vcvtnq_s32_f32(product));
    }

    template <blocked::Inner kInner>
    static Sum Step(Sum sum, Float a, Float b, const Keep& keep, int v) {
        if constexpr (kInner == blocked::Inner::kMasked) {
            const Float q = vbslq_f32(keep.quarter[v], vfmaq_f32(Magic(), a, b), Magic());
            return vaddq_s32(sum, Bits(q));
        } else {
            return vaddq_s32(sum,
                             vandq_s32(RoundLarge(a, b), vreinterpretq_s32_u32(keep.quarter[v])));
        }
    }
    static Sum UnmaskedStep(Sum sum, Float a, Float b) {
        return vaddq_s32(sum, Bits(vfmaq_f32(Magic(), a, b)));
    }
    static Sum ThresholdStep(Sum sum, Float a, Float b, Float threshold) {
        // |b| >= |threshold|, which is not negative.
        const Float q = vbslq_f32(vcageq_f32(b, threshold), vfmaq_f32(Magic(), a, b), Magic());
        return vaddq_s32(sum, Bits(q));
    }
    static Sum FastStep(Sum sum, Float a, Float b) { return Bits(vfmaq_f32(FromBits(sum), a, b)); }

    // ---- Packing, four halves at a time

    // Exact also for exponent field 31, which the unit reads as an ordinary number.
    static Float Decode(uint16x4_t halves) {
        const Float value = vcvt_f32_f16(vreinterpret_f16_u16(halves));
        const uint16x4_t field = vdup_n_u16(0x7C00);
        const uint16x4_t special = vceq_u16(vand_u16(halves, field), field);
        const uint32x4_t bits = vmovl_u16(halves);
        const uint32x4_t magnitude = vandq_u32(bits, vdupq_n_u32(0x7FFF));
        const uint32x4_t sign = vshlq_n_u32(vandq_u32(bits, vdupq_n_u32(0x8000)), 16);
        const uint32x4_t number = vaddq_u32(vshlq_n_u32(magnitude, 13), vdupq_n_u32(112u << 23));
        const uint32x4_t is_special =
            vreinterpretq_u32_s32(vmovl_s16(vreinterpret_s16_u16(special)));
        return vbslq_f32(is_special, vreinterpretq_f32_u32(vorrq_u32(number, sign)), value);
    }

    // The exponent field, 1 for subnormals.
    static uint16x4_t Field(uint16x4_t halves) {
        return vmax_u16(vand_u16(vshr_n_u16(halves, 10), vdup_n_u16(31)), vdup_n_u16(1));
    }
    static uint16x4_t Nonzero(uint16x4_t halves) { return vtst_u16(halves, vdup_n_u16(0x7FFF)); }

    // What a block holds, in 16-bit lanes.
    struct RangeVectors {
        uint16x4_t min_field = vdup_n_u16(64);
        uint16x4_t max_bits = vdup_n_u16(0);

        void Add(uint16x4_t halves, uint16x4_t field) {
            min_field = vmin_u16(min_field, vbsl_u16(Nonzero(halves), field, vdup_n_u16(64)));
            max_bits = vmax_u16(max_bits, vand_u16(halves, vdup_n_u16(0x7FFF)));
        }
        void Finish(blocked::Range& range) const {
            range.min_field = std::min<int32_t>(range.min_field, vminv_u16(min_field));
            range.max_bits = std::max<int32_t>(range.max_bits, vmaxv_u16(max_bits));
        }
    };

    static uint16x4_t LoadHalves(const Half* source, int64_t count) {
        if (count >= 4) return vld1_u16(source);
        Half buffer[4] = {};
        std::memcpy(buffer, source, static_cast<size_t>(count) * sizeof(Half));
        return vld1_u16(buffer);
    }

    // One row of A: `count` neighbouring values, with -17 - e(a) as the limit for Above.
    template <bool kExact>
    static void DecodeRow(const Half* source, int64_t count, float* values, int32_t* drop,
                          blocked::Range& range) {
        RangeVectors seen;
        for (int64_t k = 0; k < count; k += 4) {
            const uint16x4_t halves = LoadHalves(source + k, count - k);
            if constexpr (!kExact) {
                vst1q_f32(values + k, vcvt_f32_f16(vreinterpret_f16_u16(halves)));
                continue;
            }
            const uint16x4_t field = Field(halves);
            seen.Add(halves, field);
            const Float scaled = vmulq_n_f32(Decode(halves), 65536.0f);
            const int32x4_t nonzero = vmovl_s16(vreinterpret_s16_u16(Nonzero(halves)));
            vst1q_f32(values + k, FromBits(vsubq_s32(Bits(scaled), nonzero)));
            const int32x4_t exponent = vreinterpretq_s32_u32(vmovl_u16(field));
            vst1q_s32(drop + k, vsubq_s32(vdupq_n_s32(kMacDropExponent + 15), exponent));
        }
        if constexpr (kExact) seen.Finish(range);
    }

    // What PackB gathers over a whole panel.
    using PanelRange = RangeVectors;

    // One k of a panel of B: `columns` neighbouring values, zero beyond.
    template <bool kExact>
    static void DecodePanelRow(const Half* source, int64_t columns, float* values,
                               int8_t* exponents, PanelRange& seen) {
        for (int64_t j = 0; j < kPanel; j += 4) {
            const uint16x4_t halves =
                columns > j ? LoadHalves(source + j, columns - j) : vdup_n_u16(0);
            if constexpr (!kExact) {
                vst1q_f32(values + j, vcvt_f32_f16(vreinterpret_f16_u16(halves)));
                continue;
            }
            const uint16x4_t field = Field(halves);
            seen.Add(halves, field);
            vst1q_f32(values + j, Decode(halves));
            const int16x4_t exponent = vsub_s16(vreinterpret_s16_u16(field), vdup_n_s16(15));
            const int8x8_t bytes = vmovn_s16(vcombine_s16(exponent, exponent));
            vst1_lane_s32(reinterpret_cast<int32_t*>(exponents + j), vreinterpret_s32_s8(bytes), 0);
        }
    }

    static void Transpose(const Half* x, int64_t x_stride, Half* out, int64_t out_stride,
                          int64_t rows, int64_t columns) {
        TransposeHalves(x, x_stride, out, out_stride, rows, columns);
    }

    // ---- Output: see RoundEight in gemm_avx512.cc.

    static float32x2_t RoundTwo(int32x2_t sums) {
        const int64x2_t bits = vreinterpretq_s64_f64(vcvtq_f64_s64(vmovl_s32(sums)));
        const int64x2_t rounded = vandq_s64(vaddq_s64(bits, vdupq_n_s64(int64_t{1} << 41)),
                                            vdupq_n_s64(~((int64_t{1} << 42) - 1)));
        return vcvt_f32_f64(vreinterpretq_f64_s64(rounded));
    }

    static void RoundRow(const int32_t* sums, int64_t count, Half* out) {
        int64_t j = 0;
        for (; j + 4 <= count; j += 4) {
            const Float value =
                vcombine_f32(RoundTwo(vld1_s32(sums + j)), RoundTwo(vld1_s32(sums + j + 2)));
            vst1_u16(out + j, vreinterpret_u16_f16(vcvt_f16_f32(vmulq_n_f32(value, 0x1p-16f))));
        }
        for (; j < count; ++j) out[j] = MacRoundToHalf(sums[j]);
    }

    static void NarrowRow(const float* sums, int64_t count, Half* out) {
        int64_t j = 0;
        for (; j + 4 <= count; j += 4) {
            vst1_u16(out + j, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(sums + j))));
        }
        for (; j < count; ++j) out[j] = FloatToHalf(sums[j]);
    }
};

}  // namespace

void FillNeonGemm(KernelTable& table) { blocked::Fill<Neon>(table); }

}  // namespace jax_ane::software

#endif
