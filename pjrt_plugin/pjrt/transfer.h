// SPDX-License-Identifier: Apache-2.0
// Copies between arrays of any strides, and the strides that a PJRT memory layout stands for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pjrt/c_api.h"
#include "util/status.h"

namespace jax_ane::pjrt {

using Dims = std::vector<int64_t>;

// Byte strides of a dense row-major array.
Dims RowMajorStrides(const Dims& dims, int64_t element_bytes);

// Byte strides of a dense array in `layout`; row-major when it is null. UNIMPLEMENTED for tiles.
StatusOr<Dims> StridesOfLayout(const PJRT_Buffer_MemoryLayout* layout, const Dims& dims,
                               int64_t element_bytes);

// Copies every element. Strides are in bytes and may be zero (source) or negative; the pointers
// are those of element [0, ..., 0].
void CopyStrided(const std::byte* source, const Dims& source_strides, std::byte* target,
                 const Dims& target_strides, const Dims& dims, size_t element_bytes);

}  // namespace jax_ane::pjrt
