// SPDX-License-Identifier: Apache-2.0
// Reads one record of a weight-blob file: a 64-byte metadata record (which the MIL offset names)
// and its payload. Nothing in the file is trusted; layout as in coremltools' MILBlob, version 2.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "device/software/mil/ast.h"

namespace jax_ane::software::mil {

// The payload for a tensor of `type` at metadata `offset`. On failure the span is empty, with the
// rule and the reason.
struct BlobResult {
    std::span<const uint8_t> payload;
    bool ok = false;
    Rule rule = Rule::kBlobMetadata;
    std::string error;
};
BlobResult ReadBlob(std::span<const uint8_t> file, uint64_t offset, const TensorType& type);

}  // namespace jax_ane::software::mil
