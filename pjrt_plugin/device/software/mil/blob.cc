// SPDX-License-Identifier: Apache-2.0
#include "device/software/mil/blob.h"

#include <cstring>

namespace jax_ane::software::mil {
namespace {

constexpr uint64_t kRecord = 64;
constexpr uint32_t kSentinel = 0xDEADBEEF;

template <typename T>
T ReadAt(std::span<const uint8_t> file, uint64_t at) {
    T value;
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
}

// MILBlob's code of a type; 0 for those that no blob can hold.
uint32_t BlobCode(DType type) {
    switch (type) {
        case DType::kFp16:
            return 1;
        case DType::kFp32:
            return 2;
        case DType::kUint8:
            return 3;
        case DType::kInt8:
            return 4;
        case DType::kInt16:
            return 6;
        case DType::kUint16:
            return 7;
        case DType::kInt4:
            return 8;
        case DType::kUint1:
            return 9;
        case DType::kUint2:
            return 10;
        case DType::kUint4:
            return 11;
        case DType::kUint3:
            return 12;
        case DType::kUint6:
            return 13;
        case DType::kInt32:
            return 14;
        case DType::kUint32:
            return 15;
        default:
            return 0;
    }
}

BlobResult Error(Rule rule, std::string message) { return {{}, false, rule, std::move(message)}; }

}  // namespace

BlobResult ReadBlob(std::span<const uint8_t> file, uint64_t offset, const TensorType& type) {
    const std::string at = " at offset " + std::to_string(offset);
    if (file.size() < 2 * kRecord) {
        return Error(Rule::kBlobMetadata, "the blob file has " + std::to_string(file.size()) +
                                              " bytes, fewer than its two headers");
    }
    if (offset % kRecord != 0 || offset < kRecord || offset > file.size() - kRecord) {
        return Error(Rule::kBlobOffset,
                     "offset " + std::to_string(offset) +
                         " names no metadata record: it must be a multiple of 64, from 64, inside "
                         "the file's " +
                         std::to_string(file.size()) + " bytes");
    }
    if (ReadAt<uint32_t>(file, offset) != kSentinel) {
        return Error(Rule::kBlobMetadata, "no blob metadata" + at + ": the sentinel is missing");
    }
    const uint32_t code = ReadAt<uint32_t>(file, offset + 4);
    if (code == 0 || code != BlobCode(type.dtype)) {
        return Error(Rule::kBlobMetadata, "the blob" + at + " holds type code " +
                                              std::to_string(code) + ", not " +
                                              DTypeName(type.dtype));
    }
    const uint64_t size = ReadAt<uint64_t>(file, offset + 8);
    const uint64_t start = ReadAt<uint64_t>(file, offset + 16);
    const uint64_t wanted = static_cast<uint64_t>(type.bytes());
    if (size != wanted) {
        return Error(Rule::kBlobMetadata, "the blob" + at + " has " + std::to_string(size) +
                                              " bytes where " + ToString(type) + " has " +
                                              std::to_string(wanted));
    }
    if (start > file.size() || size > file.size() - start || start % kRecord != 0) {
        return Error(Rule::kBlobOffset, "the blob's payload at " + std::to_string(start) +
                                            " leaves the file or is not 64-byte aligned");
    }
    return {file.subspan(start, size), true, Rule::kBlobMetadata, {}};
}

}  // namespace jax_ane::software::mil
