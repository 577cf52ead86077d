// SPDX-License-Identifier: Apache-2.0
// What the forms of convolution share: the checks of their arguments.
#pragma once

#include "device/software/ops/conv_step.h"

namespace jax_ane::software {

// Reads a `conv` of rank 3 or 4; false after a refusal.
bool ReadConv(OpContext& c, ConvShape* shape);

// The bias has `channels` values and the kernel a size that the chip takes.
bool CheckConvolution(OpContext& c, int64_t channels, const std::vector<int64_t>& kernel);

}  // namespace jax_ane::software
