// SPDX-License-Identifier: Apache-2.0
// Inputs that are scaled by a power of two on their way in, so that small gradients survive fp16
// and the MAC's 2^-16; the compiler knows which may be (jax_ane/compiler/scaling.py). The scale
// follows from the inputs of the call alone, so that equal calls give equal bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace jax_ane::runtime {

// Which arguments are scaled, and which results with them. Empty where none is.
struct Scaling {
    std::vector<bool> inputs;
    std::vector<bool> outputs;
    // Inputs at least this large stay as they are.
    float below = 0;
    // By how many powers of two the program itself makes each result too large; empty for none.
    std::vector<int> lifted;

    bool any() const { return !inputs.empty(); }
    int lift(size_t output) const { return lifted.empty() ? 0 : lifted[output]; }
    // How far the exponent may go down when results overflow: as if nothing had been lifted.
    int lowest() const {
        return lifted.empty() ? 0 : -*std::max_element(lifted.begin(), lifted.end());
    }
};

// What smaller ones are brought to. A backward pass may let them grow 2^9 times before the
// accumulator overflows, and products of numbers down to 2^-22 of the largest are still counted.
inline constexpr int kTargetExponent = 6;
inline constexpr int kMostExponent = 60;
// Taken off when a result is infinite, before the call is done again.
inline constexpr int kBackOff = 4;

// The exponent of the scale for inputs of this largest magnitude; 0 for none, also where that is
// zero, `below` or more, or NaN.
inline int ScaleExponent(float largest, float below) {
    if (!(largest > 0) || largest >= below) return 0;
    int exponent = 0;
    std::frexp(largest, &exponent);  // largest < 2^exponent
    const int wanted = kTargetExponent - exponent;
    return wanted < kMostExponent ? wanted : kMostExponent;
}

}  // namespace jax_ane::runtime
