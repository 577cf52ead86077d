// SPDX-License-Identifier: Apache-2.0
// 64-byte aligned memory with one owner; large pieces ask the system for huge pages.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

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
    constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;
    // Streams through ordinary pages wait for address translation.
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kLine;
    const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    AlignedMemory memory(std::aligned_alloc(alignment, rounded));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (memory != nullptr && alignment == kHugePage) madvise(memory.get(), rounded, MADV_HUGEPAGE);
#endif
    return memory;
}

}  // namespace jax_ane
