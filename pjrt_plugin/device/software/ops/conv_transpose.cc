// SPDX-License-Identifier: Apache-2.0
// conv_transpose: a stride-1 convolution over the operand with zeros between its elements, the
// kernel reversed.
#include <algorithm>

#include "device/software/ops/conv.h"

namespace jax_ane::software {
namespace {

struct TransposedConv {
    ConvShape shape;  // of the equivalent convolution
    int64_t stride[2] = {1, 1};
    int64_t in[2] = {1, 1};  // the operand's own extents
    size_t spatial = 2;      // axes
};

// Where output_shape is given it decides the extent, and what pad leaves over is added at the end.
bool ReadExtent(OpContext& c, const std::string& type, size_t i, int64_t before, int64_t after,
                TransposedConv* t) {
    Window& win = t->shape.window;
    const size_t axis = 2 - t->spatial + i;
    const int64_t span = win.span(static_cast<int>(axis));
    const int64_t full = (t->in[axis] - 1) * t->stride[axis] + span;
    int64_t out = full - before - after;
    if (type == "same" || type == "same_lower") out = t->in[axis] * t->stride[axis];
    if (c.Has("output_shape")) {
        const std::vector<int64_t> shape = c.Ints("output_shape");
        if (shape.size() != t->spatial + 2 || shape[0] != t->shape.batch ||
            shape[1] != t->shape.out_channels) {
            return c.BadValue("output_shape", "it must be the whole shape of the result");
        }
        out = shape[2 + i];
    }
    if (type == "same" || type == "same_lower") {
        const int64_t total = std::max<int64_t>(0, full - out);
        before = type == "same" ? total / 2 : total - total / 2;
    }
    if (out < 1 || out > int64_t{1} << 30) {
        return c.Fail(Rule::kShapes, "the padding cuts the whole result");
    }
    // Beyond the last element's reach there would be nothing but zeros.
    if (out + before > full + t->stride[axis] - 1 + win.dilation[axis]) {
        return c.BadValue("output_shape", "it is larger than strides, kernel and pad can make it");
    }
    win.in[axis] = (t->in[axis] - 1) * t->stride[axis] + 1;
    win.before[axis] = span - 1 - before;  // negative: the result's edge is cut
    win.out[axis] = out;
    win.after[axis] = out + span - 1 - win.in[axis] - win.before[axis];
    return true;
}

bool ReadSpatial(OpContext& c, TransposedConv* t) {
    const size_t n = t->spatial;
    const std::vector<int64_t> strides = c.Ints("strides", std::vector<int64_t>(n, 1));
    const std::vector<int64_t> dilations = c.Ints("dilations", std::vector<int64_t>(n, 1));
    const std::vector<int64_t> pad = c.Ints("pad", std::vector<int64_t>(2 * n, 0));
    const std::string type = c.String("pad_type", "valid");
    if (type != "valid" && type != "custom" && type != "same" && type != "same_lower") {
        return c.BadValue("pad_type",
                          "\"" + type + "\" is none of valid, same, same_lower, custom");
    }
    if (strides.size() != n || dilations.size() != n || pad.size() != 2 * n) {
        return c.BadValue("strides",
                          "strides and dilations need a number for each spatial axis, "
                          "pad two");
    }
    for (size_t i = 0; i < n; ++i) {
        const size_t axis = 2 - n + i;
        const int64_t before = type == "custom" ? pad[2 * i] : 0;
        const int64_t after = type == "custom" ? pad[2 * i + 1] : 0;
        if (strides[i] < 1 || strides[i] > 1024 || dilations[i] < 1 || dilations[i] > 1024 ||
            before < 0 || after < 0 || before > 65536 || after > 65536) {
            return c.BadValue("strides", "a stride, dilation or pad is out of range");
        }
        t->stride[axis] = strides[i];
        t->shape.window.dilation[axis] = dilations[i];
        if (!ReadExtent(c, type, i, before, after, t)) return false;
    }
    return true;
}

bool ReadTransposed(OpContext& c, TransposedConv* t) {
    const auto& x = c.Dims("x");
    const auto& w = c.Dims("weight");
    if (x.size() == 5) {
        return c.Fail(Rule::kConvRank, "3-D transposed convolutions have no lowering");
    }
    if ((x.size() != 3 && x.size() != 4) || w.size() != x.size()) {
        return c.Fail(Rule::kShapes,
                      "x must be [N, C, H, W] (or [N, C, W]) and weight [C, Cout/groups, kH, kW] "
                      "of the same rank");
    }
    ConvShape& s = t->shape;
    s.groups = c.Int("groups", 1);
    s.batch = x[0];
    s.in_channels = x[1];
    if (s.groups < 1 || s.groups > x[1] || x[1] % s.groups != 0 || w[0] != x[1]) {
        return c.Fail(Rule::kShapes, "x, weight and groups do not fit");
    }
    s.out_channels = w[1] * s.groups;
    t->spatial = x.size() - 2;
    for (size_t i = 0; i < t->spatial; ++i) {
        t->in[2 - t->spatial + i] = x[2 + i];
        s.window.kernel[2 - t->spatial + i] = w[2 + i];
    }
    return CheckConvolution(c, s.out_channels, std::vector<int64_t>(w.begin() + 2, w.end())) &&
           ReadSpatial(c, t);
}

bool InferTransposed(OpContext& c) {
    TransposedConv t;
    if (!ReadTransposed(c, &t)) return false;
    const Window& w = t.shape.window;
    TensorType out{DType::kFp16, {t.shape.batch, t.shape.out_channels, w.out[0], w.out[1]}};
    if (t.spatial == 1) out.dims.erase(out.dims.begin() + 2);
    c.results.push_back(std::move(out));
    return true;
}

Step PlanTransposed(PlanContext& p) {
    TransposedConv t;
    ReadTransposed(p, &t);
    const auto& w = p.Dims("weight");
    const ConvShape& s = t.shape;
    const int64_t taps = s.window.kernel[0] * s.window.kernel[1],
                  in_group = s.in_channels / s.groups, out_group = w[1];
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
    {"conv_transpose",
     "x,weight!,bias?!,pad:i?!,output_shape:i?!,pad_type:s?!,strides:i?!,dilations:i?!,groups:n?!",
     NumericClass::kBounded, kPlain, InferTransposed, PlanTransposed},
};

}  // namespace

OpTable ConvTransposeOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
