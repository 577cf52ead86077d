// SPDX-License-Identifier: Apache-2.0
#include "util/thread_pool.h"

#include <algorithm>
#include <chrono>

#include "util/fork.h"

namespace jax_ane {

ThreadPool::ThreadPool(int threads) {
    generation_ = ForkGeneration();
    if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
    if (generation_ != ForkGeneration()) {
        // The threads stayed in the parent; there is nobody to join.
        for (std::thread& worker : workers_) worker.detach();
        return;
    }
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

namespace {

inline void Pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Waits for a condition for up to 100 microseconds, without the kernel.
template <typename Condition>
void SpinUntil(Condition&& condition) {
    constexpr auto kSpin = std::chrono::microseconds(100);
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    for (;;) {
        for (int i = 0; i < 64; ++i) {
            if (condition()) return;
            Pause();
        }
        if (std::chrono::steady_clock::now() > deadline) return;
        // Where threads outnumber cores, the one that is waited for may want this core.
        std::this_thread::yield();
    }
}

}  // namespace

void ThreadPool::TakeChunks(Job& job, int slot) {
    for (;;) {
        const int64_t begin = job.next.fetch_add(job.grain, std::memory_order_relaxed);
        if (begin >= job.n) return;
        job.call(job.context, begin, std::min(job.n, begin + job.grain), slot);
    }
}

void ThreadPool::Run(Job& job) {
    const bool alone = workers_.empty() || job.n <= job.grain;
    if (alone || generation_ != ForkGeneration()) {
        TakeChunks(job, 0);
        return;
    }
    {
        std::lock_guard lock(mutex_);
        job.slots = 1;
        job.link = jobs_;
        jobs_ = &job;
        published_.fetch_add(1, std::memory_order_release);
    }
    const int64_t chunks = (job.n + job.grain - 1) / job.grain;
    if (sleeping_.load(std::memory_order_acquire) > 0) {
        if (chunks - 1 >= static_cast<int64_t>(workers_.size())) {
            wake_.notify_all();
        } else {
            for (int64_t i = 1; i < chunks; ++i) wake_.notify_one();
        }
    }
    TakeChunks(job, 0);
    SpinUntil([&] { return job.working.load(std::memory_order_acquire) == 0; });
    std::unique_lock lock(mutex_);
    Job** link = &jobs_;
    while (*link != nullptr && *link != &job) link = &(*link)->link;
    if (*link == &job) *link = job.link;
    done_.wait(lock, [&] { return job.running == 0; });
}

void ThreadPool::Work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        if (jobs_ == nullptr && !stop_) {
            // The next step of a program usually comes within microseconds; sleeping and waking
            // costs more than that.
            const uint32_t seen = published_.load(std::memory_order_acquire);
            lock.unlock();
            SpinUntil([&] { return published_.load(std::memory_order_acquire) != seen; });
            lock.lock();
        }
        sleeping_.fetch_add(1, std::memory_order_acq_rel);
        wake_.wait(lock, [this] { return stop_ || jobs_ != nullptr; });
        sleeping_.fetch_sub(1, std::memory_order_acq_rel);
        if (stop_) return;
        Job& job = *jobs_;
        const int slot = job.slots++;
        ++job.running;
        job.working.fetch_add(1, std::memory_order_relaxed);
        lock.unlock();
        TakeChunks(job, slot);
        job.working.fetch_sub(1, std::memory_order_release);
        lock.lock();
        // Exhausted: no other worker needs to look at it, and its owner may already be waiting.
        Job** link = &jobs_;
        while (*link != nullptr && *link != &job) link = &(*link)->link;
        if (*link == &job) *link = job.link;
        if (--job.running == 0) done_.notify_all();
    }
}

}  // namespace jax_ane
