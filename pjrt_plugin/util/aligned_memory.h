// SPDX-License-Identifier: Apache-2.0
// 64-byte aligned memory with one owner.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>

namespace jax_ane {

struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
};
using AlignedMemory = std::unique_ptr<void, FreeMemory>;

// At least `bytes` bytes; null when the machine has none left.
inline AlignedMemory AllocateAligned(size_t bytes) {
    constexpr size_t kAlignment = 64;
    const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
    return AlignedMemory(std::aligned_alloc(kAlignment, rounded));
}

}  // namespace jax_ane
