// SPDX-License-Identifier: Apache-2.0
// The table of element types and the size of a dense array.
#include "pjrt/element_type.h"

#include <array>
#include <limits>
#include <string>

namespace jax_ane::pjrt {
namespace {

// Indexed by PJRT_Buffer_Type.
constexpr std::array<ElementType, 32> kTypes = {{
    {nullptr, 0, false},
    {"bool", 1, false},
    {"int8", 1, false},
    {"int16", 2, false},
    {"int32", 4, false},
    {"int64", 8, false},
    {"uint8", 1, false},
    {"uint16", 2, false},
    {"uint32", 4, false},
    {"uint64", 8, false},
    {"float16", 2, false},
    {"float32", 4, false},
    {"float64", 8, false},
    {"bfloat16", 2, false},
    {"complex64", 8, false},
    {"complex128", 16, false},
    {"float8_e5m2", 1, false},
    {"float8_e4m3fn", 1, false},
    {"float8_e4m3b11fnuz", 1, false},
    {"float8_e5m2fnuz", 1, false},
    {"float8_e4m3fnuz", 1, false},
    {"int4", 1, true},
    {"uint4", 1, true},
    {"token", 0, false},
    {"int2", 1, true},
    {"uint2", 1, true},
    {"float8_e4m3", 1, false},
    {"float8_e3m4", 1, false},
    {"float8_e8m0fnu", 1, false},
    {"float4_e2m1fn", 1, true},
    {"int1", 1, true},
    {"uint1", 1, true},
}};

}  // namespace

const ElementType* FindElementType(PJRT_Buffer_Type type) {
    const int index = type;
    if (index <= 0 || index >= static_cast<int>(kTypes.size())) return nullptr;
    return &kTypes[index];
}

StatusOr<size_t> DenseByteSize(PJRT_Buffer_Type type, const std::vector<int64_t>& dims) {
    const ElementType* element = FindElementType(type);
    if (!element) {
        return InvalidArgument("PJRT element type " + std::to_string(type) +
                               " is not known to jax-ane");
    }
    int64_t bytes = element->byte_size;
    bool overflow = false;
    bool empty = false;
    for (int64_t dim : dims) {
        if (dim < 0) return InvalidArgument("a dimension is negative: " + std::to_string(dim));
        empty = empty || dim == 0;
        overflow = overflow || __builtin_mul_overflow(bytes, dim, &bytes);
    }
    if (empty) return size_t{0};
    if (overflow) return InvalidArgument("an array's size in bytes does not fit 63 bits");
    return static_cast<size_t>(bytes);
}

}  // namespace jax_ane::pjrt
