// SPDX-License-Identifier: Apache-2.0
#include "device/software/constants.h"

#include <cmath>
#include <cstring>

#include "device/software/mil/blob.h"
#include "util/half.h"

namespace jax_ane::software {
namespace {

// Nearest fp16, ties to even, with one rounding.
Half RealToHalf(double d) {
    const double m = std::fabs(d);
    if (m < 0x1p-14) {
        const Half bits = static_cast<Half>(std::nearbyint(m * 0x1p24));
        return std::signbit(d) ? bits | 0x8000 : bits;
    }
    if (m >= 65520.0) return std::signbit(d) ? kHalfNegInf : kHalfInf;
    const int exponent = std::ilogb(m);
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(m, 10 - exponent)), exponent - 10);
    return FloatToHalf(static_cast<float>(std::copysign(rounded, d)));
}

void PackBits(std::vector<uint8_t>& bytes, size_t index, int bits, int64_t value) {
    for (int b = 0; b < bits; ++b) {
        const size_t at = index * static_cast<size_t>(bits) + static_cast<size_t>(b);
        if ((value >> b & 1) != 0) bytes[at / 8] |= static_cast<uint8_t>(1u << (at % 8));
    }
}

}  // namespace

ConstData PackLiteral(const mil::Value& value) {
    ConstData data;
    data.strings = value.strings;
    const int bits = mil::DTypeBits(value.type.dtype);
    auto bytes = std::make_shared<std::vector<uint8_t>>(
        (value.scalars.size() * static_cast<size_t>(bits) + 7) / 8);
    for (size_t i = 0; i < value.scalars.size(); ++i) {
        const mil::Scalar& s = value.scalars[i];
        if (value.type.dtype == DType::kFp16) {
            const Half h = RealToHalf(s.value());
            std::memcpy(bytes->data() + i * 2, &h, 2);
        } else if (value.type.dtype == DType::kFp32) {
            const float f = static_cast<float>(s.value());
            std::memcpy(bytes->data() + i * 4, &f, 4);
        } else if (bits >= 8) {
            std::memcpy(bytes->data() + i * static_cast<size_t>(bits / 8), &s.integer,
                        static_cast<size_t>(bits / 8));
        } else {
            PackBits(*bytes, i, bits, s.integer);
        }
    }
    data.bytes = bytes->data();
    data.size = bytes->size();
    data.owner = std::move(bytes);
    return data;
}

std::optional<ConstData> FindBlob(const mil::Value& value, const device::Blobs& blobs,
                                  Findings* findings) {
    if (value.text.rfind("@model_path/", 0) != 0) {
        findings->push_back({Rule::kBlobPath, value.position,
                             "BLOBFILE path \"" + value.text + "\" must start with @model_path/"});
        return std::nullopt;
    }
    const auto it = blobs.find(value.text);
    if (it == blobs.end() || it->second == nullptr) {
        findings->push_back({Rule::kBlobPath, value.position,
                             "there is no blob file \"" + value.text + "\" among the " +
                                 std::to_string(blobs.size()) + " given"});
        return std::nullopt;
    }
    const mil::BlobResult found = mil::ReadBlob(*it->second, value.offset, value.type);
    if (!found.ok) {
        findings->push_back({found.rule, value.position, value.text + ": " + found.error});
        return std::nullopt;
    }
    ConstData data;
    data.bytes = found.payload.data();
    data.size = found.payload.size();
    data.owner = it->second;
    return data;
}

}  // namespace jax_ane::software
