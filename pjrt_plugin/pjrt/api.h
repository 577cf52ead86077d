// SPDX-License-Identifier: Apache-2.0
// The plugin's function table.
#pragma once

#include "pjrt/c_api.h"

namespace jax_ane::pjrt {

// The same immortal table at each call.
const PJRT_Api* GetApi();

}  // namespace jax_ane::pjrt
