// SPDX-License-Identifier: Apache-2.0
// A checked graph to something that runs: where each value lies, and the steps in order. Made once,
// at load.
#pragma once

#include <memory>
#include <vector>

#include "device/software/engine.h"
#include "device/software/graph.h"
#include "device/software/ops/op.h"

namespace jax_ane::software {

// Bases of a run: 0 is the arena, 1 + i the surface of input i, 1 + inputs + j that of output j
// (declaration order); then one for each block of the arena, whose place is only known when all
// lifetimes are.
struct Plan {
    std::vector<Step> steps;
    std::vector<size_t> block_offsets;  // in the arena
    size_t arena_bytes = 0;
    size_t lower_bound_bytes = 0;  // the most that is alive at one step
    size_t held_bytes = 0;         // weights and their packed forms
    int border_bases = 1;          // the arena and the surfaces
    size_t bases() const { return static_cast<size_t>(border_bases) + block_offsets.size(); }
    // Memory and tables that the steps point into.
    std::vector<std::shared_ptr<const void>> kept;
    // Where each value lies, for tests of aliasing; empty for values without memory.
    std::vector<Ref> refs;
};

// `attributes` gives the border's strides. Constants are copied, so later changes of the blobs do
// nothing.
StatusOr<Plan> MakePlan(const Graph& graph, const device::ProgramAttributes& attributes,
                        const ChipTraits& chip, NumericsMode mode, const Engine& engine);

}  // namespace jax_ane::software
