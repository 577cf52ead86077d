// SPDX-License-Identifier: Apache-2.0
// The layouts extension of the PJRT API.
#pragma once

#include <string>

#include "pjrt/c_api.h"

namespace jax_ane::pjrt {

// The one layout of this text; never freed.
PJRT_Layouts_MemoryLayout* InternLayout(const std::string& text);

// The extension, with `next` after it in the chain.
PJRT_Extension_Base* LayoutsExtension(PJRT_Extension_Base* next);

}  // namespace jax_ane::pjrt
