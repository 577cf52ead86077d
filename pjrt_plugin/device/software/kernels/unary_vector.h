// SPDX-License-Identifier: Apache-2.0
// The fast mode's unary functions in vectors of float32, for every vector instruction set. Each is
// within 2^-17 of the function, relatively, where results are normal fp16 numbers; float32 has 13
// bits more than fp16, so nearly every result is the correctly rounded one.
//
// The coefficients are minimax fits (Lawson's iteration) over the intervals that are named.
#pragma once

#include "device/software/kernels/elementwise_vector.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software::vectors {
namespace {

// c0 + x * (c1 + x * (c2 + ...)).
template <typename Isa, typename... Rest>
inline typename Isa::Float Horner(typename Isa::Float x, float first, Rest... rest) {
    if constexpr (sizeof...(rest) == 0) {
        return Isa::SplatF(first);
    } else {
        return Isa::Fma(Horner<Isa>(x, rest...), x, Isa::SplatF(first));
    }
}

inline constexpr float kLog2e = 1.44269504f;
// 1.5 * 2^23: added to a number it leaves the nearest integer in the low bits.
inline constexpr float kExponentMagic = 12582912.0f;

// What a caller knows of the exponent: anything, so that 2^x must become 0 far down, or that it
// stays in the range of normal numbers, where scaling is an addition to the exponent's bits.
enum class Range2 { kAny, kNormal };

// 2^x, x = `factor` * v, for x in [-127, 127.5) (0 from -126.5 down), or [-125, 127]. The
// polynomial is within 2^-23.6 of 2^rest on [-0.5, 0.5], that of degree 4 within 2^-18.5.
template <typename Isa, Range2 kRange = Range2::kAny, int kDegree = 5>
inline typename Isa::Float Exp2Of(typename Isa::Float v, float factor) {
    using F = typename Isa::Float;
    const float bias = kRange == Range2::kAny ? 127.0f : 0.0f;
    const F magic = Isa::SplatF(kExponentMagic + bias), f = Isa::SplatF(factor);
    const F t = Isa::Fma(v, f, magic);
    const F rest = Isa::Fma(v, f, Isa::Negate(Isa::SubF(t, magic)));
    F power;
    if constexpr (kDegree == 4) {
        power = Horner<Isa>(rest, 0.999999285f, 0.693121791f, 0.240247443f, 0.0559178703f,
                            0.00957010314f);
    } else {
        power = Horner<Isa>(rest, 1.00000012f, 0.693146944f, 0.240221202f, 0.0555071346f,
                            0.00967554282f, 0.00132764736f);
    }
    const F exponent = Isa::ShiftIntoExponent(t);
    return kRange == Range2::kAny ? Isa::MulF(power, exponent) : Isa::AddBits(power, exponent);
}

// e^x for any x: 0 for -inf, 2^127 for +inf, NaN for NaN.
template <typename Isa>
inline typename Isa::Float ExpOf(typename Isa::Float x) {
    const auto low = Isa::SplatF(-88.0f), high = Isa::SplatF(88.0f);
    return Exp2Of<Isa>(Isa::MinF(high, Isa::MaxF(low, x)), kLog2e);
}

template <typename Isa>
struct Unary {
    using F = typename Isa::Float;

    static F Abs(F x, F, F) { return Isa::AbsF(x); }
    static F Clip(F x, F a, F b) { return Isa::MinF(Isa::MaxF(x, a), b); }
    static F Square(F x, F, F) { return Isa::MulF(x, x); }
    static F Sqrt(F x, F, F) { return Isa::SqrtF(x); }
    static F Shifted(F x, F a, F b) { return Isa::AddF(Isa::AddF(x, a), b); }
    static F Inverse(F x, F a, F b) { return Isa::DivF(Isa::SplatF(1.0f), Shifted(x, a, b)); }
    static F Rsqrt(F x, F a, F b) {
        return Isa::DivF(Isa::SplatF(1.0f), Isa::SqrtF(Shifted(x, a, b)));
    }
    static F LeakyRelu(F x, F a, F) {
        // NaN is not less than 0, and its own product.
        return Isa::Choose(Isa::LessF(x, Isa::Zero()), Isa::MulF(x, a), x);
    }

    static F Exp(F x, F, F) { return ExpOf<Isa>(x); }
    static F Exp2(F x, F, F) {
        const F low = Isa::SplatF(-127.0f), high = Isa::SplatF(127.0f);
        return Exp2Of<Isa>(Isa::MinF(high, Isa::MaxF(low, x)), 1.0f);
    }

    // e / (1 + e) with e = e^x: keeps the relative accuracy of the left tail, and is 0 at -inf.
    static F Sigmoid(F x, F, F) {
        const F e =
            Exp2Of<Isa>(Isa::MinF(Isa::SplatF(60.0f), Isa::MaxF(Isa::SplatF(-88.0f), x)), kLog2e);
        return Isa::MulF(e, Isa::Reciprocal(Isa::AddF(e, Isa::SplatF(1.0f))));
    }
    static F Silu(F x, F a, F b) { return Isa::MulF(x, Sigmoid(x, a, b)); }

    // max(x, 0) - t * Phi(-t) with t = |x|, and Phi(-t) = e^(-t^2 / 2) times a rational that is
    // within 2^-18.3 of Mills' ratio / sqrt(2 pi) on [0, 5.9]. Beyond 13 there is nothing left to
    // take off. (x + t) / 2 makes NaN of -inf, which is what x * (1 + erf(x)) gives.
    static F Gelu(F x, F, F) {
        const F one = Isa::SplatF(1.0f);
        const F magnitude = Isa::AbsF(x);
        const F t = Isa::MinF(Isa::SplatF(13.0f), magnitude);
        const F e = Exp2Of<Isa, Range2::kNormal, 4>(Isa::MulF(t, t), -0.5f * kLog2e);
        const F over = Horner<Isa>(t, 0.50000155f, 0.242812902f, 0.0490269735f);
        const F under = Isa::Fma(Horner<Isa>(t, 1.28363454f, 0.621433616f, 0.122106329f), t, one);
        const F ratio = Isa::MulF(over, Isa::Reciprocal(under));
        const F taken = Isa::MulF(Isa::MulF(t, e), ratio);
        return Isa::SubF(Isa::MulF(Isa::AddF(x, magnitude), Isa::SplatF(0.5f)), taken);
    }

    // Odd rationals and polynomials in x^2; beyond the clamps the results round to one.
    static F Tanh(F x, F, F) {
        const F limit = Isa::SplatF(5.0f);
        const F v = Isa::MinF(limit, Isa::MaxF(Isa::Negate(limit), x));
        const F square = Isa::MulF(v, v);
        // On [-5, 5]: 2^-18.9.
        const F over = Horner<Isa>(square, 0.999997973f, 0.116617672f, 0.00163710536f);
        const F under = Horner<Isa>(square, 1.0f, 0.449934751f, 0.0183037929f, 6.44612300e-05f);
        return Isa::MulF(Isa::MulF(v, over), Isa::Reciprocal(under));
    }
    static F Erf(F x, F, F) {
        const F limit = Isa::SplatF(2.9f);
        const F v = Isa::MinF(limit, Isa::MaxF(Isa::Negate(limit), x));
        // On [-2.9, 2.9]: 2^-21.
        const F odd =
            Horner<Isa>(Isa::MulF(v, v), 1.12837863f, -0.376113325f, 0.112778865f, -0.0267585777f,
                        0.00512041990f, -0.000794780848f, 9.79357428e-05f, -9.12102132e-06f,
                        5.93779248e-07f, -2.37434783e-08f, 4.34441566e-10f);
        return Isa::MulF(v, odd);
    }
};

template <typename Isa, typename Isa::Float (*kFunction)(typename Isa::Float, typename Isa::Float,
                                                         typename Isa::Float)>
void UnaryLoop(const Half* x, Half* out, int64_t n, float a, float b) {
    const auto first = Isa::SplatF(a), second = Isa::SplatF(b);
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        const auto value = Isa::Widen(FetchPadded<Isa>(x + i, count, 0));
        Put<Isa>(Isa::Narrow(kFunction(value, first, second)), out, i, count);
    });
}

template <typename Isa>
void FillUnary(KernelTable& table) {
    auto set = [&](UnaryOp op, UnaryFn kernel) { table.unary[static_cast<int>(op)] = kernel; };
    set(UnaryOp::kAbs, UnaryLoop<Isa, Unary<Isa>::Abs>);
    set(UnaryOp::kClip, UnaryLoop<Isa, Unary<Isa>::Clip>);
    set(UnaryOp::kErf, UnaryLoop<Isa, Unary<Isa>::Erf>);
    set(UnaryOp::kExp, UnaryLoop<Isa, Unary<Isa>::Exp>);
    set(UnaryOp::kExp2, UnaryLoop<Isa, Unary<Isa>::Exp2>);
    set(UnaryOp::kGelu, UnaryLoop<Isa, Unary<Isa>::Gelu>);
    set(UnaryOp::kInverse, UnaryLoop<Isa, Unary<Isa>::Inverse>);
    set(UnaryOp::kLeakyRelu, UnaryLoop<Isa, Unary<Isa>::LeakyRelu>);
    set(UnaryOp::kRsqrt, UnaryLoop<Isa, Unary<Isa>::Rsqrt>);
    set(UnaryOp::kSigmoid, UnaryLoop<Isa, Unary<Isa>::Sigmoid>);
    set(UnaryOp::kSilu, UnaryLoop<Isa, Unary<Isa>::Silu>);
    set(UnaryOp::kSqrt, UnaryLoop<Isa, Unary<Isa>::Sqrt>);
    set(UnaryOp::kSquare, UnaryLoop<Isa, Unary<Isa>::Square>);
    set(UnaryOp::kTanh, UnaryLoop<Isa, Unary<Isa>::Tanh>);
}

}  // namespace
}  // namespace jax_ane::software::vectors
