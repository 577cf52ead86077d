// SPDX-License-Identifier: Apache-2.0
// W8A8 (numerics.md section 3): a product of dequantized int8 activations and int8 weights runs on
// the integers themselves, exactly, and is scaled afterwards.
#pragma once

#include "device/software/ops/op.h"

namespace jax_ane::software {

// Gives each conv, linear and matmul whose operands are both dequantized bytes a hidden argument,
// so that the bytes of its activations are kept until it runs.
void MarkInt8(Graph* graph);

// The step of a marked conv, linear or matmul; empty for every other node and in fast mode.
Step PlanInt8(PlanContext& p);

}  // namespace jax_ane::software
