// SPDX-License-Identifier: Apache-2.0
// The XLA FFI handler behind the custom call `jax_ane_adamw`: AdamW over all parameters at once.
#pragma once

namespace jax_ane::runtime {

// Address of the handler, for a capsule that XLA:CPU registers under "jax_ane_adamw".
void* AdamWHandler();

}  // namespace jax_ane::runtime
