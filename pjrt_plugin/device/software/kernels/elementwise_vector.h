// SPDX-License-Identifier: Apache-2.0
// The elementwise kernels behind every vector instruction set. An instruction set supplies `Isa`:
// vectors of float32, masks, and the conversions from and to fp16. The results are those of
// planar.h; the sweep tests hold the two together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "device/software/kernels/kernels.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software::vectors {
namespace {

// A kernel's operands on a whole number of vectors; the tail goes through a buffer of one vector.
template <typename Isa, typename Body>
inline void ForVectors(int64_t n, Body&& body) {
    for (int64_t i = 0; i < n; i += Isa::kLanes) {
        body(i, std::min<int64_t>(Isa::kLanes, n - i));
    }
}

// `count` halves from p; what lies beyond them reads as `pad`.
template <typename Isa>
inline typename Isa::Halves FetchPadded(const Half* p, int64_t count, Half pad) {
    if (count == Isa::kLanes) return Isa::Load(p);
    alignas(64) Half buffer[Isa::kLanes];
    Isa::Store(Isa::Splat(pad), buffer);
    std::memcpy(buffer, p, static_cast<size_t>(count) * sizeof(Half));
    return Isa::Load(buffer);
}

template <typename Isa>
inline typename Isa::Halves Fetch(const Half* p, int step, int64_t i, int64_t count) {
    if (step == 0) return Isa::Splat(*p);
    return FetchPadded<Isa>(p + i, count, 0);
}

template <typename Isa>
inline void Put(typename Isa::Halves value, Half* p, int64_t i, int64_t count) {
    if (count == Isa::kLanes) {
        Isa::Store(value, p + i);
        return;
    }
    alignas(64) Half buffer[Isa::kLanes];
    Isa::Store(value, buffer);
    std::memcpy(p + i, buffer, static_cast<size_t>(count) * sizeof(Half));
}

// ---- Planar arithmetic: see the functions of the same name in planar.h.

template <typename Isa>
struct Add {
    using F = typename Isa::Float;
    static typename Isa::Halves Exact(F x, F y) {
        // What is cut off below float32 lies beyond any tie that the sum is moved to, never short
        // of it: rounding away from zero from there is rounding the exact sum.
        return Isa::NarrowAway(Isa::NanToZero(Isa::AddTowardZero(x, y)));
    }
    static F Fast(F x, F y) { return Isa::AddF(x, y); }
};

template <typename Isa>
struct Sub {
    using F = typename Isa::Float;
    static typename Isa::Halves Exact(F x, F y) { return Add<Isa>::Exact(x, Isa::Negate(y)); }
    static F Fast(F x, F y) { return Isa::SubF(x, y); }
};

template <typename Isa>
struct Mul {
    using F = typename Isa::Float;
    static typename Isa::Halves Exact(F x, F y) {
        return Isa::NarrowAway(Isa::NanToZero(Isa::MulF(x, y)));
    }
    static F Fast(F x, F y) { return Isa::MulF(x, y); }
};

template <typename Isa>
struct Div {
    using F = typename Isa::Float;
    static typename Isa::Halves Exact(F x, F y) {
        // Adding +0 makes -0 a +0.
        return Isa::NarrowAway(Isa::NanToZero(Isa::DivF(x, Isa::AddF(y, Isa::Zero()))));
    }
    static F Fast(F x, F y) { return Isa::DivF(x, y); }
};

template <typename Isa>
struct Max {
    using F = typename Isa::Float;
    static typename Isa::Halves Exact(F x, F y) {
        return Isa::Narrow(Isa::Choose(Isa::LessF(x, y), y, x));
    }
};

template <typename Isa>
struct Min {
    using F = typename Isa::Float;
    static typename Isa::Halves Exact(F x, F y) {
        return Isa::Narrow(Isa::Choose(Isa::LessF(y, x), y, x));
    }
};

template <typename Isa, typename Op>
void BinaryExact(const Half* a, int a_step, const Half* b, int b_step, Half* out, int64_t n) {
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        const auto x = Isa::WidenPlanar(Fetch<Isa>(a, a_step, i, count));
        const auto y = Isa::WidenPlanar(Fetch<Isa>(b, b_step, i, count));
        Put<Isa>(Op::Exact(x, y), out, i, count);
    });
}

template <typename Isa, typename Op>
void BinaryFast(const Half* a, int a_step, const Half* b, int b_step, Half* out, int64_t n) {
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        const auto x = Isa::Widen(Fetch<Isa>(a, a_step, i, count));
        const auto y = Isa::Widen(Fetch<Isa>(b, b_step, i, count));
        Put<Isa>(Isa::Narrow(Op::Fast(x, y)), out, i, count);
    });
}

// ---- Comparison and selection

template <typename Isa, CompareOp kOp>
inline typename Isa::Mask CompareVectors(typename Isa::Float x, typename Isa::Float y) {
    if constexpr (kOp == CompareOp::kEqual) return Isa::EqualF(x, y);
    if constexpr (kOp == CompareOp::kNotEqual) return Isa::Not(Isa::EqualF(x, y));
    if constexpr (kOp == CompareOp::kLess) return Isa::LessF(x, y);
    if constexpr (kOp == CompareOp::kLessEqual) return Isa::Not(Isa::LessF(y, x));
    if constexpr (kOp == CompareOp::kGreater) return Isa::LessF(y, x);
    return Isa::Not(Isa::LessF(x, y));
}

template <typename Isa, CompareOp kOp>
void Compare(const Half* a, int a_step, const Half* b, int b_step, uint8_t* out, int64_t n) {
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        const auto x = Isa::WidenPlanar(Fetch<Isa>(a, a_step, i, count));
        const auto y = Isa::WidenPlanar(Fetch<Isa>(b, b_step, i, count));
        const auto mask = CompareVectors<Isa, kOp>(x, y);
        if (count == Isa::kLanes) {
            Isa::StoreBytes(mask, out + i);
            return;
        }
        alignas(64) uint8_t bytes[Isa::kLanes];
        Isa::StoreBytes(mask, bytes);
        std::memcpy(out + i, bytes, static_cast<size_t>(count));
    });
}

template <typename Isa>
void Select(const uint8_t* condition, int c_step, const Half* a, int a_step, const Half* b,
            int b_step, Half* out, int64_t n) {
    if (c_step == 0) {
        const bool yes = *condition != 0;
        const Half* from = yes ? a : b;
        const int step = yes ? a_step : b_step;
        for (int64_t i = 0; i < n; ++i) out[i] = from[i * step];
        return;
    }
    ForVectors<Isa>(n, [&](int64_t i, int64_t count) {
        const auto x = Fetch<Isa>(a, a_step, i, count);
        const auto y = Fetch<Isa>(b, b_step, i, count);
        if (count == Isa::kLanes) {
            Isa::Store(Isa::ChooseHalves(condition + i, x, y), out + i);
            return;
        }
        alignas(64) uint8_t bytes[Isa::kLanes] = {};
        std::memcpy(bytes, condition + i, static_cast<size_t>(count));
        Put<Isa>(Isa::ChooseHalves(bytes, x, y), out, i, count);
    });
}

// ---- Conversion

template <typename Isa>
void HalfRowToFloat(const Half* x, float* out, int64_t n, float scale) {
    const auto factor = Isa::SplatF(scale);
    int64_t i = 0;
    for (; i + Isa::kLanes <= n; i += Isa::kLanes)
        Isa::StoreF(Isa::MulF(Isa::Widen(Isa::Load(x + i)), factor), out + i);
    for (; i < n; ++i) out[i] = HalfToFloat(x[i]) * scale;
}

template <typename Isa>
void FloatRowToHalf(const float* x, Half* out, int64_t n, float scale) {
    const auto factor = Isa::SplatF(scale);
    int64_t i = 0;
    for (; i + Isa::kLanes <= n; i += Isa::kLanes)
        Isa::Store(Isa::Narrow(Isa::MulF(Isa::LoadF(x + i), factor)), out + i);
    for (; i < n; ++i) out[i] = FloatToHalf(x[i] * scale);
}

// Loops that the compiler turns into vectors of this file's instruction set.
template <typename Isa>
uint16_t LargestHalf(const Half* x, int64_t n) {
    int16_t largest = 0;
    for (int64_t i = 0; i < n; ++i) {
        largest = std::max(largest, static_cast<int16_t>(x[i] & 0x7FFF));
    }
    return static_cast<uint16_t>(largest);
}

template <typename Isa>
uint32_t LargestFloat(const float* x, int64_t n) {
    int32_t largest = 0;
    for (int64_t i = 0; i < n; ++i) {
        int32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        largest = std::max(largest, bits & 0x7FFFFFFF);
    }
    return static_cast<uint32_t>(largest);
}

template <typename Isa>
void Fill(KernelTable& table) {
    table.adamw = AdamW<Isa>;
    BinaryFn* exact = table.binary[static_cast<int>(NumericsMode::kExact)];
    exact[static_cast<int>(BinaryOp::kAdd)] = BinaryExact<Isa, Add<Isa>>;
    exact[static_cast<int>(BinaryOp::kSub)] = BinaryExact<Isa, Sub<Isa>>;
    exact[static_cast<int>(BinaryOp::kMul)] = BinaryExact<Isa, Mul<Isa>>;
    exact[static_cast<int>(BinaryOp::kDiv)] = BinaryExact<Isa, Div<Isa>>;
    exact[static_cast<int>(BinaryOp::kMaximum)] = BinaryExact<Isa, Max<Isa>>;
    exact[static_cast<int>(BinaryOp::kMinimum)] = BinaryExact<Isa, Min<Isa>>;
    BinaryFn* fast = table.binary[static_cast<int>(NumericsMode::kFast)];
    fast[static_cast<int>(BinaryOp::kAdd)] = BinaryFast<Isa, Add<Isa>>;
    fast[static_cast<int>(BinaryOp::kSub)] = BinaryFast<Isa, Sub<Isa>>;
    fast[static_cast<int>(BinaryOp::kMul)] = BinaryFast<Isa, Mul<Isa>>;
    fast[static_cast<int>(BinaryOp::kDiv)] = BinaryFast<Isa, Div<Isa>>;
    // NaN reads as +inf in both modes here: neither mode makes one.
    fast[static_cast<int>(BinaryOp::kMaximum)] = BinaryExact<Isa, Max<Isa>>;
    fast[static_cast<int>(BinaryOp::kMinimum)] = BinaryExact<Isa, Min<Isa>>;
    table.compare[static_cast<int>(CompareOp::kEqual)] = Compare<Isa, CompareOp::kEqual>;
    table.compare[static_cast<int>(CompareOp::kNotEqual)] = Compare<Isa, CompareOp::kNotEqual>;
    table.compare[static_cast<int>(CompareOp::kLess)] = Compare<Isa, CompareOp::kLess>;
    table.compare[static_cast<int>(CompareOp::kLessEqual)] = Compare<Isa, CompareOp::kLessEqual>;
    table.compare[static_cast<int>(CompareOp::kGreater)] = Compare<Isa, CompareOp::kGreater>;
    table.compare[static_cast<int>(CompareOp::kGreaterEqual)] =
        Compare<Isa, CompareOp::kGreaterEqual>;
    table.select = Select<Isa>;
    table.half_to_float = HalfRowToFloat<Isa>;
    table.float_to_half = FloatRowToHalf<Isa>;
    table.largest_half = LargestHalf<Isa>;
    table.largest_float = LargestFloat<Isa>;
}

}  // namespace
}  // namespace jax_ane::software::vectors
