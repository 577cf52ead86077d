// SPDX-License-Identifier: Apache-2.0
// Convolutions as GEMM over gathered taps: [Cout/g, Cin/g*kH*kW] x [Cin/g*kH*kW, outputs], channels
// outermost in K.
#include <algorithm>

#include "device/software/ops/conv_step.h"
#include "device/software/ops/window.h"

namespace jax_ane::software {
namespace {

bool CheckKernelSize(OpContext& c, const std::vector<int64_t>& kernel) {
    const int64_t width = kernel.back();
    const int64_t height = kernel.size() > 1 ? kernel[0] : 1;
    if (width > c.chip().max_conv_kernel_width) {
        return c.Fail(Rule::kConvKernelWidth, "the kernel is " + std::to_string(width) + " wide, " +
                                                  c.chip().name + " takes at most " +
                                                  std::to_string(c.chip().max_conv_kernel_width) +
                                                  ": split it along the width and add");
    }
    if (height > c.chip().max_conv_kernel_height) {
        return c.Fail(Rule::kConvKernelHeight, "the kernel is " + std::to_string(height) +
                                                   " high, " + c.chip().name + " takes at most " +
                                                   std::to_string(c.chip().max_conv_kernel_height) +
                                                   ": split it along the height and add");
    }
    return true;
}

bool CheckBias(OpContext& c, int64_t channels) {
    if (!c.Has("bias") || c.Dims("bias") == std::vector<int64_t>{channels}) return true;
    return c.Fail(Rule::kShapes, "bias is " + ToString(c.Type("bias")) + ", not [" +
                                     std::to_string(channels) + "]");
}

bool ReadConv(OpContext& c, ConvShape* s) {
    const auto& x = c.Dims("x");
    const auto& w = c.Dims("weight");
    if (x.size() == 5) {
        return c.Fail(Rule::kConvRank,
                      "3-D convolutions have no lowering: sum 2-D ones over depth");
    }
    if ((x.size() != 3 && x.size() != 4) || w.size() != x.size()) {
        return c.Fail(Rule::kShapes,
                      "x must be [N, C, H, W] (or [N, C, W]) and weight of the same "
                      "rank, not " +
                          ToString(c.Type("x")) + " and " + ToString(c.Type("weight")));
    }
    s->groups = c.Int("groups", 1);
    s->batch = x[0];
    s->in_channels = x[1];
    s->out_channels = w[0];
    if (s->groups < 1 || s->groups > x[1] || x[1] % s->groups != 0 || w[0] % s->groups != 0 ||
        w[1] != x[1] / s->groups) {
        return c.Fail(Rule::kShapes, "x " + ToString(c.Type("x")) + ", weight " +
                                         ToString(c.Type("weight")) + " and groups " +
                                         std::to_string(s->groups) + " do not fit");
    }
    if (!c.Value("weight").constant && (s->batch != 1 || s->groups != 1)) {
        return c.Fail(Rule::kRuntimeConvWeight,
                      "run-time weights work at batch 1 and with one group only: bake them, or "
                      "gather the taps and use matmul");
    }
    const std::vector<int64_t> kernel(w.begin() + 2, w.end());
    return CheckBias(c, w[0]) && CheckKernelSize(c, kernel) &&
           ReadWindow(c, kernel, "valid", &s->window);
}

bool InferConv(OpContext& c) {
    ConvShape s;
    if (!ReadConv(c, &s)) return false;
    TensorType out = c.Type("x");
    out.dims[1] = s.out_channels;
    out.dims.back() = s.window.out[1];
    if (out.rank() == 4) out.dims[2] = s.window.out[0];
    c.results.push_back(std::move(out));
    return true;
}

// Dense 3x3 stride 1 goes through the hardware's Winograd form on H17 and later (numerics.md
// section 2).
bool UsesWinograd(const PlanContext& p, const ConvShape& s) {
    const Window& w = s.window;
    return p.chip().winograd && p.mode() == NumericsMode::kExact && s.groups == 1 &&
           p.Value("weight").constant && w.kernel[0] == 3 && w.kernel[1] == 3 && w.stride[0] == 1 &&
           w.stride[1] == 1 && w.dilation[0] == 1 && w.dilation[1] == 1;
}

Step PlanConv(PlanContext& p) {
    ConvShape s;
    ReadConv(p, &s);
    return UsesWinograd(p, s) ? PlanWinograd(p, s) : PlanDirectConv(p, s, p.In("weight"));
}

// ---- conv_transpose: a stride-1 convolution over the operand with zeros between its elements, the
// kernel reversed ----

struct TransposedConv {
    ConvShape shape;  // of the equivalent convolution
    int64_t stride[2] = {1, 1};
    int64_t in[2] = {1, 1};  // the operand's own extents
};

bool ReadTransposed(OpContext& c, TransposedConv* t) {
    const auto& x = c.Dims("x");
    const auto& w = c.Dims("weight");
    if (x.size() != 4 || w.size() != 4) {
        return c.Fail(Rule::kShapes, "x must be [N, C, H, W] and weight [C, Cout/groups, kH, kW]");
    }
    ConvShape& s = t->shape;
    s.groups = c.Int("groups", 1);
    s.batch = x[0];
    s.in_channels = x[1];
    s.out_channels = w[1] * s.groups;
    if (s.groups < 1 || s.groups > x[1] || x[1] % s.groups != 0 || w[0] != x[1]) {
        return c.Fail(Rule::kShapes, "x, weight and groups do not fit");
    }
    if (c.Has("output_shape")) return c.BadValue("output_shape", "it is not modelled: use pad");
    const std::vector<int64_t> strides = c.Ints("strides", {1, 1});
    const std::vector<int64_t> dilations = c.Ints("dilations", {1, 1});
    const std::vector<int64_t> pad = c.Ints("pad", {0, 0, 0, 0});
    const std::string type = c.String("pad_type", "valid");
    if (type != "valid" && type != "custom") {
        return c.BadValue("pad_type", "only valid and custom are modelled");
    }
    if (strides.size() != 2 || dilations.size() != 2 || pad.size() != 4) {
        return c.BadValue("strides", "strides and dilations need 2 numbers, pad 4");
    }
    for (size_t i = 0; i < 2; ++i) {
        const int64_t before = type == "custom" ? pad[2 * i] : 0;
        const int64_t after = type == "custom" ? pad[2 * i + 1] : 0;
        if (strides[i] < 1 || strides[i] > 1024 || dilations[i] < 1 || dilations[i] > 1024 ||
            before < 0 || after < 0 || before > 65536 || after > 65536) {
            return c.BadValue("strides", "a stride, dilation or pad is out of range");
        }
        Window& win = s.window;
        const int64_t span = (w[2 + i] - 1) * dilations[i] + 1;
        t->stride[i] = strides[i];
        t->in[i] = x[2 + i];
        win.kernel[i] = w[2 + i];
        win.dilation[i] = dilations[i];
        win.in[i] = (x[2 + i] - 1) * strides[i] + 1;
        win.before[i] = span - 1 - before;  // negative: the result's edge is cut
        win.after[i] = span - 1 - after;
        win.out[i] = win.in[i] + win.before[i] + win.after[i] - span + 1;
        if (win.out[i] < 1) return c.Fail(Rule::kShapes, "the padding cuts the whole result");
    }
    return CheckBias(c, s.out_channels) && CheckKernelSize(c, {w[2], w[3]});
}

bool InferTransposed(OpContext& c) {
    TransposedConv t;
    if (!ReadTransposed(c, &t)) return false;
    const Window& w = t.shape.window;
    c.results.push_back({DType::kFp16, {t.shape.batch, t.shape.out_channels, w.out[0], w.out[1]}});
    return true;
}

Step PlanTransposed(PlanContext& p) {
    TransposedConv t;
    ReadTransposed(p, &t);
    const auto& w = p.Dims("weight");
    const ConvShape& s = t.shape;
    const int64_t taps = w[2] * w[3], in_group = s.in_channels / s.groups, out_group = w[1];
    // [Cin, Cout/g, kH, kW] to [Cout, Cin/g, kH, kW], the taps reversed.
    auto* turned = reinterpret_cast<Half*>(
        p.Hold(static_cast<size_t>(s.in_channels * w[1] * taps) * sizeof(Half)));
    const auto* weight = static_cast<const Half*>(p.In("weight").fixed);
    for (int64_t g = 0; g < s.groups; ++g) {
        for (int64_t i = 0; i < in_group; ++i) {
            for (int64_t o = 0; o < out_group; ++o) {
                const Half* from = weight + ((g * in_group + i) * out_group + o) * taps;
                Half* to = turned + ((g * out_group + o) * in_group + i) * taps;
                for (int64_t k = 0; k < taps; ++k) to[k] = from[taps - 1 - k];
            }
        }
    }
    const Window& win = s.window;
    const Ref x = p.In("x");
    const int64_t planes = s.batch * s.in_channels, spread = win.in[0] * win.in[1];
    const Ref zeros = p.Scratch(static_cast<size_t>(planes * spread) * sizeof(Half));
    Ref fixed;
    fixed.fixed = turned;
    const Step conv = PlanDirectConv(p, s, fixed, &zeros);
    return [=](const Run& run) {
        Half* to = run.At<Half>(zeros);
        const Half* from = run.At<Half>(x);
        std::fill(to, to + planes * spread, Half{0});
        for (int64_t r = 0; r < planes * t.in[0]; ++r) {
            Half* row = to + r / t.in[0] * spread + r % t.in[0] * t.stride[0] * win.in[1];
            for (int64_t i = 0; i < t.in[1]; ++i) row[i * t.stride[1]] = from[r * t.in[1] + i];
        }
        conv(run);
    };
}

const OpDef kOps[] = {
    {"conv", "x,weight,bias?!,strides:i?!,pad_type:s?!,pad:i?!,dilations:i?!,groups:n?!",
     NumericClass::kBitExact, kPlain, InferConv, PlanConv},
    {"conv_transpose",
     "x,weight!,bias?!,pad:i?!,output_shape:i?!,pad_type:s?!,strides:i?!,dilations:i?!,groups:n?!",
     NumericClass::kBounded, kPlain, InferTransposed, PlanTransposed},
};

}  // namespace

OpTable ConvOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
