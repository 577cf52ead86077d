// SPDX-License-Identifier: Apache-2.0
// What each vector file puts into the kernel table. A file that this build has no instructions for
// is empty, and its entry in table.cc is left out.
#pragma once

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {

void FillAvx2Gemm(KernelTable& table);
void FillAvx512Gemm(KernelTable& table);
void FillAmxGemm(KernelTable& table);
void FillAvx2Elementwise(KernelTable& table);
void FillAvx512Elementwise(KernelTable& table);
void FillNeonGemm(KernelTable& table);
void FillNeonElementwise(KernelTable& table);

}  // namespace jax_ane::software
