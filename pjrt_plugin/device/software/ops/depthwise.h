// SPDX-License-Identifier: Apache-2.0
// Convolutions whose groups have one input channel each.
#pragma once

#include "device/software/ops/conv_step.h"

namespace jax_ane::software {

// Whether PlanDepthwise takes it: several groups of one channel, and not too many taps.
bool IsDepthwise(const ConvShape& shape);

// `weight` is [out_channels, 1, kH, kW].
Step PlanDepthwise(PlanContext& p, const ConvShape& shape, Ref weight);

}  // namespace jax_ane::software
