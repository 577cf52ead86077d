// SPDX-License-Identifier: Apache-2.0
// A batch of GEMM as one step: packs constant right-hand sides at load, and chooses where the
// threads go.
#pragma once

#include <memory>
#include <vector>

#include "device/software/ops/op.h"

namespace jax_ane::software {

struct GemmPlan {
    int64_t m = 0, n = 0, k = 0;
    Ref a, b, c, bias;
    BiasKind bias_kind = BiasKind::kNone;
    int64_t a_row_stride = 0, a_column_stride = 0;
    int64_t b_row_stride = 0, b_column_stride = 0;
    std::shared_ptr<const GatheredRows> a_rows;  // instead of strides; one batch only
    // Element offsets by batch; the results lie one after another.
    std::vector<int64_t> a_offsets, b_offsets;
};

Step PlanGemm(PlanContext& p, const GemmPlan& plan);

}  // namespace jax_ane::software
