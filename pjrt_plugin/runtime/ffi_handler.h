// SPDX-License-Identifier: Apache-2.0
// The XLA FFI handler behind the custom call `jax_ane_program`.
#pragma once

namespace jax_ane::runtime {

// Address of the handler, for a capsule that XLA:CPU registers under "jax_ane_program".
void* ProgramHandler();

}  // namespace jax_ane::runtime
