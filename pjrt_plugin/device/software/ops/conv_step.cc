// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/conv_step.h"

#include <algorithm>
#include <cstring>

namespace jax_ane::software {
namespace {

// Bytes of gathered taps held at once.
constexpr int64_t kGatherBytes = int64_t{8} << 20;

// Writes the taps of outputs [row0, row0 + rows) x width as [channels * kH * kW, rows * width].
void Gather(const Window& w, const Half* x, int64_t channels, int64_t row0, int64_t rows, Half* out,
            ThreadPool* pool) {
    const int64_t taps = w.kernel[0] * w.kernel[1], width = w.out[1];
    const int64_t grain = std::max<int64_t>(1, 16384 / (rows * width));
    ParallelFor(pool, channels * taps, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t k = begin; k < end; ++k) {
            const Half* plane = x + k / taps * w.in[0] * w.in[1];
            const int64_t dh = k % taps / w.kernel[1] * w.dilation[0] - w.before[0];
            const int64_t dw = k % w.kernel[1] * w.dilation[1] - w.before[1];
            for (int64_t r = 0; r < rows; ++r) {
                Half* row = out + (k * rows + r) * width;
                const int64_t h = (row0 + r) * w.stride[0] + dh;
                if (h < 0 || h >= w.in[0]) {
                    std::memset(row, 0, static_cast<size_t>(width) * sizeof(Half));
                    continue;
                }
                const Half* source = plane + h * w.in[1];
                for (int64_t i = 0; i < width; ++i) {
                    const int64_t at = i * w.stride[1] + dw;
                    row[i] = at >= 0 && at < w.in[1] ? source[at] : Half{0};
                }
            }
        }
    });
}

bool IsPointwise(const Window& w) {
    for (int i = 0; i < 2; ++i) {
        if (w.kernel[i] != 1 || w.stride[i] != 1 || w.before[i] != 0 || w.after[i] != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace

Step PlanDirectConv(PlanContext& p, const ConvShape& s, Ref weight, const Ref* operand) {
    const GemmKernel kernel = p.kernels().gemm[p.mode_index()];
    const Window w = s.window;
    const int64_t in_group = s.in_channels / s.groups, out_group = s.out_channels / s.groups;
    const int64_t k = in_group * w.kernel[0] * w.kernel[1];
    const bool pointwise = IsPointwise(w);
    const int64_t wanted = kGatherBytes / static_cast<int64_t>(sizeof(Half)) / (k * w.out[1]);
    const int64_t block = pointwise ? w.out[0] : std::clamp<int64_t>(wanted, 1, w.out[0]);
    const Ref taps =
        pointwise ? Ref{} : p.Scratch(static_cast<size_t>(k * block * w.out[1]) * sizeof(Half));
    const Ref scratch =
        p.Scratch(kernel.scratch_bytes(out_group, block * w.out[1], k, p.threads()));
    const bool has_bias = p.Has("bias");
    const Ref bias = has_bias ? p.In("bias") : Ref{};
    const Ref x = operand != nullptr ? *operand : p.In("x");
    const Ref out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const int64_t in_plane = w.in[0] * w.in[1], out_plane = w.out[0] * w.out[1];
        for (int64_t ng = 0; ng < s.batch * s.groups; ++ng) {
            const int64_t g = ng % s.groups;
            const Half* from = run.At<Half>(x) + ng * in_group * in_plane;
            GemmArgs args;
            args.m = out_group;
            args.k = k;
            args.a = {run.At<Half>(weight) + g * out_group * k, k, 1};
            args.c_row_stride = out_plane;
            args.bias_kind = has_bias ? BiasKind::kPerRow : BiasKind::kNone;
            args.bias = has_bias ? run.At<Half>(bias) + g * out_group : nullptr;
            args.scratch = run.At<uint8_t>(scratch);
            args.pool = pool;
            for (int64_t row = 0; row < w.out[0]; row += block) {
                const int64_t rows = std::min(block, w.out[0] - row);
                args.n = rows * w.out[1];
                args.b = {from, in_plane, 1};
                if (!pointwise) {
                    Half* gathered = run.At<Half>(taps);
                    Gather(w, from, in_group, row, rows, gathered, pool);
                    args.b = {gathered, args.n, 1};
                }
                args.c = run.At<Half>(out) + ng * out_group * out_plane + row * w.out[1];
                kernel.run(args);
            }
        }
    };
}

}  // namespace jax_ane::software
