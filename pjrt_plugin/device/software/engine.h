// SPDX-License-Identifier: Apache-2.0
// What all loaded programs share: the kernels of one instruction set and the thread pool.
#pragma once

#include <memory>
#include <string_view>

#include "device/software/kernels/kernels.h"
#include "util/status.h"
#include "util/thread_pool.h"

namespace jax_ane::software {

struct Engine {
    const KernelTable* kernels = nullptr;
    std::shared_ptr<ThreadPool> pool;
};

// The process's engine; made on first use from the last ConfigureEngine, or from all cores and the
// best kernels.
Engine CurrentEngine();

// Sets threads (0: one a core) and isa ("auto", "scalar", ...) for programs loaded from now on.
Status ConfigureEngine(int threads, std::string_view isa);

}  // namespace jax_ane::software
