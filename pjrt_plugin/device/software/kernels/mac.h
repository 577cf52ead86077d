// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the chip's multiply-accumulate unit on single values: Q15.16 fixed point,
// numerics.md section 1. The reference kernels and the checked (overflow) paths of all vector
// kernels are made of these.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "util/half.h"

namespace jax_ane::software {

// An fp16 operand as the unit reads it: value = mantissa * 2^(exponent - 10). Exponent field 31 is
// an ordinary number, so +inf is 65536 and the NaN 0x7E00 is 98304.
struct MacOperand {
    int32_t mantissa;  // signed, 11 bits
    int32_t exponent;  // -14 for subnormals and zero
};

inline MacOperand DecodeMac(Half h) {
    const int32_t field = (h >> 10) & 31;
    const int32_t mantissa = (h & 0x3FF) | (field != 0 ? 0x400 : 0);
    return {(h & 0x8000) != 0 ? -mantissa : mantissa, std::max(field, 1) - 15};
}

// The same as float32, exactly.
inline float MacFloat(Half h) {
    const uint32_t magnitude = h & 0x7FFFu;
    const uint32_t subnormal =
        std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
    const uint32_t normal = (magnitude << 13) + (112u << 23);
    const uint32_t bits = magnitude < 0x400u ? subnormal : normal;
    return std::bit_cast<float>(bits | ((h & 0x8000u) << 16));
}

inline int32_t MacExponent(Half h) { return std::max((h >> 10) & 31, 1) - 15; }

// Products whose exponents sum to this or less are dropped whatever they are worth.
inline constexpr int32_t kMacDropExponent = -17;
inline constexpr int64_t kMacLimit = int64_t{1} << 31;  // 2^15 in units of 2^-16

// value * 2^(shift) rounded to an integer, ties away from zero.
inline int64_t ShiftRoundAway(int64_t value, int shift) {
    if (shift >= 0) return value * (int64_t{1} << shift);
    const int64_t magnitude = value < 0 ? -value : value;
    const int64_t rounded = shift < -62 ? 0 : (magnitude + (int64_t{1} << (-shift - 1))) >> -shift;
    return value < 0 ? -rounded : rounded;
}

// A product in units of 2^-16.
inline int64_t MacProduct(MacOperand a, MacOperand b) {
    const int32_t exponent = a.exponent + b.exponent;
    if (exponent <= kMacDropExponent) return 0;
    return ShiftRoundAway(int64_t{a.mantissa} * b.mantissa, exponent - 4);
}

// A bias, or any single fp16 value, in units of 2^-16.
inline int64_t MacStart(Half bias) {
    const MacOperand b = DecodeMac(bias);
    return ShiftRoundAway(b.mantissa, b.exponent + 6);
}

// The accumulator: once a partial sum reaches 2^15 in magnitude it is infinite for good. The chip's
// order over k is not published; every kernel here uses ascending k.
class MacAccumulator {
  public:
    explicit MacAccumulator(int64_t start) { Add(start); }
    void Add(int64_t term) {
        if (infinite_ != 0) return;
        sum_ += term;
        if (sum_ >= kMacLimit) infinite_ = 1;
        if (sum_ <= -kMacLimit) infinite_ = -1;
    }
    // In units of 2^-16, with the infinities as INT32_MAX and INT32_MIN.
    int32_t Raw() const {
        if (infinite_ > 0) return std::numeric_limits<int32_t>::max();
        if (infinite_ < 0) return std::numeric_limits<int32_t>::min();
        return static_cast<int32_t>(sum_);
    }
    Half ToHalf() const;

  private:
    int64_t sum_ = 0;
    int infinite_ = 0;
};

// A finite accumulator to fp16: ties away from zero, zero is +0.
inline Half MacRoundToHalf(int64_t sum) {
    return sum == 0 ? 0 : DoubleToHalfAway(static_cast<double>(sum) * 0x1p-16);
}

inline Half MacAccumulator::ToHalf() const {
    if (infinite_ != 0) return infinite_ > 0 ? kHalfInf : kHalfNegInf;
    return MacRoundToHalf(sum_);
}

}  // namespace jax_ane::software
