// SPDX-License-Identifier: Apache-2.0
// A checked graph to something that runs: where each value lies, and the steps in order. Made once,
// at load.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device/software/engine.h"
#include "device/software/graph.h"
#include "device/software/ops/op.h"

namespace jax_ane::software {

// Bases of a run: 0 is the arena, 1 + i the surface of input i, 1 + inputs + j that of output j
// (declaration order).
struct Plan {
    std::vector<Step> steps;
    size_t arena_bytes = 0;
    size_t held_bytes = 0;  // weights and their packed forms
    int bases = 1;
    // Memory and tables that the steps point into.
    std::vector<std::shared_ptr<const void>> kept;
    // Where each value lies, for tests of aliasing; empty for values without memory.
    std::vector<Ref> refs;
};

// `attributes` gives the border's strides. Constants are copied, so later changes of the blobs do
// nothing.
StatusOr<Plan> MakePlan(const Graph& graph, const device::ProgramAttributes& attributes,
                        const ChipTraits& chip, NumericsMode mode, const Engine& engine);

// Hands out offsets of one arena, best fit, 64-byte aligned.
class ArenaLayout {
  public:
    size_t Allocate(size_t bytes);
    void Free(size_t offset, size_t bytes);
    size_t peak() const { return peak_; }

  private:
    struct Hole {
        size_t offset;
        size_t bytes;
    };
    std::vector<Hole> holes_;  // sorted, never adjacent
    size_t end_ = 0;
    size_t peak_ = 0;
};

}  // namespace jax_ane::software
