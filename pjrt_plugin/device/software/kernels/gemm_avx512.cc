// SPDX-License-Identifier: Apache-2.0
// GEMM for AVX-512 (F, BW, VL, DQ).
#if defined(__AVX512F__) && defined(__AVX512BW__)

#include "device/software/kernels/avx512_gemm_isa.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {

void FillAvx512Gemm(KernelTable& table) { blocked::Fill<Avx512>(table); }

}  // namespace jax_ane::software

#endif
