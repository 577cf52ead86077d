// SPDX-License-Identifier: Apache-2.0
// Any bytes as MIL text.
#include "harness.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    jax_ane::fuzz::RunProgram(text, {}, size % 2 == 0);
    return 0;
}
