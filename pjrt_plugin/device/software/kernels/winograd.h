// SPDX-License-Identifier: Apache-2.0
// The transforms of the two-dimensional Winograd form F(2x2, 3x3): 16 products in place of 36 for
// four outputs. Only for `fast` numerics; the chip's own form is ops/winograd.cc. Vectors run over
// channels. An instruction set supplies `Isa` as for gemm_blocked.h.
#pragma once

#include <algorithm>

#include "device/software/kernels/kernels.h"

// Internal linkage, as in gemm_blocked.h: no linker may mix instruction sets.
namespace jax_ane::software::winograd {
namespace {

// One row or column of the input transform.
template <typename V>
inline void Forward(const V& a, const V& b, const V& c, const V& d, V* out) {
    out[0] = a - c;
    out[1] = b + c;
    out[2] = c - b;
    out[3] = b - d;
}

// One row or column of the output transform.
template <typename V>
inline void Backward(const V& a, const V& b, const V& c, const V& d, V* out) {
    out[0] = a + b + c;
    out[1] = b - c - d;
}

// A float vector with operators; one float for the reference and the tails.
template <typename Isa>
struct Vector {
    typename Isa::Float v;
    static constexpr int64_t kLanes = Isa::kLanes;
    static Vector FromHalves(const Half* p) { return {Isa::WidenUnaligned(p)}; }
    static Vector FromFloats(const float* p) { return {Isa::LoadUnaligned(p)}; }
    void ToHalves(Half* p) const { Isa::NarrowUnaligned(v, p); }
    friend Vector operator+(Vector a, Vector b) { return {Isa::AddF(a.v, b.v)}; }
    friend Vector operator-(Vector a, Vector b) { return {Isa::SubF(a.v, b.v)}; }
};

struct Scalar {
    float v;
    static constexpr int64_t kLanes = 1;
    static Scalar FromHalves(const Half* p) { return {HalfToFloat(*p)}; }
    static Scalar FromFloats(const float* p) { return {*p}; }
    void ToHalves(Half* p) const { *p = FloatToHalf(v); }
    friend Scalar operator+(Scalar a, Scalar b) { return {a.v + b.v}; }
    friend Scalar operator-(Scalar a, Scalar b) { return {a.v - b.v}; }
};

template <typename V>
int64_t InputPart(const Half* const* pixels, int64_t begin, int64_t channels, Half* v,
                  int64_t stride) {
    int64_t c = begin;
    for (; c + V::kLanes <= channels; c += V::kLanes) {
        V rows[4][4];
        for (int i = 0; i < 4; ++i) {
            Forward(V::FromHalves(pixels[i] + c), V::FromHalves(pixels[4 + i] + c),
                    V::FromHalves(pixels[8 + i] + c), V::FromHalves(pixels[12 + i] + c), rows[i]);
        }
        for (int i = 0; i < 4; ++i) {
            V out[4];
            Forward(rows[0][i], rows[1][i], rows[2][i], rows[3][i], out);
            for (int j = 0; j < 4; ++j) out[j].ToHalves(v + (4 * i + j) * stride + c);
        }
    }
    return c;
}

template <typename V>
int64_t OutputPart(const float* m, int64_t stride, int64_t begin, int64_t channels,
                   Half* const* out) {
    int64_t c = begin;
    for (; c + V::kLanes <= channels; c += V::kLanes) {
        V columns[4][2];
        for (int j = 0; j < 4; ++j) {
            const float* point = m + j * stride + c;
            Backward(V::FromFloats(point), V::FromFloats(point + 4 * stride),
                     V::FromFloats(point + 8 * stride), V::FromFloats(point + 12 * stride),
                     columns[j]);
        }
        for (int i = 0; i < 2; ++i) {
            V pair[2];
            Backward(columns[0][i], columns[1][i], columns[2][i], columns[3][i], pair);
            for (int j = 0; j < 2; ++j) {
                if (out[2 * i + j] != nullptr) pair[j].ToHalves(out[2 * i + j] + c);
            }
        }
    }
    return c;
}

template <typename V>
void Input(const Half* const* pixels, int64_t channels, Half* v, int64_t stride) {
    const int64_t done = InputPart<V>(pixels, 0, channels, v, stride);
    InputPart<Scalar>(pixels, done, channels, v, stride);
}

template <typename V>
void Output(const float* m, int64_t stride, int64_t channels, Half* const* out) {
    const int64_t done = OutputPart<V>(m, stride, 0, channels, out);
    OutputPart<Scalar>(m, stride, done, channels, out);
}

template <typename V>
void Fill(KernelTable& table) {
    table.winograd_input = Input<V>;
    table.winograd_output = Output<V>;
}

}  // namespace
}  // namespace jax_ane::software::winograd
