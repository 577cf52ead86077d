// SPDX-License-Identifier: Apache-2.0
// Which values need memory of their own, and which are views of others: slices, transposes,
// reshapes and gathered rows whose readers can all walk them where they lie.
#pragma once

#include <vector>

#include "device/software/graph.h"
#include "device/software/strided_view.h"

namespace jax_ane::software {

struct ValueLayout {
    int root = -1;  // the value in whose memory it lies; itself if it has its own
    StridedView view;
    bool dense = true;  // `view` is row-major without gaps (perhaps after an offset)
};

// By value. An input with padded rows that all its readers can walk keeps them; its layout is then
// not dense.
std::vector<ValueLayout> FindLayouts(const Graph& graph,
                                     const device::ProgramAttributes& attributes,
                                     const ChipTraits& chip);

}  // namespace jax_ane::software
