// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions of stride 1 in `fast` numerics, found among products of gathered rows.
#pragma once

#include <optional>

#include "device/software/ops/gemm_step.h"

namespace jax_ane::software {

// A product that is a 3x3 convolution of stride 1 over [batch, height, width, channels].
struct WindowedProduct {
    int64_t batch = 1, height = 1, width = 1;  // of the outputs
    int64_t channels = 0;                      // of the input
    int64_t image_stride = 0, row_stride = 0, pixel_stride = 0;
    int64_t first_tap = 0;

    int64_t tiles_high() const { return (height + 1) / 2; }
    int64_t tiles_wide() const { return (width + 1) / 2; }
    int64_t tiles() const { return batch * tiles_high() * tiles_wide(); }
};

// Nothing where the rows are not such windows, or where too few of them make the form pay.
std::optional<WindowedProduct> FindWindows(const GatheredRows& rows, int64_t outputs);

// `plain` runs where the right side is neither constant nor vouched for: its transform would have
// to be made anew each time.
Step PlanFastWinograd(PlanContext& p, const GemmPlan& plan, const WindowedProduct& windows,
                      Step plain);

}  // namespace jax_ane::software
