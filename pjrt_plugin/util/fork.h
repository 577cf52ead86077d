// SPDX-License-Identifier: Apache-2.0
// Threads do not survive fork(): whoever has some asks whether this is still the process that made
// them.
#pragma once

#include <cstdint>

namespace jax_ane {

// Forks on the way from the first process that asked to this one.
uint64_t ForkGeneration();

}  // namespace jax_ane
