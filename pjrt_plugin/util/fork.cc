// SPDX-License-Identifier: Apache-2.0
#include "util/fork.h"

#include <pthread.h>

#include <atomic>

namespace jax_ane {

uint64_t ForkGeneration() {
    static std::atomic<uint64_t> generation{0};
    static const int registered = pthread_atfork(
        nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
    (void)registered;
    return generation.load(std::memory_order_relaxed);
}

}  // namespace jax_ane
