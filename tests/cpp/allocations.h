// SPDX-License-Identifier: Apache-2.0
// Counts every `new`, and every malloc and aligned_alloc that this project's own code calls.
#pragma once

#include <cstdint>

namespace jax_ane {

int64_t AllocationCount();

}  // namespace jax_ane
