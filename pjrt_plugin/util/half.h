// SPDX-License-Identifier: Apache-2.0
// fp16 as bits: decoding, and rounding to nearest with ties to even (NumPy's cast) or ties away
// from zero (the chip's). Nothing here makes or needs a subnormal float32, because XLA:CPU calls us
// with denormals flushed to zero.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace jax_ane {

using Half = uint16_t;  // the bits of an IEEE binary16

inline constexpr Half kHalfInf = 0x7C00;
inline constexpr Half kHalfNegInf = 0xFC00;
inline constexpr Half kHalfOne = 0x3C00;

inline bool HalfIsNan(Half h) { return (h & 0x7FFF) > 0x7C00; }
inline bool HalfIsInf(Half h) { return (h & 0x7FFF) == 0x7C00; }

// Exact. NaN keeps its payload.
inline float HalfToFloat(Half h) {
    const uint32_t magnitude = h & 0x7FFFu;
    const uint32_t sign = (h & 0x8000u) << 16;
    const uint32_t normal = (magnitude << 13) + (112u << 23);
    const uint32_t subnormal =
        std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
    uint32_t bits = magnitude < 0x400u ? subnormal : normal;
    bits = magnitude >= 0x7C00u ? (magnitude << 13) | 0x7F800000u : bits;
    return std::bit_cast<float>(bits | sign);
}

// Nearest, ties to even; NaN becomes a quiet NaN with the top of its payload.
inline Half FloatToHalf(float f) {
    const uint32_t bits = std::bit_cast<uint32_t>(f);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t u = bits & 0x7FFFFFFFu;
    const uint32_t normal = (u + 0xFFFu + ((u >> 13) & 1u) - (112u << 23)) >> 13;
    // The last bit of 0.5f is worth 2^-24, fp16's smallest step, so the addition does the rounding.
    const float small = std::bit_cast<float>(u < (113u << 23) ? u : 0u);
    const uint32_t subnormal = std::bit_cast<uint32_t>(small + 0.5f) - 0x3F000000u;
    uint32_t result = u < (113u << 23) ? subnormal : normal;
    result = u >= 0x477FF000u ? 0x7C00u : result;
    result = u > 0x7F800000u ? (0x7E00u | ((u >> 13) & 0x3FFu)) : result;
    return static_cast<Half>(result | sign);
}

// Nearest, ties away from zero, of a float32 given as bits. `bits` must not be a NaN. Exact for
// every value whose distance from a tie shows in float32.
inline Half FloatBitsToHalfAway(uint32_t bits) {
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t u = bits & 0x7FFFFFFFu;
    const uint32_t normal = (u + 0x1000u - (112u << 23)) >> 13;
    const float small = std::bit_cast<float>(u < (113u << 23) ? u : 0u);
    const uint32_t subnormal = static_cast<uint32_t>(static_cast<int32_t>(small * 0x1p24f + 0.5f));
    uint32_t result = u < (113u << 23) ? subnormal : normal;
    result = u >= 0x477FF000u ? 0x7C00u : result;
    return static_cast<Half>(result | sign);
}

inline Half FloatToHalfAway(float f) { return FloatBitsToHalfAway(std::bit_cast<uint32_t>(f)); }

// Nearest, ties away from zero. NaN becomes +0, as the chip never produces a NaN.
inline Half DoubleToHalfAway(double d) {
    if (d != d) return 0;
    const Half sign = std::signbit(d) ? 0x8000 : 0;
    const double m = std::fabs(d);
    if (m >= 65520.0) return sign | kHalfInf;
    if (m < 0x1p-14) return sign | static_cast<Half>(std::round(m * 0x1p24));
    const uint64_t bits = std::bit_cast<uint64_t>(m) + (uint64_t{1} << 41);
    return sign | static_cast<Half>((bits >> 42) - (uint64_t{1008} << 10));
}

inline double HalfToDouble(Half h) { return HalfToFloat(h); }

}  // namespace jax_ane
