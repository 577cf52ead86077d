// SPDX-License-Identifier: Apache-2.0
// Compressed weights (the ios16 attribute forms), expanded to fp16 when the program is loaded.
#include <cstring>

#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

// Element i of packed data, low bits first.
uint32_t Unpack(const uint8_t* bytes, int64_t i, int bits) {
    uint32_t value = 0;
    for (int b = 0; b < bits; ++b) {
        const int64_t at = i * bits + b;
        value |= static_cast<uint32_t>(bytes[at / 8] >> (at % 8) & 1) << b;
    }
    return value;
}

float ReadReal(const TensorType& type, const uint8_t* bytes, int64_t i) {
    if (type.dtype == DType::kFp32) {
        float f;
        std::memcpy(&f, bytes + 4 * i, 4);
        return f;
    }
    Half h;
    std::memcpy(&h, bytes + 2 * i, 2);
    return HalfToFloat(h);
}

int32_t ReadByte(const TensorType& type, const uint8_t* bytes, int64_t i) {
    return type.dtype == DType::kInt8 ? static_cast<int8_t>(bytes[i]) : bytes[i];
}

bool InferAffine(OpContext& c) {
    const TensorType& data = c.Type("quantized_data");
    int64_t axis;
    if (data.dtype != DType::kInt8 && data.dtype != DType::kUint8) {
        return c.Fail(Rule::kArgumentType, "quantized_data must be int8 or uint8");
    }
    if (data.dims.empty() || !c.Axis("axis", 0, data.rank(), &axis)) return false;
    for (const char* name : {"scale", "zero_point"}) {
        const int64_t count = c.Type(name).elements();
        if (count != 1 && count != data.dims[static_cast<size_t>(axis)]) {
            return c.BadValue(name, "it needs one value, or one for each index of the axis");
        }
    }
    if (c.Type("zero_point").dtype != data.dtype) {
        return c.Fail(Rule::kArgumentType, "zero_point must have the data's type");
    }
    c.results.push_back({DType::kFp16, data.dims});
    return true;
}

Step PlanAffine(PlanContext& p) {
    const TensorType data = p.Type("quantized_data");
    int64_t axis = 0;
    p.Axis("axis", 0, data.rank(), &axis);
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(axis) + 1; i < data.dims.size(); ++i) inner *= data.dims[i];
    const int64_t extent = data.dims[static_cast<size_t>(axis)];
    const Ref bytes = p.In("quantized_data"), scales = p.In("scale"), zeros = p.In("zero_point");
    const TensorType scale_type = p.Type("scale"), zero_type = p.Type("zero_point");
    const Ref out = p.Out();
    return [=](const Run& run) {
        Half* to = run.At<Half>(out);
        for (int64_t i = 0, n = data.elements(); i < n; ++i) {
            const int64_t channel = i / inner % extent;
            const int64_t s = scale_type.elements() == 1 ? 0 : channel;
            const int64_t z = zero_type.elements() == 1 ? 0 : channel;
            const int32_t q = ReadByte(data, run.At<uint8_t>(bytes), i) -
                              ReadByte(zero_type, run.At<uint8_t>(zeros), z);
            const float f =
                ReadReal(scale_type, run.At<uint8_t>(scales), s) * static_cast<float>(q);
            to[i] = FloatToHalfAway(f == f ? f : 0.0f);
        }
    };
}

// The shape attribute of the ios16 forms.
bool ReadShape(OpContext& c, TensorType* out) {
    out->dtype = DType::kFp16;
    out->dims = c.Ints("shape");
    int64_t elements = 1;
    for (int64_t dim : out->dims) {
        if (dim < 1 || dim > (int64_t{1} << 31) / elements) {
            return c.BadValue("shape", "a dimension out of range");
        }
        elements *= dim;
    }
    return true;
}

bool InferLut(OpContext& c) {
    TensorType out;
    if (!ReadShape(c, &out)) return false;
    const int64_t colours = c.Type("lut").elements();
    int bits = 0;
    for (int candidate : {1, 2, 4, 6, 8}) {
        if (colours == int64_t{1} << candidate) bits = candidate;
    }
    if (bits == 0) return c.BadValue("lut", "it needs 2, 4, 16, 64 or 256 entries");
    if (c.Type("indices").dtype != DType::kUint8 ||
        c.Type("indices").elements() != (out.elements() * bits + 7) / 8) {
        return c.BadValue("indices", "they must be uint8, packed for " + ToString(out));
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanLut(PlanContext& p) {
    const Ref indices = p.In("indices"), lut = p.In("lut"), out = p.Out();
    const int64_t n = p.OutType().elements();
    int bits = 0;
    while (int64_t{1} << bits < p.Type("lut").elements()) ++bits;
    return [=](const Run& run) {
        for (int64_t i = 0; i < n; ++i) {
            run.At<Half>(out)[i] = run.At<Half>(lut)[Unpack(run.At<uint8_t>(indices), i, bits)];
        }
    };
}

// The mask is data of the program, so its count of ones can be checked when the program is
// compiled.
bool InferSparse(OpContext& c) {
    TensorType out;
    if (!ReadShape(c, &out)) return false;
    const GraphValue& mask = c.Value("mask");
    const int64_t n = out.elements();
    if (mask.type.dtype != DType::kUint8 || mask.type.elements() != (n + 7) / 8) {
        return c.BadValue("mask",
                          "it must be uint8 with one bit for each element of " + ToString(out));
    }
    int64_t ones = 0;
    for (int64_t i = 0; i < n; ++i) ones += Unpack(mask.constant->bytes, i, 1);
    if (ones != c.Type("nonzero_data").elements()) {
        return c.BadValue("nonzero_data", "the mask has " + std::to_string(ones) + " ones");
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanSparse(PlanContext& p) {
    const Ref mask = p.In("mask"), data = p.In("nonzero_data"), out = p.Out();
    const int64_t n = p.OutType().elements();
    return [=](const Run& run) {
        const Half* next = run.At<Half>(data);
        for (int64_t i = 0; i < n; ++i) {
            run.At<Half>(out)[i] = Unpack(run.At<uint8_t>(mask), i, 1) != 0 ? *next++ : Half{0};
        }
    };
}

constexpr NumericClass kBounded = NumericClass::kBounded;

const OpDef kOps[] = {
    {"constexpr_affine_dequantize", "quantized_data:a!,zero_point:a!,scale:r!,axis:n!", kBounded,
     kConstexpr, InferAffine, PlanAffine},
    {"constexpr_lut_to_dense", "indices:a!,lut!,shape:i!", NumericClass::kBitExact, kConstexpr,
     InferLut, PlanLut},
    {"constexpr_sparse_to_dense", "nonzero_data!,mask:a!,shape:i!", NumericClass::kBitExact,
     kConstexpr, InferSparse, PlanSparse},
};

}  // namespace

OpTable ConstexprOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
