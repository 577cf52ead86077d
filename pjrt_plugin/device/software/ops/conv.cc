// SPDX-License-Identifier: Apache-2.0
// Convolutions: which there are, and which way each is computed.
#include "device/software/ops/conv.h"

#include <algorithm>

#include "device/software/ops/conv3d.h"
#include "device/software/ops/conv_step.h"
#include "device/software/ops/depthwise.h"
#include "device/software/ops/int8_step.h"
#include "device/software/ops/window.h"

namespace jax_ane::software {
namespace {

bool CheckKernelSize(OpContext& c, const std::vector<int64_t>& kernel) {
    const int64_t width = kernel.back();
    const int64_t height = kernel.size() > 1 ? kernel[kernel.size() - 2] : 1;
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

}  // namespace

bool CheckConvolution(OpContext& c, int64_t channels, const std::vector<int64_t>& kernel) {
    return CheckBias(c, channels) && CheckKernelSize(c, kernel);
}

bool ReadConv(OpContext& c, ConvShape* s) {
    const auto& x = c.Dims("x");
    const auto& w = c.Dims("weight");
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

namespace {

bool InferConv3d(OpContext& c) {
    Volume v;
    const auto& w = c.Dims("weight");
    if (!ReadConv3d(c, &v) || !CheckBias(c, w[0]) || !CheckKernelSize(c, {w[2], w[3], w[4]})) {
        return false;
    }
    c.results.push_back({DType::kFp16, {c.Dims("x")[0], w[0], v.out[0], v.out[1], v.out[2]}});
    return true;
}

bool InferConv(OpContext& c) {
    if (c.Type("x").rank() == 5) return InferConv3d(c);
    ConvShape s;
    if (!ReadConv(c, &s)) return false;
    TensorType out = c.Type("x");
    out.dims[1] = s.out_channels;
    out.dims.back() = s.window.out[1];
    if (out.rank() == 4) out.dims[2] = s.window.out[0];
    c.results.push_back(std::move(out));
    return true;
}

// Whether the weights are pruned: a mask of zeros goes with them.
bool IsPruned(const PlanContext& p) {
    const int producer = p.Value("weight").producer;
    return producer >= 0 &&
           p.graph().nodes[static_cast<size_t>(producer)].name == "constexpr_sparse_to_dense";
}

// Dense 3x3 stride 1 goes through the hardware's Winograd form on H17 and later (numerics.md
// section 2); 1x3 is guessed to be the same with one kernel row. Off for pruned weights and for
// small shapes, of which one is known: 256 channels of 8x16.
bool UsesWinograd(const PlanContext& p, const ConvShape& s) {
    const Window& w = s.window;
    const bool small = s.in_channels >= 256 && w.out[0] * w.out[1] <= 8 * 16;
    return p.chip().winograd && p.mode() == NumericsMode::kExact && s.groups == 1 && !small &&
           p.Value("weight").constant && !IsPruned(p) && (w.kernel[0] == 3 || w.kernel[0] == 1) &&
           w.kernel[1] == 3 && w.stride[0] == 1 && w.stride[1] == 1 && w.dilation[0] == 1 &&
           w.dilation[1] == 1;
}

Step PlanConv(PlanContext& p) {
    if (p.Type("x").rank() == 5) {
        Volume v;
        ReadConv3d(p, &v);
        return PlanConv3d(p, v);
    }
    if (Step step = PlanInt8(p)) return step;
    ConvShape s;
    ReadConv(p, &s);
    if (IsDepthwise(s)) return PlanDepthwise(p, s, p.In("weight"));
    return UsesWinograd(p, s) ? PlanWinograd(p, s) : PlanDirectConv(p, s, p.In("weight"));
}

const OpDef kOps[] = {
    {"conv", "x,weight,bias?!,strides:i?!,pad_type:s?!,pad:i?!,dilations:i?!,groups:n?!",
     NumericClass::kBitExact, kPlain, InferConv, PlanConv},
};

}  // namespace

OpTable ConvOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
