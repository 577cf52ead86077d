// SPDX-License-Identifier: Apache-2.0
// Programs by a grammar: bytes choose operations, shapes and arguments.
#include "harness.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 4) return 0;
    jax_ane::fuzz::RunProgram(jax_ane::fuzz::WriteProgram(data, size), {}, size % 2 == 0);
    return 0;
}
