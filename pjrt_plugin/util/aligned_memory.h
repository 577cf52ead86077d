// SPDX-License-Identifier: Apache-2.0
// 64-byte aligned memory with one owner; large pieces come from the pool.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>

#include "util/memory_pool.h"

namespace jax_ane {

struct FreeMemory {
    bool is_pooled = false;
    void operator()(void* memory) const {
        if (is_pooled) {
            MemoryPool::Get().Give(memory);
        } else {
            std::free(memory);
        }
    }
};
using AlignedMemory = std::unique_ptr<void, FreeMemory>;

// At least `bytes` bytes; null when the machine has none left.
inline AlignedMemory AllocateAligned(size_t bytes) {
    constexpr size_t kLine = 64;
    if (bytes >= MemoryPool::kLeast) return {MemoryPool::Get().Take(bytes), {true}};
    const size_t rounded = (std::max<size_t>(bytes, 1) + kLine - 1) / kLine * kLine;
    return AlignedMemory(std::aligned_alloc(kLine, rounded));
}

}  // namespace jax_ane
