// SPDX-License-Identifier: Apache-2.0
// Sliding windows over the last axes of [N, C, H, W] (or [N, C, W]): padding rules shared by
// convolutions and pools.
#pragma once

#include "device/software/ops/op.h"

namespace jax_ane::software {

// Two spatial axes; a missing height is 1. Padding before and after.
struct Window {
    int64_t kernel[2] = {1, 1};
    int64_t stride[2] = {1, 1};
    int64_t dilation[2] = {1, 1};
    int64_t before[2] = {0, 0};
    int64_t after[2] = {0, 0};
    int64_t in[2] = {1, 1};
    int64_t out[2] = {1, 1};

    int64_t span(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
};

// Reads strides, dilations, pad_type, pad and (pools) ceil_mode; `kernel` holds one entry for each
// spatial axis.
bool ReadWindow(OpContext& c, const std::vector<int64_t>& kernel, const char* default_pad_type,
                Window* window);

}  // namespace jax_ane::software
