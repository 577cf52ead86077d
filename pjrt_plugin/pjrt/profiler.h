// SPDX-License-Identifier: Apache-2.0
// The profiler extension of the PJRT API.
#pragma once

#include "pjrt/c_api.h"

namespace jax_ane::pjrt {

// The extension, with `next` after it in the chain.
PJRT_Extension_Base* ProfilerExtension(PJRT_Extension_Base* next);

}  // namespace jax_ane::pjrt
