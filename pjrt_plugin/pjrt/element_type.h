// SPDX-License-Identifier: Apache-2.0
// What the plugin knows of PJRT's element types: name, size on the host side, and whether XLA:CPU
// stores them packed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "pjrt/c_api.h"
#include "util/status.h"

namespace jax_ane::pjrt {

struct ElementType {
    const char* name;  // numpy's or ml_dtypes' name
    int byte_size;     // One element on the host side; 0 for a token.
    bool packed;       // Below eight bits: XLA:CPU packs them, the host side does not.
};

// Null for a number that is no element type of this API version.
const ElementType* FindElementType(PJRT_Buffer_Type type);

// Bytes of a dense array on the host side, or an error when a dimension is negative, the type is
// unknown or the product does not fit 63 bits.
StatusOr<size_t> DenseByteSize(PJRT_Buffer_Type type, const std::vector<int64_t>& dims);

}  // namespace jax_ane::pjrt
