// SPDX-License-Identifier: Apache-2.0
// Large blocks that were given back wait here for the next request of about their size. What the
// system hands out fresh must be cleared page by page, which for the surfaces, arenas and images of
// a training step costs more than writing them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "util/sanitized.h"

namespace jax_ane {

class MemoryPool {
  public:
    // Smaller blocks are malloc's business.
    static constexpr size_t kLeast = size_t{1} << 20;

    // Under AddressSanitizer nothing waits: an idle block would hide its late users.
#if defined(JAX_ANE_ADDRESS_SANITIZER)
    static constexpr bool kKeepsIdle = false;
#else
    static constexpr bool kKeepsIdle = true;
#endif

    // Of the process; never destroyed, because blocks come back while it exits.
    static MemoryPool& Get();

    // A block of at least `bytes` bytes, aligned to a huge page; null when the machine has none
    // left. `bytes` must be kLeast or more.
    void* Take(size_t bytes);
    // Takes back what Take gave.
    void Give(void* block);
    // Frees what is idle.
    void Clear();

    size_t used_bytes() const;
    size_t idle_bytes() const;

  private:
    struct Idle {
        void* block;
        int64_t since;  // nanoseconds
    };
    // Frees blocks that nobody has asked for in a while, and what exceeds `most_` with those in
    // use: the process never holds more than it once used at a time.
    void Trim(int64_t now);
    void Free(std::multimap<size_t, Idle>::iterator block);

    mutable std::mutex mutex_;
    std::multimap<size_t, Idle> idle_;  // by size
    std::map<void*, size_t> sizes_;     // of the blocks in use
    size_t used_bytes_ = 0;
    size_t idle_bytes_ = 0;
    size_t most_ = 0;  // that was ever in use at a time
};

}  // namespace jax_ane
