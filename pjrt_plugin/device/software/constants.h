// SPDX-License-Identifier: Apache-2.0
// Constant values out of the syntax tree: literals packed to bytes, blob records found and checked.
#pragma once

#include <optional>

#include "device/software/graph.h"

namespace jax_ane::software {

// Bytes of a typed literal as they would lie in a blob (sub-byte elements packed, low bits first).
ConstData PackLiteral(const mil::Value& value);

// The record that a BLOBFILE value names. The bytes are not copied; the file is kept alive.
std::optional<ConstData> FindBlob(const mil::Value& value, const device::Blobs& blobs,
                                  Findings* findings);

}  // namespace jax_ane::software
