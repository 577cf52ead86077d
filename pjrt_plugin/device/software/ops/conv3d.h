// SPDX-License-Identifier: Apache-2.0
// Convolutions over depth, height and width.
#pragma once

#include "device/software/ops/op.h"

namespace jax_ane::software {

// Three spatial axes: depth, height, width.
struct Volume {
    int64_t groups = 1;
    int64_t kernel[3] = {1, 1, 1};
    int64_t stride[3] = {1, 1, 1};
    int64_t dilation[3] = {1, 1, 1};
    int64_t before[3] = {0, 0, 0};
    int64_t in[3] = {1, 1, 1};
    int64_t out[3] = {1, 1, 1};
};

// Reads a `conv` whose x has rank 5; false after a refusal.
bool ReadConv3d(OpContext& c, Volume* volume);

Step PlanConv3d(PlanContext& p, const Volume& volume);

}  // namespace jax_ane::software
