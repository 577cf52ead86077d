// SPDX-License-Identifier: Apache-2.0
// The real functions in float64, rounded to float32 and then, ties to even, to fp16: the `fast`
// mode.
#include <cmath>
#include <limits>

#include "device/software/unary_exact.h"

namespace jax_ane::software {
namespace {

using Parameters = UnaryParameters;

// Odd rounding: what is not a float32 gets its last bit set, so that no later comparison or
// rounding sees a false tie.
float ToOddFloat(double d) {
    const float f = static_cast<float>(d);
    if (static_cast<double>(f) == d || !std::isfinite(f) || d != d) return f;
    uint32_t bits = std::bit_cast<uint32_t>(f);
    if (std::fabs(static_cast<double>(f)) > std::fabs(d)) --bits;
    return std::bit_cast<float>(bits | 1u);
}

Half Store(double d) { return FloatToHalf(ToOddFloat(d)); }

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

DirectUnary FindDirectUnary(std::string_view op, const UnaryParameters& p,
                            const KernelTable& kernels) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    auto direct = [&](UnaryOp name, float a = 0, float b = 0) {
        return DirectUnary{kernels.unary[static_cast<int>(name)], a, b};
    };
    // An epsilon in two parts, the second what float32 lacks of it: x + epsilon may cancel.
    const auto epsilon = static_cast<float>(p.alpha);
    const auto rest = static_cast<float>(p.alpha - static_cast<double>(epsilon));
    if (op == "abs") return direct(UnaryOp::kAbs);
    if (op == "clip") return direct(UnaryOp::kClip, ToOddFloat(p.alpha), ToOddFloat(p.beta));
    if (op == "erf") return direct(UnaryOp::kErf);
    if (op == "exp") return direct(UnaryOp::kExp);
    if (op == "exp2") return direct(UnaryOp::kExp2);
    if (op == "gelu") return direct(UnaryOp::kGelu);
    if (op == "inverse") return direct(UnaryOp::kInverse, epsilon, rest);
    if (op == "leaky_relu") return direct(UnaryOp::kLeakyRelu, static_cast<float>(p.alpha));
    if (op == "relu") return direct(UnaryOp::kClip, 0, kInfinity);
    if (op == "relu6") return direct(UnaryOp::kClip, 0, 6);
    if (op == "rsqrt") return direct(UnaryOp::kRsqrt, epsilon, rest);
    if (op == "sigmoid") return direct(UnaryOp::kSigmoid);
    if (op == "silu") return direct(UnaryOp::kSilu);
    if (op == "sqrt") return direct(UnaryOp::kSqrt);
    if (op == "square") return direct(UnaryOp::kSquare);
    if (op == "tanh") return direct(UnaryOp::kTanh);
    if (op == "threshold") return direct(UnaryOp::kClip, ToOddFloat(p.alpha), kInfinity);
    return {};
}

}  // namespace jax_ane::software
