// SPDX-License-Identifier: Apache-2.0
#include "device/software/engine.h"

#include <mutex>
#include <string>

namespace jax_ane::software {
namespace {

std::mutex engine_mutex;

// Destroyed with the process, which joins the workers.
Engine& SharedEngine() {
    static Engine engine;
    return engine;
}

}  // namespace

Engine CurrentEngine() {
    std::lock_guard lock(engine_mutex);
    Engine& engine = SharedEngine();
    if (engine.kernels == nullptr) engine.kernels = FindKernels("auto");
    if (engine.pool == nullptr) engine.pool = std::make_shared<ThreadPool>(0);
    return engine;
}

Status ConfigureEngine(int threads, std::string_view isa) {
    const KernelTable* kernels = FindKernels(isa);
    if (kernels == nullptr) {
        return InvalidArgument("isa \"" + std::string(isa) +
                               "\" is not available on this machine or in this build: use auto");
    }
    if (threads < 0 || threads > 4096) {
        return InvalidArgument("threads must be 0 (one a core) to 4096, got " +
                               std::to_string(threads));
    }
    auto pool = std::make_shared<ThreadPool>(threads);
    std::lock_guard lock(engine_mutex);
    Engine& engine = SharedEngine();
    engine.kernels = kernels;
    if (engine.pool == nullptr || engine.pool->size() != pool->size()) engine.pool = pool;
    return Status();
}

}  // namespace jax_ane::software
