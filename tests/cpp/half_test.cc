// SPDX-License-Identifier: Apache-2.0
// Half conversions over all 65,536 values and around every rounding boundary.
#include "util/half.h"

#include <doctest/doctest.h>

#include <cmath>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace jax_ane {
namespace {

// From the definition of binary16.
double Decode(Half h) {
    const int field = h >> 10 & 31, fraction = h & 1023;
    const double m =
        field == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, field - 25);
    return (h & 0x8000) != 0 ? -m : m;
}

TEST_CASE("every half survives a round trip") {
    for (int i = 0; i < 65536; ++i) {
        const Half h = static_cast<Half>(i);
        const float f = HalfToFloat(h);
        if (HalfIsNan(h)) {
            CHECK(std::isnan(f));
            CHECK(HalfIsNan(FloatToHalf(f)));
            continue;
        }
        if (!HalfIsInf(h)) CHECK(static_cast<double>(f) == Decode(h));
        CHECK(FloatToHalf(f) == h);
        CHECK(FloatToHalfAway(f) == h);
        CHECK(DoubleToHalfAway(f) == h);
    }
}

TEST_CASE("midpoints and their neighbours round as they should") {
    for (int i = 0; i < 0x7BFF; ++i) {
        const Half low = static_cast<Half>(i), high = static_cast<Half>(i + 1);
        const double middle = (Decode(low) + Decode(high)) / 2;
        const float tie = static_cast<float>(middle);
        REQUIRE(static_cast<double>(tie) == middle);
        CHECK(FloatToHalf(tie) == (i % 2 == 0 ? low : high));
        CHECK(FloatToHalfAway(tie) == high);
        CHECK(DoubleToHalfAway(middle) == high);
        const float below = std::nextafter(tie, 0.0f), above = std::nextafter(tie, 1e9f);
        CHECK(FloatToHalf(below) == low);
        CHECK(FloatToHalf(above) == high);
        CHECK(DoubleToHalfAway(std::nextafter(middle, 0.0)) == low);
        CHECK(DoubleToHalfAway(-middle) == (high | 0x8000));
        CHECK(FloatToHalfAway(-tie) == (high | 0x8000));
    }
}

#if defined(__SSE2__)
TEST_CASE("conversions do not depend on denormals, which XLA's threads flush to zero") {
    const unsigned int before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero
    int wrong = 0;
    for (int i = 0; i < 0x7C00; ++i) {
        const Half h = static_cast<Half>(i);
        const float f = HalfToFloat(h);
        wrong += FloatToHalf(f) != h || FloatToHalfAway(f) != h || DoubleToHalfAway(f) != h ||
                 static_cast<double>(f) != Decode(h);
    }
    _mm_setcsr(before);
    CHECK(wrong == 0);
}
#endif

TEST_CASE("overflow starts at 65520") {
    CHECK(FloatToHalf(65519.9961f) == 0x7BFF);
    CHECK(FloatToHalf(65520.0f) == kHalfInf);
    CHECK(FloatToHalfAway(65519.9961f) == 0x7BFF);
    CHECK(FloatToHalfAway(-65520.0f) == kHalfNegInf);
    CHECK(DoubleToHalfAway(1e300) == kHalfInf);
    CHECK(DoubleToHalfAway(std::nan("")) == 0);
    CHECK(FloatToHalf(1e-30f) == 0);
    CHECK(FloatToHalf(INFINITY) == kHalfInf);
}

}  // namespace
}  // namespace jax_ane
