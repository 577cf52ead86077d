// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels in plain C++: the planar engine (fp16, ties away from zero, no NaN ever), its
// fast form, and row conversions.
#include <algorithm>
#include <bit>
#include <cmath>

#include "device/software/kernels/planar.h"
#include "device/software/kernels/reference.h"

namespace jax_ane::software {
namespace {

template <typename Op>
void Binary(const Half* a, int a_step, const Half* b, int b_step, Half* out, int64_t n) {
    if (a_step == 1 && b_step == 1) {
        for (int64_t i = 0; i < n; ++i) out[i] = Op::Apply(a[i], b[i]);
    } else if (a_step == 1) {
        const Half scalar = *b;
        for (int64_t i = 0; i < n; ++i) out[i] = Op::Apply(a[i], scalar);
    } else if (b_step == 1) {
        const Half scalar = *a;
        for (int64_t i = 0; i < n; ++i) out[i] = Op::Apply(scalar, b[i]);
    } else {
        const Half value = Op::Apply(*a, *b);
        for (int64_t i = 0; i < n; ++i) out[i] = value;
    }
}

#define JAX_ANE_EXACT(Name, Function)                                \
    struct Name {                                                    \
        static Half Apply(Half a, Half b) { return Function(a, b); } \
    }
JAX_ANE_EXACT(ExactAdd, PlanarAdd);
JAX_ANE_EXACT(ExactSub, PlanarSub);
JAX_ANE_EXACT(ExactMul, PlanarMul);
JAX_ANE_EXACT(ExactDiv, PlanarDiv);
JAX_ANE_EXACT(ExactMax, PlanarMax);
JAX_ANE_EXACT(ExactMin, PlanarMin);
JAX_ANE_EXACT(ExactPow, PlanarPow);
JAX_ANE_EXACT(ExactFloorDiv, PlanarFloorDiv);
#undef JAX_ANE_EXACT

// float32 arithmetic on fp16 storage, ties to even at the store.
#define JAX_ANE_FAST(Name, expression)                          \
    struct Name {                                               \
        static Half Apply(Half a, Half b) {                     \
            const float x = HalfToFloat(a), y = HalfToFloat(b); \
            return FloatToHalf(expression);                     \
        }                                                       \
    }
JAX_ANE_FAST(FastAdd, x + y);
JAX_ANE_FAST(FastSub, x - y);
JAX_ANE_FAST(FastMul, x* y);
JAX_ANE_FAST(FastDiv, x / y);
JAX_ANE_FAST(FastMax, x != x ? x : (x < y || y != y ? y : x));
JAX_ANE_FAST(FastMin, x != x ? x : (y < x || y != y ? y : x));
JAX_ANE_FAST(FastPow, std::pow(x, y));
JAX_ANE_FAST(FastFloorDiv, std::floor(x / y));
#undef JAX_ANE_FAST

template <typename Op>
void Compare(const Half* a, int a_step, const Half* b, int b_step, uint8_t* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        out[i] = Op::Apply(PlanarFloat(a[i * a_step]), PlanarFloat(b[i * b_step])) ? 1 : 0;
    }
}

#define JAX_ANE_COMPARE(Name, op)                              \
    struct Name {                                              \
        static bool Apply(float a, float b) { return a op b; } \
    }
JAX_ANE_COMPARE(Equal, ==);
JAX_ANE_COMPARE(NotEqual, !=);
JAX_ANE_COMPARE(Less, <);
JAX_ANE_COMPARE(LessEqual, <=);
JAX_ANE_COMPARE(Greater, >);
JAX_ANE_COMPARE(GreaterEqual, >=);
#undef JAX_ANE_COMPARE

void Select(const uint8_t* condition, int c_step, const Half* a, int a_step, const Half* b,
            int b_step, Half* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        out[i] = condition[i * c_step] != 0 ? a[i * a_step] : b[i * b_step];
    }
}

void Lookup(const Half* table, const Half* x, Half* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = table[x[i]];
}

void HalfRowToFloat(const Half* x, float* out, int64_t n, float scale) {
    for (int64_t i = 0; i < n; ++i) out[i] = HalfToFloat(x[i]) * scale;
}

void FloatRowToHalf(const float* x, Half* out, int64_t n, float scale) {
    for (int64_t i = 0; i < n; ++i) out[i] = FloatToHalf(x[i] * scale);
}

uint16_t LargestHalf(const Half* x, int64_t n) {
    uint16_t largest = 0;
    for (int64_t i = 0; i < n; ++i) largest = std::max<uint16_t>(largest, x[i] & 0x7FFF);
    return largest;
}

uint32_t LargestFloat(const float* x, int64_t n) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; ++i) {
        largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFF);
    }
    return largest;
}

}  // namespace

void FillReferenceElementwise(KernelTable& table) {
    const BinaryFn exact[kBinaryOps] = {Binary<ExactAdd>, Binary<ExactSub>,     Binary<ExactMul>,
                                        Binary<ExactDiv>, Binary<ExactMax>,     Binary<ExactMin>,
                                        Binary<ExactPow>, Binary<ExactFloorDiv>};
    const BinaryFn fast[kBinaryOps] = {Binary<FastAdd>, Binary<FastSub>,     Binary<FastMul>,
                                       Binary<FastDiv>, Binary<FastMax>,     Binary<FastMin>,
                                       Binary<FastPow>, Binary<FastFloorDiv>};
    std::copy(exact, exact + kBinaryOps, table.binary[0]);
    std::copy(fast, fast + kBinaryOps, table.binary[1]);
    const CompareFn compare[kCompareOps] = {Compare<Equal>,   Compare<NotEqual>,
                                            Compare<Less>,    Compare<LessEqual>,
                                            Compare<Greater>, Compare<GreaterEqual>};
    std::copy(compare, compare + kCompareOps, table.compare);
    table.select = Select;
    table.lookup = Lookup;
    table.half_to_float = HalfRowToFloat;
    table.float_to_half = FloatRowToHalf;
    table.largest_half = LargestHalf;
    table.largest_float = LargestFloat;
    table.adamw = [](const AdamWArgs& args, const AdamWRun& run) { AdamWElements(args, run, 0); };
}

}  // namespace jax_ane::software
