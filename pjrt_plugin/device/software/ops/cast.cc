// SPDX-License-Identifier: Apache-2.0
// Casts: fp16 to and from fp32 and the small integers at a program's border, and bool to fp16
// inside.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

bool InferCast(OpContext& c) {
    TensorType type = c.Type("x");
    const std::string to = c.String("dtype", "");
    DType dtype;
    const bool known = mil::ParseDType(to, &dtype) && dtype != DType::kString &&
                       mil::DTypeBits(dtype) >= 8 && mil::DTypeBits(dtype) <= 32 &&
                       dtype != DType::kUint32;
    if (!known) return c.BadValue("dtype", "\"" + to + "\" is no type that cast knows");
    const bool from_half = type.dtype == DType::kFp16;
    if (dtype == DType::kInt32 || type.dtype == DType::kInt32 || type.dtype == DType::kUint32 ||
        mil::DTypeBits(type.dtype) > 32 || mil::DTypeBits(type.dtype) < 8) {
        return c.Fail(Rule::kInteriorType, "from " + std::string(mil::DTypeName(type.dtype)) +
                                               " to " + to +
                                               ": such integers have no place on the engine");
    }
    if (!from_half && dtype != DType::kFp16 && dtype != type.dtype) {
        return c.Fail(Rule::kInteriorType, "from " + std::string(mil::DTypeName(type.dtype)) +
                                               " to " + to + ": one side must be fp16");
    }
    type.dtype = dtype;
    c.results.push_back(std::move(type));
    return true;
}

template <typename T>
void ToHalf(const void* from, void* to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        static_cast<Half*>(to)[i] = FloatToHalf(static_cast<float>(static_cast<const T*>(from)[i]));
    }
}

// Toward zero, saturating.
template <typename T>
void FromHalf(const void* from, void* to, int64_t n) {
    constexpr float kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
    for (int64_t i = 0; i < n; ++i) {
        const float f = HalfToFloat(static_cast<const Half*>(from)[i]);
        static_cast<T*>(to)[i] = static_cast<T>(std::clamp(f == f ? f : kHigh, kLow, kHigh));
    }
}

void HalfToBool(const void* from, void* to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        static_cast<uint8_t*>(to)[i] = (static_cast<const Half*>(from)[i] & 0x7FFF) != 0;
    }
}

using Converter = void (*)(const void*, void*, int64_t);

// Null for the float32 conversions, which are kernels.
Converter FindConverter(DType from, DType to) {
    if (from == DType::kFp16) {
        switch (to) {
            case DType::kInt8:
                return FromHalf<int8_t>;
            case DType::kUint8:
                return FromHalf<uint8_t>;
            case DType::kInt16:
                return FromHalf<int16_t>;
            case DType::kUint16:
                return FromHalf<uint16_t>;
            case DType::kBool:
                return HalfToBool;
            default:
                return nullptr;
        }
    }
    switch (from) {
        case DType::kInt8:
            return ToHalf<int8_t>;
        case DType::kUint8:
        case DType::kBool:
            return ToHalf<uint8_t>;
        case DType::kInt16:
            return ToHalf<int16_t>;
        case DType::kUint16:
            return ToHalf<uint16_t>;
        default:
            return nullptr;
    }
}

Step PlanCast(PlanContext& p) {
    const DType from = p.Type("x").dtype, to = p.OutType().dtype;
    const Ref x = p.In("x"), out = p.Out();
    const int64_t n = p.OutType().elements();
    ThreadPool* pool = p.pool();
    const int64_t from_bytes = mil::DTypeBits(from) / 8, to_bytes = mil::DTypeBits(to) / 8;
    const KernelTable* kernels = &p.kernels();
    const Converter convert = FindConverter(from, to);
    return [=](const Run& run) {
        const uint8_t* source = run.At<uint8_t>(x);
        uint8_t* target = run.At<uint8_t>(out);
        ParallelFor(pool, n, 16384, [&](int64_t begin, int64_t end, int) {
            const uint8_t* s = source + begin * from_bytes;
            uint8_t* t = target + begin * to_bytes;
            const int64_t count = end - begin;
            if (from == to) {
                std::copy(s, s + count * from_bytes, t);
            } else if (to == DType::kFp32) {
                kernels->half_to_float(reinterpret_cast<const Half*>(s),
                                       reinterpret_cast<float*>(t), count, 1);
            } else if (from == DType::kFp32) {
                kernels->float_to_half(reinterpret_cast<const float*>(s),
                                       reinterpret_cast<Half*>(t), count, 1);
            } else {
                convert(s, t, count);
            }
        });
    };
}

const OpDef kOps[] = {
    {"cast", "x:a,dtype:s!", NumericClass::kBounded, kPlain, InferCast, PlanCast},
};

}  // namespace

OpTable CastOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
