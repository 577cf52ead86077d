// SPDX-License-Identifier: Apache-2.0
// quantize and dequantize of activations (numerics.md section 3): half away from zero, saturating.
#include <algorithm>
#include <cmath>

#include "device/software/kernels/planar.h"
#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

bool IsByte(DType type) { return type == DType::kInt8 || type == DType::kUint8; }

// scale and zero_point: one value, or one for each index of `axis`.
bool CheckScales(OpContext& c, DType bytes) {
    const TensorType& input = c.Type("input");
    if (c.Type("scale").rank() > 1) return c.BadValue("scale", "it must be a scalar or a vector");
    int64_t axis = 0;
    const bool vector = c.Type("scale").rank() == 1;
    if (vector && !c.Has("axis")) return c.BadValue("scale", "a vector needs the argument axis");
    if (!vector && c.Has("axis")) return c.BadValue("axis", "it needs a vector of scales");
    if (vector && !c.Axis("axis", 0, input.rank(), &axis)) return false;
    if (vector && c.Type("scale").elements() != input.dims[static_cast<size_t>(axis)]) {
        return c.BadValue("scale", "it needs one value for each index of the axis");
    }
    if (!c.Has("zero_point")) return true;
    if (c.Type("zero_point").dtype != bytes) {
        return c.Fail(Rule::kArgumentType, std::string("zero_point must be ") + DTypeName(bytes));
    }
    return c.Dims("zero_point") == c.Dims("scale") ||
           c.BadValue("zero_point", "it must be shaped like scale");
}

bool InferQuantize(OpContext& c) {
    const std::string type = c.String("output_dtype", "");
    if (type != "int8" && type != "uint8") {
        return c.BadValue("output_dtype", "\"" + type + "\" is neither int8 nor uint8");
    }
    const DType bytes = type == "int8" ? DType::kInt8 : DType::kUint8;
    if (!CheckScales(c, bytes)) return false;
    for (double scale : c.Reals("scale")) {
        if (scale == 0) return c.BadValue("scale", "it must not be 0");
    }
    c.results.push_back({bytes, c.Dims("input")});
    return true;
}

bool InferDequantize(OpContext& c) {
    const DType type = c.Type("input").dtype;
    if (!IsByte(type)) {
        return c.Fail(Rule::kArgumentType,
                      "argument input is " + ToString(c.Type("input")) + ", not int8 or uint8");
    }
    if (!CheckScales(c, type)) return false;
    c.results.push_back({DType::kFp16, c.Dims("input")});
    return true;
}

// The scale and zero point of each index of the axis, and how elements map to it.
struct Channels {
    std::vector<double> scale, zero;
    int64_t inner = 1, count = 1;
    size_t At(int64_t element) const { return static_cast<size_t>(element / inner % count); }
};

Channels ReadChannels(PlanContext& p) {
    Channels c;
    c.scale = p.Reals("scale");
    c.zero = p.Reals("zero_point");
    c.zero.resize(c.scale.size(), 0);
    const TensorType& input = p.Type("input");
    if (p.Type("scale").rank() == 1) {
        int64_t axis = 0;
        p.Axis("axis", 0, input.rank(), &axis);
        c.count = input.dims[static_cast<size_t>(axis)];
        for (size_t i = static_cast<size_t>(axis) + 1; i < input.dims.size(); ++i) {
            c.inner *= input.dims[i];
        }
    }
    return c;
}

Step PlanQuantize(PlanContext& p) {
    const Channels channels = ReadChannels(p);
    const bool is_signed = p.OutType().dtype == DType::kInt8;
    const Ref input = p.In("input"), out = p.Out();
    const int64_t n = p.OutType().elements();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(input);
        uint8_t* to = run.At<uint8_t>(out);
        const double low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
        ParallelFor(pool, n, 16384, [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin; i < end; ++i) {
                const size_t c = channels.At(i);
                // std::round goes half away from zero.
                const double q = std::round(PlanarFloat(from[i]) / channels.scale[c]);
                const double clipped = std::clamp((q == q ? q : 0) + channels.zero[c], low, high);
                to[i] = static_cast<uint8_t>(static_cast<int>(clipped));
            }
        });
    };
}

Step PlanDequantize(PlanContext& p) {
    const Channels channels = ReadChannels(p);
    const bool is_signed = p.Type("input").dtype == DType::kInt8;
    const Ref input = p.In("input"), out = p.Out();
    const int64_t n = p.OutType().elements();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const uint8_t* from = run.At<uint8_t>(input);
        Half* to = run.At<Half>(out);
        ParallelFor(pool, n, 16384, [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin; i < end; ++i) {
                const size_t c = channels.At(i);
                const int q = is_signed ? static_cast<int8_t>(from[i]) : from[i];
                to[i] = DoubleToHalfAway((q - channels.zero[c]) * channels.scale[c]);
            }
        });
    };
}

const OpDef kOps[] = {
    {"quantize", "input,scale:r!,zero_point:a?!,axis:n?!,output_dtype:s!", NumericClass::kBitExact,
     kPlain, InferQuantize, PlanQuantize},
    {"dequantize", "input:a,scale:r!,zero_point:a?!,axis:n?!", NumericClass::kBounded, kPlain,
     InferDequantize, PlanDequantize},
};

}  // namespace

OpTable QuantizeOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
