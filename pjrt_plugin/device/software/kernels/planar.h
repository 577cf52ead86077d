// SPDX-License-Identifier: Apache-2.0
// The planar engine's arithmetic on single fp16 values (numerics.md section 4): each operation is
// exact, then rounded once, ties away from zero. NaN reads as +inf; what IEEE calls NaN comes out
// as +0.
#pragma once

#include <cmath>

#include "util/half.h"

namespace jax_ane::software {

inline float PlanarFloat(Half h) { return HalfToFloat(HalfIsNan(h) ? kHalfInf : h); }

// float32 to fp16, with +0 in place of NaN.
inline Half PlanarRound(float f) { return FloatToHalfAway(f == f ? f : 0.0f); }

inline Half PlanarAddFloats(float x, float y) {
    // The exact sum can need 40 bits. float32 rounding moves it onto an fp16 tie only when the lost
    // part has the other sign; then one step toward zero restores the right side of the tie.
    const float sum = x + y;
    const float y_part = sum - x;
    const float lost = (x - (sum - y_part)) + (y - y_part);
    const float clean = sum == sum ? sum : 0.0f;
    const uint32_t step = lost * clean < 0.0f ? 1u : 0u;
    return FloatBitsToHalfAway(std::bit_cast<uint32_t>(clean) - step);
}

inline Half PlanarAdd(Half a, Half b) { return PlanarAddFloats(PlanarFloat(a), PlanarFloat(b)); }
inline Half PlanarSub(Half a, Half b) { return PlanarAddFloats(PlanarFloat(a), -PlanarFloat(b)); }

// 22 significant bits: exact in float32.
inline Half PlanarMul(Half a, Half b) { return PlanarRound(PlanarFloat(a) * PlanarFloat(b)); }

// A quotient of 11-bit numbers keeps at least a float32 ulp from every fp16 tie that it does not
// hit. -0 divides as +0.
inline Half PlanarDiv(Half a, Half b) {
    return PlanarRound(PlanarFloat(a) / (PlanarFloat(b) + 0.0f));
}

inline Half PlanarMax(Half a, Half b) {
    const Half x = HalfIsNan(a) ? kHalfInf : a, y = HalfIsNan(b) ? kHalfInf : b;
    return HalfToFloat(x) < HalfToFloat(y) ? y : x;
}
inline Half PlanarMin(Half a, Half b) {
    const Half x = HalfIsNan(a) ? kHalfInf : a, y = HalfIsNan(b) ? kHalfInf : b;
    return HalfToFloat(y) < HalfToFloat(x) ? y : x;
}

// Bounded: the chip goes by exp and log tables; this is the correctly rounded power. A negative
// base gives 0.
inline Half PlanarPow(Half a, Half b) {
    const double x = PlanarFloat(a), y = PlanarFloat(b);
    if (y == 0) return kHalfOne;
    if (x < 0) return 0;
    return DoubleToHalfAway(std::pow(x + 0.0, y));
}

inline Half PlanarFloorDiv(Half a, Half b) {
    const double x = PlanarFloat(a), y = PlanarFloat(b) + 0.0f;
    return DoubleToHalfAway(std::floor(x / y));
}

}  // namespace jax_ane::software
