// SPDX-License-Identifier: Apache-2.0
// Where the blocks of one arena lie, given how long each lives: all lifetimes are known before the
// first offset is chosen.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace jax_ane::software {

// A stretch of memory that is needed from step `first` to step `last`, both included.
struct Lifetime {
    size_t bytes = 0;
    int first = 0;
    int last = 0;
};

struct ArenaLayout {
    std::vector<size_t> offsets;  // by block, 64-byte aligned
    size_t bytes = 0;             // of the whole arena
    size_t lower_bound = 0;       // the most that is alive at one step: no layout is smaller
};

// Tries several orders of placement and keeps the smallest arena. Deterministic.
ArenaLayout LayOutArena(std::span<const Lifetime> blocks);

}  // namespace jax_ane::software
