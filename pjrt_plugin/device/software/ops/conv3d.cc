// SPDX-License-Identifier: Apache-2.0
// Convolutions of [N, C, D, H, W] by constant weights, on the chips whose compiler takes them: one
// GEMM over gathered taps for each slice of the result, channels outermost in K.
#include "device/software/ops/conv3d.h"

#include <algorithm>

#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

bool ReadThree(OpContext& c, const char* name, int64_t* to) {
    const std::vector<int64_t> values = c.Ints(name, {1, 1, 1});
    if (values.size() != 3) return c.BadValue(name, "it needs 3 numbers");
    for (size_t i = 0; i < 3; ++i) {
        if (values[i] < 1 || values[i] > 1 << 20) {
            return c.BadValue(name, std::to_string(values[i]) + " is out of range");
        }
        to[i] = values[i];
    }
    return true;
}

bool ReadVolume(OpContext& c, Volume* v) {
    const std::string type = c.String("pad_type", "valid");
    const std::vector<int64_t> pad = c.Ints("pad", std::vector<int64_t>(6, 0));
    if (type != "valid" && type != "same" && type != "same_lower" && type != "custom") {
        return c.BadValue("pad_type",
                          "\"" + type + "\" is none of valid, same, same_lower, custom");
    }
    if (pad.size() != 6) return c.BadValue("pad", "it needs 6 numbers");
    for (size_t i = 0; i < 3; ++i) {
        const int64_t span = (v->kernel[i] - 1) * v->dilation[i] + 1;
        int64_t total = 0;
        if (type == "custom") {
            if (pad[2 * i] < 0 || pad[2 * i + 1] < 0 || pad[2 * i] > 1 << 20 ||
                pad[2 * i + 1] > 1 << 20) {
                return c.BadValue("pad", "it is out of range");
            }
            v->before[i] = pad[2 * i];
            total = pad[2 * i] + pad[2 * i + 1];
        } else if (type != "valid") {
            const int64_t out = (v->in[i] + v->stride[i] - 1) / v->stride[i];
            total = std::max<int64_t>(0, (out - 1) * v->stride[i] + span - v->in[i]);
            v->before[i] = type == "same" ? total / 2 : total - total / 2;
        }
        const int64_t room = v->in[i] + total - span;
        if (room < 0) return c.Fail(Rule::kShapes, "the kernel is larger than the padded operand");
        v->out[i] = room / v->stride[i] + 1;
    }
    return true;
}

// The taps of one depth of the result as [channels * kD * kH * kW, oH * oW].
void Gather(const Volume& v, const Half* x, int64_t channels, int64_t depth, Half* out,
            ThreadPool* pool) {
    const int64_t taps = v.kernel[0] * v.kernel[1] * v.kernel[2], plane = v.out[1] * v.out[2];
    ParallelFor(pool, channels * taps, std::max<int64_t>(1, 16384 / plane),
                [&](int64_t begin, int64_t end, int) {
                    for (int64_t k = begin; k < end; ++k) {
                        const int64_t tap = k % taps;
                        const int64_t at[3] = {tap / (v.kernel[1] * v.kernel[2]),
                                               tap / v.kernel[2] % v.kernel[1], tap % v.kernel[2]};
                        const int64_t d = depth * v.stride[0] + at[0] * v.dilation[0] - v.before[0];
                        const bool inside = d >= 0 && d < v.in[0];
                        const Half* source =
                            x + (k / taps * v.in[0] + (inside ? d : 0)) * v.in[1] * v.in[2];
                        for (int64_t i = 0; i < plane; ++i) {
                            const int64_t h =
                                i / v.out[2] * v.stride[1] + at[1] * v.dilation[1] - v.before[1];
                            const int64_t w =
                                i % v.out[2] * v.stride[2] + at[2] * v.dilation[2] - v.before[2];
                            const bool good =
                                inside && h >= 0 && h < v.in[1] && w >= 0 && w < v.in[2];
                            out[k * plane + i] = good ? source[h * v.in[2] + w] : Half{0};
                        }
                    }
                });
}

}  // namespace

bool ReadConv3d(OpContext& c, Volume* v) {
    if (!c.chip().conv3d) {
        return c.Fail(Rule::kConvRank, "3-D convolutions have no lowering on " + c.chip().name +
                                           ": sum 2-D ones over depth");
    }
    if (!c.Value("weight").constant) {
        return c.Fail(Rule::kConvRank, "3-D convolutions take constant weights only");
    }
    const auto& x = c.Dims("x");
    const auto& w = c.Dims("weight");
    v->groups = c.Int("groups", 1);
    const bool fits = w.size() == 5 && v->groups >= 1 && v->groups <= x[1] &&
                      x[1] % v->groups == 0 && w[0] % v->groups == 0 && w[1] == x[1] / v->groups;
    if (!fits) {
        return c.Fail(Rule::kShapes, "x " + ToString(c.Type("x")) + ", weight " +
                                         ToString(c.Type("weight")) + " and groups " +
                                         std::to_string(v->groups) + " do not fit");
    }
    for (size_t i = 0; i < 3; ++i) {
        v->kernel[i] = w[2 + i];
        v->in[i] = x[2 + i];
    }
    return ReadThree(c, "strides", v->stride) && ReadThree(c, "dilations", v->dilation) &&
           ReadVolume(c, v);
}

Step PlanConv3d(PlanContext& p, const Volume& v) {
    const GemmKernel kernel = p.kernels().gemm[p.mode_index()];
    const auto& x_dims = p.Dims("x");
    const int64_t batch = x_dims[0], in_group = x_dims[1] / v.groups;
    const int64_t out_group = p.Dims("weight")[0] / v.groups;
    const int64_t k = in_group * v.kernel[0] * v.kernel[1] * v.kernel[2];
    const int64_t plane = v.out[1] * v.out[2];
    const Ref taps = p.Scratch(static_cast<size_t>(k * plane) * sizeof(Half));
    const Ref scratch = p.Scratch(kernel.scratch_bytes(out_group, plane, k, p.threads()));
    const bool has_bias = p.Has("bias");
    const Ref bias = has_bias ? p.In("bias") : Ref{};
    const Ref x = p.In("x"), weight = p.In("weight"), out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const int64_t in_volume = v.in[0] * v.in[1] * v.in[2], out_volume = v.out[0] * plane;
        for (int64_t ng = 0; ng < batch * v.groups; ++ng) {
            const int64_t g = ng % v.groups;
            GemmArgs args;
            args.m = out_group;
            args.n = plane;
            args.k = k;
            args.a = {run.At<Half>(weight) + g * out_group * k, k, 1};
            args.b = {run.At<Half>(taps), plane, 1};
            args.c_row_stride = out_volume;
            args.bias_kind = has_bias ? BiasKind::kPerRow : BiasKind::kNone;
            args.bias = has_bias ? run.At<Half>(bias) + g * out_group : nullptr;
            args.scratch = run.At<uint8_t>(scratch);
            args.pool = pool;
            for (int64_t d = 0; d < v.out[0]; ++d) {
                Gather(v, run.At<Half>(x) + ng * in_group * in_volume, in_group, d,
                       run.At<Half>(taps), pool);
                args.c = run.At<Half>(out) + ng * out_group * out_volume + d * plane;
                kernel.run(args);
            }
        }
    };
}

}  // namespace jax_ane::software
