// SPDX-License-Identifier: Apache-2.0
// Dense 3x3 (and 1x3) stride-1 convolution as the M5 and M6 compute it: one-dimensional F(2,3)
// along the width, the transforms rounded to fp16 (ties away), the products by the ordinary
// accumulator, the outputs added in fixed point.
#include <algorithm>
#include <limits>

#include "device/software/kernels/mac.h"
#include "device/software/ops/conv_step.h"

namespace jax_ane::software {
namespace {

constexpr int kPoints = 4;

// U[p][out, channel * rows + row] from one kernel row g0 g1 g2: exact sums, rounded once.
void TransformWeights(const Half* weight, int64_t out_channels, int64_t k, Half* u) {
    for (int64_t i = 0; i < out_channels * k; ++i) {
        const Half* g = weight + i * 3;
        const double a = MacFloat(g[0]), b = MacFloat(g[1]), c = MacFloat(g[2]);
        const int64_t plane = out_channels * k;
        u[i] = g[0];
        u[plane + i] = DoubleToHalfAway((a + b + c) / 2);
        u[2 * plane + i] = DoubleToHalfAway((a - b + c) / 2);
        u[3 * plane + i] = g[2];
    }
}

// V[p][channel * kH + row, output row * pairs + pair] of output rows [row0, row0 + rows).
void TransformRows(const Window& w, const Half* x, int64_t channels, int64_t row0, int64_t rows,
                   int64_t pairs, Half* v, ThreadPool* pool) {
    const int64_t height = w.kernel[0], plane = channels * height * rows * pairs;
    ParallelFor(pool, channels * height, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t k = begin; k < end; ++k) {
            for (int64_t r = 0; r < rows; ++r) {
                const int64_t h = row0 + r + k % height - w.before[0];
                const bool inside = h >= 0 && h < w.in[0];
                const Half* source = x + (k / height * w.in[0] + (inside ? h : 0)) * w.in[1];
                auto at = [&](int64_t i) {
                    const int64_t column = i - w.before[1];
                    const bool good = inside && column >= 0 && column < w.in[1];
                    return good ? static_cast<double>(MacFloat(source[column])) : 0.0;
                };
                Half* to = v + (k * rows + r) * pairs;
                for (int64_t j = 0; j < pairs; ++j) {
                    const double d0 = at(2 * j), d1 = at(2 * j + 1), d2 = at(2 * j + 2);
                    to[j] = DoubleToHalfAway(d0 - d2);
                    to[plane + j] = DoubleToHalfAway(d1 + d2);
                    to[2 * plane + j] = DoubleToHalfAway(d2 - d1);
                    to[3 * plane + j] = DoubleToHalfAway(d1 - at(2 * j + 3));
                }
            }
        }
    });
}

// The infinities of a raw accumulator stick.
void AddRaw(MacAccumulator& sum, int32_t raw, int sign) {
    const bool infinite =
        raw == std::numeric_limits<int32_t>::max() || raw == std::numeric_limits<int32_t>::min();
    sum.Add(sign * (infinite ? (raw > 0 ? kMacLimit : -kMacLimit) * 2 : int64_t{raw}));
}

// Two outputs from the four sums of a pair; the bias (a guess of numerics.md) is added last.
void Finish(const int32_t* m, int64_t plane, Half bias, int64_t pairs, int64_t width, Half* out) {
    for (int64_t j = 0; j < pairs; ++j) {
        MacAccumulator even(0), odd(0);
        AddRaw(even, m[j], 1);
        AddRaw(even, m[plane + j], 1);
        AddRaw(even, m[2 * plane + j], 1);
        AddRaw(odd, m[plane + j], 1);
        AddRaw(odd, m[2 * plane + j], -1);
        AddRaw(odd, m[3 * plane + j], -1);
        even.Add(MacStart(bias));
        odd.Add(MacStart(bias));
        out[2 * j] = even.ToHalf();
        if (2 * j + 1 < width) out[2 * j + 1] = odd.ToHalf();
    }
}

}  // namespace

Step PlanWinograd(PlanContext& p, const ConvShape& s) {
    const GemmKernel kernel = p.kernels().gemm[static_cast<int>(NumericsMode::kExact)];
    const Window w = s.window;
    const int64_t k = s.in_channels * w.kernel[0], pairs = (w.out[1] + 1) / 2, m = s.out_channels;
    const int64_t block = std::clamp<int64_t>((int64_t{1} << 20) / (k * pairs), 1, w.out[0]);
    const int64_t columns = block * pairs;
    auto* u = reinterpret_cast<Half*>(p.Hold(static_cast<size_t>(kPoints * m * k) * sizeof(Half)));
    TransformWeights(static_cast<const Half*>(p.In("weight").fixed), m, k, u);
    const Ref v = p.Scratch(static_cast<size_t>(kPoints * k * columns) * sizeof(Half));
    const Ref sums = p.Scratch(static_cast<size_t>(kPoints * m * columns) * sizeof(int32_t));
    const Ref scratch = p.Scratch(kernel.scratch_bytes(m, columns, k, p.threads()));
    const bool has_bias = p.Has("bias");
    const Ref bias = has_bias ? p.In("bias") : Ref{};
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        for (int64_t n = 0; n < s.batch; ++n) {
            const Half* from = run.At<Half>(x) + n * s.in_channels * w.in[0] * w.in[1];
            for (int64_t row = 0; row < w.out[0]; row += block) {
                const int64_t rows = std::min(block, w.out[0] - row);
                TransformRows(w, from, s.in_channels, row, rows, pairs, run.At<Half>(v), pool);
                for (int64_t point = 0; point < kPoints; ++point) {
                    GemmArgs args;
                    args.m = m;
                    args.n = rows * pairs;
                    args.k = k;
                    args.a = {u + point * m * k, k, 1};
                    args.b = {run.At<Half>(v) + point * k * args.n, args.n, 1};
                    args.raw = run.At<int32_t>(sums) + point * m * args.n;
                    args.c_row_stride = args.n;
                    args.scratch = run.At<uint8_t>(scratch);
                    args.pool = pool;
                    kernel.run(args);
                }
                ParallelFor(pool, m * rows, 16, [&](int64_t begin, int64_t end, int) {
                    for (int64_t i = begin; i < end; ++i) {
                        const int64_t channel = i / rows, r = i % rows;
                        Finish(run.At<int32_t>(sums) + i * pairs, m * rows * pairs,
                               has_bias ? run.At<Half>(bias)[channel] : Half{0}, pairs, w.out[1],
                               run.At<Half>(out) +
                                   ((n * m + channel) * w.out[0] + row + r) * w.out[1]);
                    }
                });
            }
        }
    };
}

}  // namespace jax_ane::software
