// SPDX-License-Identifier: Apache-2.0
// Compressed weights: int8 scales, palettes and sparse values in the ios16 forms (flat data and a
// shape) and the ios18 forms (shaped data), expanded when the program is loaded.
#include <cstring>

#include "device/software/ops/packed.h"

namespace jax_ane::software {
namespace {

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

bool CheckConstant(OpContext& c, const char* name) {
    return c.Value(name).constant.has_value() ||
           c.Fail(Rule::kNotConstant, std::string("argument ") + name + " must be a constant");
}

bool InferLut(OpContext& c) {
    if (!CheckConstant(c, "indices") || !CheckConstant(c, "lut")) return false;
    if (!c.Has("shape")) {
        if (!CheckPalette(c, c.Dims("indices"), c.Type("indices").dtype)) return false;
        c.results.push_back({c.Type("lut").dtype, c.Dims("indices")});
        return true;
    }
    TensorType out;
    if (!ReadShape(c, &out)) return false;
    if (c.Type("lut").dtype != DType::kFp16) {
        return c.Fail(Rule::kArgumentType, "argument lut must be fp16");
    }
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
    const int bits = mil::DTypeBits(p.OutType().dtype);
    const std::vector<int64_t>& lut_dims = p.Dims("lut");
    // The flat form has one palette for all.
    const bool flat = p.Has("shape");
    const int64_t colours = flat ? p.Type("lut").elements() : lut_dims[lut_dims.size() - 2];
    const std::vector<int64_t> groups =
        flat ? std::vector<int64_t>(p.OutType().dims.size(), 1)
             : std::vector<int64_t>(lut_dims.begin(), lut_dims.end() - 2);
    const BlockIndex index(p.OutType().dims, groups);
    int index_bits = 0;
    while (int64_t{1} << index_bits < colours) ++index_bits;
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const auto* palette = run.At<uint8_t>(lut);
        ParallelFor(pool, n, 65536, [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin; i < end; ++i) {
                const int64_t at = (flat ? 0 : index.At(i) * colours) +
                                   Unpack(run.At<uint8_t>(indices), i, index_bits);
                Pack(run.At<uint8_t>(out), i, bits, Unpack(palette, at, bits));
            }
        });
    };
}

// The mask is mostly data of the program, so its count of ones can be checked when the program is
// compiled.
bool InferSparse(OpContext& c) {
    TensorType out;
    if (!CheckConstant(c, "nonzero_data") || !CheckConstant(c, "mask")) return false;
    const GraphValue& mask = c.Value("mask");
    out.dtype = c.Type("nonzero_data").dtype;
    if (mil::DTypeBits(out.dtype) == 0 || mil::DTypeBits(out.dtype) > 32) {
        return c.Fail(Rule::kArgumentType, "argument nonzero_data must hold numbers");
    }
    if (c.Has("shape")) {
        const DType type = out.dtype;
        if (!ReadShape(c, &out)) return false;
        out.dtype = type;
        if (mask.type.dtype != DType::kUint8 || mask.type.elements() != (out.elements() + 7) / 8) {
            return c.BadValue("mask",
                              "it must be uint8 with one bit for each element of " + ToString(out));
        }
    } else if (mask.type.dtype != DType::kUint1) {
        return c.Fail(Rule::kArgumentType, "without a shape the mask must be uint1");
    } else {
        out.dims = mask.type.dims;
    }
    int64_t ones = 0;
    for (int64_t i = 0; !mask.is_deferred && i < out.elements(); ++i) {
        ones += Unpack(mask.constant->bytes, i, 1);
    }
    if (!mask.is_deferred && ones != c.Type("nonzero_data").elements()) {
        return c.BadValue("nonzero_data", "the mask has " + std::to_string(ones) + " ones");
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanSparse(PlanContext& p) {
    const Ref mask = p.In("mask"), data = p.In("nonzero_data"), out = p.Out();
    const int64_t n = p.OutType().elements(), count = p.Type("nonzero_data").elements();
    const int bits = mil::DTypeBits(p.OutType().dtype);
    const auto bytes = static_cast<size_t>(p.OutType().bytes());
    return [=](const Run& run) {
        auto* to = run.At<uint8_t>(out);
        std::memset(to, 0, bytes);
        int64_t next = 0;
        for (int64_t i = 0; i < n && next < count; ++i) {
            if (Unpack(run.At<uint8_t>(mask), i, 1) == 0) continue;
            Pack(to, i, bits, Unpack(run.At<uint8_t>(data), next++, bits));
        }
    };
}

constexpr NumericClass kBounded = NumericClass::kBounded;

const OpDef kOps[] = {
    {"constexpr_affine_dequantize", "quantized_data:a!,zero_point:a!,scale:r!,axis:n!", kBounded,
     kConstexpr, InferAffine, PlanAffine},
    {"constexpr_lut_to_dense", "indices:a,lut:a,shape:i?!,vector_axis:n?!", NumericClass::kBitExact,
     kConstexpr, InferLut, PlanLut},
    {"constexpr_sparse_to_dense", "nonzero_data:a,mask:a,shape:i?!", NumericClass::kBitExact,
     kConstexpr, InferSparse, PlanSparse},
};

}  // namespace

OpTable ConstexprOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
