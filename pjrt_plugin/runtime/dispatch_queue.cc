// SPDX-License-Identifier: Apache-2.0
#include "runtime/dispatch_queue.h"

#include <system_error>
#include <thread>
#include <utility>

#include "util/fork.h"

namespace jax_ane::runtime {

DispatchQueue& DispatchQueue::Get() {
    // Never destroyed: its threads sleep while the process exits.
    static DispatchQueue* queue = new DispatchQueue();
    return *queue;
}

DispatchQueue::DispatchQueue() : generation_(ForkGeneration()) {}

void DispatchQueue::Run(std::function<void()> task) {
    if (generation_ != ForkGeneration()) return task();
    {
        std::unique_lock lock(mutex_);
        if (idle_ > 0) {
            --idle_;
            tasks_.push_back(std::move(task));
            wake_.notify_one();
            return;
        }
        if (threads_ == kMostThreads) {
            lock.unlock();
            return task();
        }
        ++threads_;
    }
    try {
        std::thread(&DispatchQueue::Work, this, task).detach();
    } catch (const std::system_error&) {  // the system has no more threads
        {
            std::lock_guard lock(mutex_);
            --threads_;
        }
        task();
    }
}

void DispatchQueue::Work(std::function<void()> task) {
    for (;;) {
        task();
        task = nullptr;  // what it holds may be large
        std::unique_lock lock(mutex_);
        ++idle_;
        wake_.wait(lock, [this] { return !tasks_.empty(); });
        task = std::move(tasks_.back());
        tasks_.pop_back();
    }
}

}  // namespace jax_ane::runtime
