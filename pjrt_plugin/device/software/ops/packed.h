// SPDX-License-Identifier: Apache-2.0
// Elements of constant data of any width, the sub-byte ones packed with the low bits first.
#pragma once

#include <cstring>

#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {

// Element i of data whose elements have `bits` bits, at most 32.
inline uint32_t Unpack(const uint8_t* bytes, int64_t i, int bits) {
    if (bits >= 8) {
        uint32_t value = 0;
        std::memcpy(&value, bytes + i * (bits / 8), static_cast<size_t>(bits / 8));
        return value;
    }
    uint32_t value = 0;
    for (int b = 0; b < bits; ++b) {
        const int64_t at = i * bits + b;
        value |= static_cast<uint32_t>(bytes[at / 8] >> (at % 8) & 1) << b;
    }
    return value;
}

// Writes element i; sub-byte targets must have been cleared.
inline void Pack(uint8_t* bytes, int64_t i, int bits, uint32_t value) {
    if (bits >= 8) {
        std::memcpy(bytes + i * (bits / 8), &value, static_cast<size_t>(bits / 8));
        return;
    }
    for (int b = 0; b < bits; ++b) {
        const int64_t at = i * bits + b;
        if ((value >> b & 1) != 0) bytes[at / 8] |= static_cast<uint8_t>(1u << (at % 8));
    }
}

// Element i as a number.
inline double ReadNumber(DType type, const uint8_t* bytes, int64_t i) {
    const int bits = mil::DTypeBits(type);
    const uint32_t raw = Unpack(bytes, i, bits);
    if (type == DType::kFp16) return HalfToDouble(static_cast<Half>(raw));
    if (type == DType::kFp32) {
        float f;
        std::memcpy(&f, &raw, 4);
        return f;
    }
    const bool is_signed = type == DType::kInt8 || type == DType::kInt4 || type == DType::kInt16 ||
                           type == DType::kInt32;
    const uint32_t sign = uint32_t{1} << (bits - 1);
    if (is_signed && (raw & sign) != 0) {
        return static_cast<double>(raw) - 2.0 * static_cast<double>(sign);
    }
    return raw;
}

// Writes a number as fp16 (ties away) or fp32.
inline void WriteReal(DType type, uint8_t* bytes, int64_t i, double value) {
    if (type == DType::kFp16) {
        Pack(bytes, i, 16, DoubleToHalfAway(value));
        return;
    }
    const float f = static_cast<float>(value);
    uint32_t raw;
    std::memcpy(&raw, &f, 4);
    Pack(bytes, i, 32, raw);
}

// Which block of `blocks` (an even division of `dims`) each element belongs to.
class BlockIndex {
  public:
    BlockIndex(const std::vector<int64_t>& dims, const std::vector<int64_t>& blocks)
        : dims_(dims), strides_(DenseStrides(blocks)) {
        for (size_t i = 0; i < dims.size(); ++i) sizes_.push_back(dims[i] / blocks[i]);
    }
    int64_t At(int64_t element) const {
        int64_t at = 0;
        for (size_t i = dims_.size(); i-- > 0;) {
            at += element % dims_[i] / sizes_[i] * strides_[i];
            element /= dims_[i];
        }
        return at;
    }

  private:
    std::vector<int64_t> dims_, sizes_, strides_;
};

// Refuses an ios18 palette (argument `lut`) that does not fit indices of these dims and type.
bool CheckPalette(OpContext& c, const std::vector<int64_t>& dims, DType index_type);

}  // namespace jax_ane::software
