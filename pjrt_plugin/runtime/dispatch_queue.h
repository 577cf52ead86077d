// SPDX-License-Identifier: Apache-2.0
// Threads for calls that need not wait for each other. XLA:CPU runs handlers that block one after
// the other; one that hands its work on and returns a future leaves XLA free to start the next.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace jax_ane::runtime {

class DispatchQueue {
  public:
    static DispatchQueue& Get();

    // Runs a task on a thread that is idle or, if all are busy, on a new one. Whoever waits for a
    // task goes on in its thread and may wait for another there, so a task never waits for a
    // thread: where there are too many already, and after fork(), it runs before this returns.
    void Run(std::function<void()> task);

  private:
    DispatchQueue();
    void Work(std::function<void()> task);

    static constexpr int kMostThreads = 64;
    const uint64_t generation_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::function<void()>> tasks_;  // each has an idle thread that will take it
    int threads_ = 0;
    int idle_ = 0;  // those that a task is already meant for not among them
};

}  // namespace jax_ane::runtime
