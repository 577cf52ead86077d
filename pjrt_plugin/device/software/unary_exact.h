// SPDX-License-Identifier: Apache-2.0
// Unary functions on one fp16 value: the chip's (numerics.md sections 4 and 6) and the fast mode's.
#pragma once

#include "device/software/unary.h"

namespace jax_ane::software {

// All unary operations. Exact forms live in unary_exact.cc, fast ones in unary_fast.cc.
UnaryFunction FindExactUnary(std::string_view op);
UnaryFunction FindFastUnary(std::string_view op);

}  // namespace jax_ane::software
