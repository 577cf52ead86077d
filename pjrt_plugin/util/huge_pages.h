// SPDX-License-Identifier: Apache-2.0
// Huge pages for large memory: fresh memory is cleared in a fraction of the time, and streams wait
// less for address translation.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

namespace jax_ane {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Asks for huge pages wherever whole ones fit; what was touched before stays as it is.
inline void AdviseHugePages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const auto address = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t begin = (address + kHugePage - 1) & ~(kHugePage - 1);
    const uintptr_t end = (address + bytes) & ~(kHugePage - 1);
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace jax_ane
