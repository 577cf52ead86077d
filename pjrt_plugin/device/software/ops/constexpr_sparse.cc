// SPDX-License-Identifier: Apache-2.0
// Compressed weights of ios18: blocks of scales, sparse values that are themselves compressed, and
// casts. They are expanded when the program is loaded.
#include <algorithm>

#include "device/software/ops/packed.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

bool IsFloat(DType type) { return type == DType::kFp16 || type == DType::kFp32; }

bool CheckConstants(OpContext& c, std::initializer_list<const char*> names) {
    for (const char* name : names) {
        if (c.Has(name) && !c.Value(name).constant) {
            return c.Fail(Rule::kNotConstant,
                          std::string("argument ") + name + " must be a constant");
        }
    }
    return true;
}

bool CheckBlocks(OpContext& c, const char* name, const Dims& dims, const Dims& blocks) {
    bool fits = dims.size() == blocks.size();
    for (size_t i = 0; fits && i < dims.size(); ++i) fits = dims[i] % blocks[i] == 0;
    return fits || c.BadValue(name, "its shape must divide the data's axis by axis");
}

bool CheckShiftScale(OpContext& c, const char* data_name, const Dims& dims) {
    const DType data = c.Type(data_name).dtype;
    const bool nibbles = data == DType::kInt4 || data == DType::kUint4;
    if (!nibbles && data != DType::kInt8 && data != DType::kUint8 && !IsFloat(data)) {
        return c.Fail(Rule::kArgumentType,
                      std::string("argument ") + data_name + " cannot be " + DTypeName(data));
    }
    if (nibbles && !c.chip().int4_blockwise) {
        return c.Fail(Rule::kInt4Blockwise, "blocks of int4 do not compile on " + c.chip().name +
                                                ": use int8 per channel, or a 4-bit palette");
    }
    if (dims.empty() || !CheckBlocks(c, "scale", dims, c.Dims("scale"))) {
        return !dims.empty() || c.BadValue(data_name, "it must not be a scalar");
    }
    if (!c.Has("offset")) return true;
    if (c.Dims("offset") != c.Dims("scale")) {
        return c.BadValue("offset", "it must be shaped like scale");
    }
    const DType offset = c.Type("offset").dtype;
    return IsFloat(offset) || offset == data ||
           c.Fail(Rule::kArgumentType, "offset must have the data's type, or be fp16");
}

// scale * (data - offset) of element i, which belongs to block `at`.
struct ShiftScale {
    Ref data, scale, offset;
    DType data_type, scale_type, offset_type = DType::kFp16;
    bool has_offset = false;

    ShiftScale(PlanContext& p, const char* data_name)
        : data(p.In(data_name)),
          scale(p.In("scale")),
          data_type(p.Type(data_name).dtype),
          scale_type(p.Type("scale").dtype),
          has_offset(p.Has("offset")) {
        if (!has_offset) return;
        offset = p.In("offset");
        offset_type = p.Type("offset").dtype;
    }
    double Value(const Run& run, int64_t i, int64_t at) const {
        const double shift = has_offset ? ReadNumber(offset_type, run.At<uint8_t>(offset), at) : 0;
        return ReadNumber(scale_type, run.At<uint8_t>(scale), at) *
               (ReadNumber(data_type, run.At<uint8_t>(data), i) - shift);
    }
};

bool InferBlockwise(OpContext& c) {
    if (!CheckConstants(c, {"data", "scale", "offset"}) ||
        !CheckShiftScale(c, "data", c.Dims("data"))) {
        return false;
    }
    c.results.push_back({c.Type("scale").dtype, c.Dims("data")});
    return true;
}

Step PlanBlockwise(PlanContext& p) {
    const ShiftScale values(p, "data");
    const BlockIndex index(p.Dims("data"), p.Dims("scale"));
    const Ref out = p.Out();
    const int64_t n = p.OutType().elements();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        ParallelFor(pool, n, 65536, [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin; i < end; ++i) {
                WriteReal(values.scale_type, run.At<uint8_t>(out), i,
                          values.Value(run, i, index.At(i)));
            }
        });
    };
}

// ---- sparse in, sparse out: results are the mask and the values of its ones ----

bool CheckMask(OpContext& c, const char* mask_name, const char* data_name) {
    const GraphValue& mask = c.Value(mask_name);
    if (mask.type.dtype != DType::kUint1 || mask.type.dims.empty()) {
        return c.Fail(Rule::kArgumentType,
                      std::string("argument ") + mask_name + " must be uint1 with axes");
    }
    if (c.Type(data_name).rank() != 1) return c.BadValue(data_name, "it must be a vector");
    if (mask.is_deferred) return true;
    int64_t ones = 0;
    for (int64_t i = 0; i < mask.type.elements(); ++i) ones += Unpack(mask.constant->bytes, i, 1);
    return ones == c.Type(data_name).elements() ||
           c.BadValue(data_name, "the mask has " + std::to_string(ones) + " ones");
}

// Copies the mask and gives `value(run, j, element)` for the j-th one.
template <typename Value>
Step PlanOnes(PlanContext& p, const char* mask_name, const Value& write) {
    const Ref mask = p.In(mask_name), out_mask = p.Out(0), values = p.Out(1);
    const TensorType type = p.Type(mask_name);
    const int64_t count = p.OutType(1).elements();
    const auto value_bytes = static_cast<size_t>(p.OutType(1).bytes());
    return [=](const Run& run) {
        const uint8_t* bits = run.At<uint8_t>(mask);
        std::copy(bits, bits + type.bytes(), run.At<uint8_t>(out_mask));
        // A mask that another constexpr makes may have fewer ones than there are values.
        std::memset(run.At<uint8_t>(values), 0, value_bytes);
        int64_t j = 0;
        for (int64_t i = 0, n = type.elements(); i < n && j < count; ++i) {
            if (Unpack(bits, i, 1) != 0) write(run, j++, i);
        }
    };
}

bool InferSparseBlockwise(OpContext& c) {
    if (!CheckConstants(c, {"data_mask", "nonzero_data", "scale", "offset"}) ||
        !CheckMask(c, "data_mask", "nonzero_data") ||
        !CheckShiftScale(c, "nonzero_data", c.Dims("data_mask"))) {
        return false;
    }
    c.results.push_back(c.Type("data_mask"));
    c.results.push_back({c.Type("scale").dtype, c.Dims("nonzero_data")});
    return true;
}

Step PlanSparseBlockwise(PlanContext& p) {
    const ShiftScale values(p, "nonzero_data");
    const BlockIndex index(p.Dims("data_mask"), p.Dims("scale"));
    const Ref out = p.Out(1);
    return PlanOnes(p, "data_mask", [=](const Run& run, int64_t j, int64_t element) {
        WriteReal(values.scale_type, run.At<uint8_t>(out), j,
                  values.Value(run, j, index.At(element)));
    });
}

bool InferLutSparse(OpContext& c) {
    if (!CheckConstants(c, {"indices_mask", "indices_nonzero_data", "lut"}) ||
        !CheckMask(c, "indices_mask", "indices_nonzero_data")) {
        return false;
    }
    const DType type = c.Type("indices_nonzero_data").dtype;
    if (!CheckPalette(c, c.Dims("indices_mask"), type)) return false;
    c.results.push_back(c.Type("indices_mask"));
    c.results.push_back({c.Type("lut").dtype, c.Dims("indices_nonzero_data")});
    return true;
}

Step PlanLutSparse(PlanContext& p) {
    const Dims& lut_dims = p.Dims("lut");
    const BlockIndex index(p.Dims("indices_mask"), Dims(lut_dims.begin(), lut_dims.end() - 2));
    const Ref indices = p.In("indices_nonzero_data"), lut = p.In("lut"), out = p.Out(1);
    const int index_bits = mil::DTypeBits(p.Type("indices_nonzero_data").dtype);
    const int bits = mil::DTypeBits(p.Type("lut").dtype);
    const int64_t colours = lut_dims[lut_dims.size() - 2];
    return PlanOnes(p, "indices_mask", [=](const Run& run, int64_t j, int64_t element) {
        const int64_t at =
            index.At(element) * colours + Unpack(run.At<uint8_t>(indices), j, index_bits);
        Pack(run.At<uint8_t>(out), j, bits, Unpack(run.At<uint8_t>(lut), at, bits));
    });
}

// ---- constexpr_cast ----

bool InferCast(OpContext& c) {
    if (!CheckConstants(c, {"source_val"})) return false;
    if (c.Type("source_val").dtype != DType::kFp16 || c.String("output_dtype", "") != "fp32") {
        return c.BadValue("output_dtype", "only fp16 to fp32 exists");
    }
    c.results.push_back({DType::kFp32, c.Dims("source_val")});
    return true;
}

Step PlanCast(PlanContext& p) {
    const Ref from = p.In("source_val"), out = p.Out();
    const int64_t n = p.OutType().elements();
    const KernelTable* kernels = &p.kernels();
    return [=](const Run& run) {
        kernels->half_to_float(run.At<Half>(from), run.At<float>(out), n, 1);
    };
}

constexpr NumericClass kExact = NumericClass::kBitExact;
constexpr NumericClass kBounded = NumericClass::kBounded;

const OpDef kOps[] = {
    {"constexpr_blockwise_shift_scale", "data:a,scale:r!,offset:a?", kBounded, kConstexpr,
     InferBlockwise, PlanBlockwise},
    {"constexpr_cast", "source_val:a,output_dtype:s!", kExact, kConstexpr, InferCast, PlanCast},
    {"constexpr_lut_to_sparse", "indices_mask:a,indices_nonzero_data:a,lut:a,vector_axis:n?!",
     kExact, kConstexpr, InferLutSparse, PlanLutSparse},
    {"constexpr_sparse_blockwise_shift_scale", "data_mask:a,nonzero_data:a,scale:r!,offset:a?",
     kBounded, kConstexpr, InferSparseBlockwise, PlanSparseBlockwise},
};

}  // namespace

bool CheckPalette(OpContext& c, const Dims& dims, DType index_type) {
    const Dims& lut = c.Dims("lut");
    const DType type = c.Type("lut").dtype;
    if (!IsFloat(type) && type != DType::kInt8 && type != DType::kUint8) {
        return c.Fail(Rule::kArgumentType,
                      std::string("argument lut cannot be ") + DTypeName(type));
    }
    if (dims.empty() || lut.size() != dims.size() + 2) {
        return c.BadValue("lut", "its rank must be that of the indices plus 2");
    }
    const int bits = mil::DTypeBits(index_type);
    if (mil::DTypeName(index_type)[0] != 'u' || bits > 8 ||
        lut[lut.size() - 2] != int64_t{1} << bits) {
        return c.BadValue("lut", "it has " + std::to_string(lut[lut.size() - 2]) +
                                     " entries where indices of type " +
                                     mil::DTypeName(index_type) + " need 2^bits");
    }
    if (lut.back() != 1) {
        return c.Fail(Rule::kVectorPalette, "palettes of vectors do not compile: use scalars");
    }
    return CheckBlocks(c, "lut", dims, Dims(lut.begin(), lut.end() - 2));
}

OpTable SparseConstexprOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
