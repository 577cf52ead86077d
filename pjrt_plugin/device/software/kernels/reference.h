// SPDX-License-Identifier: Apache-2.0
// Fillers of the scalar reference table, one a family.
#pragma once

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {

void FillReferenceGemm(KernelTable& table);
void FillReferenceElementwise(KernelTable& table);
void FillReferenceReduce(KernelTable& table);
void FillReferenceMovement(KernelTable& table);

}  // namespace jax_ane::software
