// SPDX-License-Identifier: Apache-2.0
#include "device/software/unary_exact.h"

#include <cmath>
#include <numbers>
#include <span>

#include "device/software/kernels/planar.h"
#include "device/software/table_data.h"

namespace jax_ane::software {
namespace {

using Parameters = UnaryParameters;

// NaN operands read as +inf everywhere.
double Read(Half h) { return PlanarFloat(h); }
Half Write(double d) { return DoubleToHalfAway(d); }
Half Negate(Half h) { return h ^ 0x8000; }

// The value at `position` (in segments from the first knot; the fraction is exact), walking from
// the knot nearer zero: from the left one, or from the right one when `from_right`. Three
// roundings, as the hardware does it.
Half Interpolate(std::span<const Half> table, double position, bool from_right) {
    const int last = static_cast<int>(table.size()) - 1;
    const int i = std::min(static_cast<int>(position), last);
    const double fraction = position - i;
    if (fraction == 0) return table[i];
    const double step = Read(Write(Read(table[i + 1]) - Read(table[i])));
    if (from_right) return Write(Read(table[i + 1]) - Read(Write((1 - fraction) * step)));
    return Write(Read(table[i]) + Read(Write(fraction * step)));
}

// Tables that span both signs with knots `step` apart around zero.
Half TwoSided(std::span<const Half> table, double x, double step) {
    const double position = x / step + 16;
    return Interpolate(table, position, x < 0);
}

Half Sigmoid(Half h, const Parameters&) {
    const double x = Read(h);
    if (x <= -9.938) return 0;
    if (x >= 8.320) return kHalfOne;
    if (x < -8) return Write(Read(kSigmoidTable[0]) * (x + 9.938) / 1.938);
    if (x > 8) {
        const double edge = Read(kSigmoidTable[32]);
        return Write(edge + (1 - edge) * (x - 8) / 0.320);
    }
    return TwoSided(kSigmoidTable, x, 0.5);
}

Half Tanh(Half h, const Parameters&) {
    const double x = Read(h), m = std::fabs(x);
    const Half y = m > 4 ? kHalfOne : Interpolate(kTanhTable, m * 8, false);
    return x < 0 ? Negate(y) : y;
}

// Beyond 2 the table's end is not known; a line to 1 at 2.4 fits the published error.
Half Erf(Half h, const Parameters&) {
    const double x = Read(h), m = std::fabs(x);
    Half y = kHalfOne;
    if (m <= 2) {
        y = Interpolate(kErfTable, m * 16, false);
    } else if (m < 2.4) {
        const double edge = Read(kErfTable[32]);
        y = Write(edge + (1 - edge) * (m - 2) / 0.4);
    }
    return x < 0 ? Negate(y) : y;
}

Half Exp2Of(double t) {
    if (t >= 16) return kHalfInf;
    if (t < -26) return 0;
    const double n = std::floor(t);
    return Write(
        std::ldexp(Read(Interpolate(kExpTable, (t - n) * 32, false)), static_cast<int>(n)));
}
Half Exp2(Half h, const Parameters&) { return Exp2Of(Read(h)); }
Half Exp(Half h, const Parameters&) {
    constexpr Half kLog2e = 0x3DC5;
    return Exp2Of(Read(PlanarMul(h, kLog2e)));
}

// x = m * 4^e with m in [0.5, 2).
double SplitEven(double x, int* e) {
    int exponent;
    double m = std::frexp(x, &exponent);  // m in [0.5, 1)
    if (exponent % 2 != 0) {
        m *= 2;
        --exponent;
    }
    *e = exponent / 2;
    return m;
}

Half SqrtOf(double x) {
    if (!(x > 0)) return 0;
    if (std::isinf(x)) return kHalfInf;
    int e;
    const double m = SplitEven(x, &e);
    return Write(std::ldexp(Read(Interpolate(kSqrtTable, (m - 0.5) * 16, false)), e));
}
Half Sqrt(Half h, const Parameters&) { return SqrtOf(Read(h)); }

// x + epsilon as the planar engine adds it. Epsilons below 2^-25 are 0.
double Shifted(Half h, const Parameters& p) {
    return Read(PlanarAdd(h, FloatToHalf(static_cast<float>(p.alpha)))) + 0.0;
}

Half Rsqrt(Half h, const Parameters& p) {
    const double x = Shifted(h, p);
    if (x == 0) return kHalfInf;
    if (x < 0 || std::isinf(x)) return 0;
    int e;
    const double m = SplitEven(x, &e);
    return Write(std::ldexp(Read(Interpolate(kRsqrtTable, (m - 0.5) * 16, false)), -e));
}

// Bounded: the table's last sixteenth of an octave is unknown, so this is the correctly rounded
// logarithm.
Half Log(Half h, const Parameters& p) {
    const double x = Shifted(h, p);
    if (x == 0) return Write(-45440);
    if (x < 0 || std::isinf(x)) return 0;
    return Write(std::log(x));
}

// Bounded, for the same reason: the correctly rounded reciprocal. 1/(-0) is +inf.
Half Inverse(Half h, const Parameters& p) { return Write(1 / Shifted(h, p)); }

// sin(r) for r in [0, pi/2] by the quarter-wave table.
Half QuarterSin(double r) {
    const double position = std::min(r * (64 / std::numbers::pi), 32.0);
    return Interpolate(kSinTable, position, false);
}

// How the chip reduces large arguments is not known; this reduction is exact in float64.
Half SinOf(double x) {
    if (std::isinf(x)) return 0;
    double r = std::fmod(std::fabs(x), 2 * std::numbers::pi);
    bool negative = x < 0;
    if (r > std::numbers::pi) {
        r = 2 * std::numbers::pi - r;
        negative = !negative;
    }
    if (r > std::numbers::pi / 2) r = std::numbers::pi - r;
    const Half y = QuarterSin(std::max(r, 0.0));
    return negative ? Negate(y) : y;
}
Half Sin(Half h, const Parameters&) { return SinOf(Read(h)); }
Half Cos(Half h, const Parameters&) {
    const double x = Read(h);
    return std::isinf(x) ? 0 : SinOf(std::numbers::pi / 2 - std::fabs(x));
}

// Bounded: worst function of the chip (0.019 relative); correctly rounded here.
Half Atan(Half h, const Parameters&) { return Write(std::atan(Read(h))); }

// One table for all modes: EXACT and TANH_APPROXIMATION are bit-identical on every chip measured.
Half Gelu(Half h, const Parameters&) {
    const double x = Read(h);
    if (x <= -4) return 0;
    if (x >= 4) return Write(x);
    return TwoSided(kGeluTable, x, 0.25);
}

Half Silu(Half h, const Parameters&) {
    const double x = Read(h);
    if (x < -8) return Write(std::min(0.0, Read(kSiluTable[0]) + 0.00107 * (-8 - x)));
    if (x > 8) return Write(x);
    return TwoSided(kSiluTable, x, 0.5);
}

// Bounded: correctly rounded up to where the chip's exponential overflows and the result collapses
// to 0.
Half Softplus(Half h, const Parameters& p) {
    const double x = Read(h);
    if (x >= std::log(p.late_softplus ? 65504.0 : 32768.0)) return 0;
    return Write(x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)));
}
Half Softsign(Half h, const Parameters&) {
    const double x = Read(h);
    return std::isinf(x) ? 0 : Write(x / (1 + std::fabs(x)));
}

Half Abs(Half h, const Parameters&) { return HalfIsNan(h) ? kHalfInf : h & 0x7FFF; }
Half Square(Half h, const Parameters&) { return PlanarMul(h, h); }
Half Sign(Half h, const Parameters&) {
    const double x = Read(h);
    return x > 0 ? kHalfOne : x < 0 ? Negate(kHalfOne) : 0;
}
Half Floor(Half h, const Parameters&) { return Write(std::floor(Read(h))); }
Half Ceil(Half h, const Parameters&) { return Write(std::ceil(Read(h))); }

// Half away from zero; from 1024 on the chip adds one half in fp16, which rounds up (1024 becomes
// 1025).
Half Round(Half h, const Parameters&) {
    const double x = Read(h), m = std::fabs(x);
    const double y = std::floor(m >= 1024 ? Read(Write(m + 0.5)) : m + 0.5);
    return Write(x < 0 ? -y : y);
}

Half Relu(Half h, const Parameters&) { return PlanarMax(h, 0) == 0x8000 ? 0 : PlanarMax(h, 0); }
Half FromReal(double d) { return FloatToHalf(static_cast<float>(d)); }
Half Clip(Half h, const Parameters& p) {
    return PlanarMin(PlanarMax(h, FromReal(p.alpha)), FromReal(p.beta));
}
Half Relu6(Half h, const Parameters& p) { return PlanarMin(Relu(h, p), FromReal(6)); }
Half LeakyRelu(Half h, const Parameters& p) {
    return Read(h) >= 0 ? PlanarMax(h, h) : PlanarMul(h, FromReal(p.alpha));
}
Half Elu(Half h, const Parameters& p) {
    if (Read(h) > 0) return PlanarMax(h, h);
    return PlanarMul(FromReal(p.alpha), PlanarSub(Exp(h, p), kHalfOne));
}
Half PowScalar(Half h, const Parameters& p) { return PlanarPow(h, FromReal(p.alpha)); }
Half SigmoidHard(Half h, const Parameters& p) {
    const Half line = PlanarAdd(PlanarMul(h, FromReal(p.alpha)), FromReal(p.beta));
    return PlanarMin(PlanarMax(line, 0), kHalfOne);
}
Half Threshold(Half h, const Parameters& p) { return PlanarMax(h, FromReal(p.alpha)); }
Half ThresholdedRelu(Half h, const Parameters& p) {
    return Read(h) >= Read(FromReal(p.alpha)) ? PlanarMax(h, h) : 0;
}
Half ClampedRelu(Half h, const Parameters& p) {
    return PlanarMin(LeakyRelu(h, p), FromReal(p.beta));
}
Half LinearActivation(Half h, const Parameters& p) {
    return PlanarAdd(PlanarMul(h, FromReal(p.alpha)), FromReal(p.beta));
}
// The mean's division of an already rounded sum.
Half DivideBy(Half h, const Parameters& p) { return Write(Read(h) / p.alpha); }
Half ScaledTanh(Half h, const Parameters& p) {
    return PlanarMul(FromReal(p.alpha), Tanh(PlanarMul(h, FromReal(p.beta)), p));
}

const struct {
    const char* name;
    UnaryFunction function;
} kRows[] = {
    {"abs", Abs},
    {"atan", Atan},
    {"ceil", Ceil},
    {"clamped_relu", ClampedRelu},
    {"clip", Clip},
    {"cos", Cos},
    {"divide_by", DivideBy},
    {"elu", Elu},
    {"erf", Erf},
    {"exp", Exp},
    {"exp2", Exp2},
    {"floor", Floor},
    {"gelu", Gelu},
    {"inverse", Inverse},
    {"leaky_relu", LeakyRelu},
    {"linear_activation", LinearActivation},
    {"log", Log},
    {"pow_scalar", PowScalar},
    {"relu", Relu},
    {"relu6", Relu6},
    {"round", Round},
    {"rsqrt", Rsqrt},
    {"scaled_tanh", ScaledTanh},
    {"sigmoid", Sigmoid},
    {"sigmoid_hard", SigmoidHard},
    {"sign", Sign},
    {"silu", Silu},
    {"sin", Sin},
    {"softplus", Softplus},
    {"softsign", Softsign},
    {"sqrt", Sqrt},
    {"square", Square},
    {"tanh", Tanh},
    {"threshold", Threshold},
    {"thresholded_relu", ThresholdedRelu},
};

}  // namespace

UnaryFunction FindExactUnary(std::string_view op) {
    for (const auto& row : kRows) {
        if (op == row.name) return row.function;
    }
    return nullptr;
}

}  // namespace jax_ane::software
