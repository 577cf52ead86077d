// SPDX-License-Identifier: Apache-2.0
// Any bytes as a blob file: first records at chosen offsets as chosen types, then a program that
// decompresses its weights from the file.
#include <algorithm>

#include "device/software/mil/blob.h"
#include "harness.h"

using namespace jax_ane;  // NOLINT: a target of its own

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const std::string text = fuzz::BlobProgram();
    if (size > 2) {
        software::mil::TensorType type;
        type.dtype = static_cast<software::mil::DType>(data[0] % 18);
        type.dims = {data[1] % 9, data[1] / 9};
        const uint64_t offset = uint64_t{64} * data[2];
        const auto found = software::mil::ReadBlob({data, size}, offset, type);
        uint8_t sum = 0;
        for (uint8_t byte : found.payload) sum = static_cast<uint8_t>(sum + byte);
        if (found.ok && found.payload.size() != static_cast<size_t>(type.bytes())) __builtin_trap();
        if (!found.ok && found.error.empty() && sum == 0) __builtin_trap();
    }
    const auto file = std::make_shared<const std::vector<uint8_t>>(data, data + size);
    fuzz::RunProgram(text, {{"@model_path/weights/w.bin", file}}, size % 2 == 0);
    return 0;
}
