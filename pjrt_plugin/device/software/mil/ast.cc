// SPDX-License-Identifier: Apache-2.0
#include "device/software/mil/ast.h"

#include <string_view>

namespace jax_ane::software::mil {
namespace {

struct Row {
    const char* name;
    int bits;
};
// In the order of DType.
constexpr Row kTypes[] = {
    {"fp16", 16},  {"fp32", 32},   {"int8", 8},   {"uint8", 8},   {"int16", 16}, {"uint16", 16},
    {"int32", 32}, {"uint32", 32}, {"int64", 64}, {"uint64", 64}, {"bool", 8},   {"string", 0},
    {"int4", 4},   {"uint1", 1},   {"uint2", 2},  {"uint3", 3},   {"uint4", 4},  {"uint6", 6},
};

}  // namespace

const char* DTypeName(DType type) { return kTypes[static_cast<int>(type)].name; }
int DTypeBits(DType type) { return kTypes[static_cast<int>(type)].bits; }

bool ParseDType(std::string_view name, DType* type) {
    for (size_t i = 0; i < std::size(kTypes); ++i) {
        if (name == kTypes[i].name) {
            *type = static_cast<DType>(i);
            return true;
        }
    }
    return false;
}

int64_t TensorType::elements() const {
    int64_t count = 1;
    for (int64_t dim : dims) count *= dim;
    return count;
}

std::string ToString(const TensorType& type) {
    std::string text = "tensor<";
    text += DTypeName(type.dtype);
    text += ", [";
    for (size_t i = 0; i < type.dims.size(); ++i) {
        if (i > 0) text += ", ";
        text += std::to_string(type.dims[i]);
    }
    return text + "]>";
}

}  // namespace jax_ane::software::mil
