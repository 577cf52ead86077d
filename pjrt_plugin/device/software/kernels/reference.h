// SPDX-License-Identifier: Apache-2.0
// Fillers of the scalar reference table, one a family.
#pragma once

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {

void FillReferenceGemm(KernelTable& table);
void FillReferenceElementwise(KernelTable& table);
void FillReferenceReduce(KernelTable& table);
void FillReferenceRows(KernelTable& table);
void FillReferenceMovement(KernelTable& table);
void FillReferenceTaps(KernelTable& table);

// The exact sums whatever x holds.
void ExactTapSum(const TapSumArgs& args);

// The last step of a compound reduction: `sum` of the terms, `shift` taken off the exponents.
float FinishFloatReduce(FloatReduceOp op, float sum, float shift, int64_t n);

}  // namespace jax_ane::software
