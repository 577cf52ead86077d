// SPDX-License-Identifier: Apache-2.0
// The allocator's own free memory, which it otherwise keeps for the process.
#pragma once

#include <cstdlib>  // defines __GLIBC__, where there is one

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace jax_ane {

// Gives what is free back to the system, where the C library can. Walks all of the heap.
inline void ReleaseFreeHeap() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

}  // namespace jax_ane
