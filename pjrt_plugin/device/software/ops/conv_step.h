// SPDX-License-Identifier: Apache-2.0
// The two ways a convolution is computed: gathered taps and one GEMM, or the hardware's Winograd
// form.
#pragma once

#include "device/software/ops/op.h"
#include "device/software/ops/window.h"

namespace jax_ane::software {

struct ConvShape {
    int64_t batch = 1, in_channels = 1, out_channels = 1, groups = 1;
    Window window;
};

// `weight` is [out_channels, in_channels / groups, kH, kW]; `operand` stands for x where that is
// not the argument x.
Step PlanDirectConv(PlanContext& p, const ConvShape& shape, Ref weight,
                    const Ref* operand = nullptr);

Step PlanWinograd(PlanContext& p, const ConvShape& shape);

}  // namespace jax_ane::software
