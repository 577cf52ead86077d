// SPDX-License-Identifier: Apache-2.0
// The real functions in float64, rounded to float32 and then, ties to even, to fp16: the `fast`
// mode.
#include <cmath>

#include "device/software/unary_exact.h"

namespace jax_ane::software {
namespace {

using Parameters = UnaryParameters;

// double -> float -> fp16, with odd rounding in between so that the two steps cannot land on a
// false tie.
Half Store(double d) {
    float f = static_cast<float>(d);
    if (static_cast<double>(f) != d && std::isfinite(f) && d == d) {
        uint32_t bits = std::bit_cast<uint32_t>(f);
        if (std::fabs(static_cast<double>(f)) > std::fabs(d)) --bits;
        f = std::bit_cast<float>(bits | 1u);
    }
    return FloatToHalf(f);
}

double Gelu(double x) { return 0.5 * x * std::erfc(-x * 0.7071067811865476); }
double Softplus(double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }
double Leaky(double x, const Parameters& p) { return x >= 0 ? x : p.alpha * x; }
double RoundAway(double x) { return std::round(x); }
double Sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
double Clip(double x, double low, double high) { return std::fmin(std::fmax(x, low), high); }

#define JAX_ANE_ROW(name, expression)                         \
    {name, [](Half h, [[maybe_unused]] const Parameters& p) { \
         const double x = HalfToDouble(h);                    \
         return Store(expression);                            \
     }}

const struct {
    const char* name;
    UnaryFunction function;
} kRows[] = {
    JAX_ANE_ROW("abs", std::fabs(x)),
    JAX_ANE_ROW("atan", std::atan(x)),
    JAX_ANE_ROW("ceil", std::ceil(x)),
    JAX_ANE_ROW("clamped_relu", std::fmin(Leaky(x, p), p.beta)),
    JAX_ANE_ROW("clip", Clip(x, p.alpha, p.beta)),
    JAX_ANE_ROW("cos", std::cos(x)),
    JAX_ANE_ROW("divide_by", x / p.alpha),
    JAX_ANE_ROW("elu", x > 0 ? x : p.alpha * std::expm1(x)),
    JAX_ANE_ROW("erf", std::erf(x)),
    JAX_ANE_ROW("exp", std::exp(x)),
    JAX_ANE_ROW("exp2", std::exp2(x)),
    JAX_ANE_ROW("floor", std::floor(x)),
    JAX_ANE_ROW("gelu", Gelu(x)),
    JAX_ANE_ROW("inverse", 1 / (x + p.alpha)),
    JAX_ANE_ROW("leaky_relu", Leaky(x, p)),
    JAX_ANE_ROW("linear_activation", p.alpha* x + p.beta),
    JAX_ANE_ROW("log", std::log(x + p.alpha)),
    JAX_ANE_ROW("pow_scalar", std::pow(x, p.alpha)),
    JAX_ANE_ROW("relu", std::fmax(x, 0)),
    JAX_ANE_ROW("relu6", Clip(x, 0, 6)),
    JAX_ANE_ROW("round", RoundAway(x)),
    JAX_ANE_ROW("rsqrt", 1 / std::sqrt(x + p.alpha)),
    JAX_ANE_ROW("scaled_tanh", p.alpha* std::tanh(p.beta* x)),
    JAX_ANE_ROW("sigmoid", 1 / (1 + std::exp(-x))),
    JAX_ANE_ROW("sigmoid_hard", Clip(p.alpha* x + p.beta, 0, 1)),
    JAX_ANE_ROW("sign", Sign(x)),
    JAX_ANE_ROW("silu", x / (1 + std::exp(-x))),
    JAX_ANE_ROW("sin", std::sin(x)),
    JAX_ANE_ROW("softplus", Softplus(x)),
    JAX_ANE_ROW("softsign", x / (1 + std::fabs(x))),
    JAX_ANE_ROW("sqrt", std::sqrt(x)),
    JAX_ANE_ROW("square", x* x),
    JAX_ANE_ROW("tanh", std::tanh(x)),
    JAX_ANE_ROW("threshold", std::fmax(x, p.alpha)),
    JAX_ANE_ROW("thresholded_relu", x >= p.alpha ? x : 0),
};
#undef JAX_ANE_ROW

}  // namespace

UnaryFunction FindFastUnary(std::string_view op) {
    for (const auto& row : kRows) {
        if (op == row.name) return row.function;
    }
    return nullptr;
}

}  // namespace jax_ane::software
