// SPDX-License-Identifier: Apache-2.0
// One pool for all kernels: ParallelFor, whose caller works too and whose workers take chunks from
// a counter. A worker that is descheduled costs its own chunk only. Safe from several threads at
// once; runs inline after fork().
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace jax_ane {

class ThreadPool {
  public:
    // `threads` counts the caller; 0 means one a core.
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    // Threads that may work on one ParallelFor, the caller included.
    int size() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls fn(begin, end, slot) on chunks that cover [0, n), each at most `grain` long. `slot` is
    // below size() and no two concurrent calls of one ParallelFor share it: it selects scratch
    // memory. Returns when all is done.
    template <typename Fn>
    void ParallelFor(int64_t n, int64_t grain, Fn&& fn) {
        Job job;
        job.n = n;
        job.grain = grain < 1 ? 1 : grain;
        job.context = &fn;
        job.call = [](void* context, int64_t begin, int64_t end, int slot) {
            (*static_cast<std::remove_reference_t<Fn>*>(context))(begin, end, slot);
        };
        Run(job);
    }

  private:
    struct Job {
        int64_t n = 0;
        int64_t grain = 1;
        void* context = nullptr;
        void (*call)(void*, int64_t, int64_t, int) = nullptr;
        std::atomic<int64_t> next{0};
        std::atomic<int> working{0};  // workers inside, readable without the lock
        int slots = 0;                // handed out, guarded by mutex_
        int running = 0;              // workers inside, guarded by mutex_
        Job* link = nullptr;
    };

    void Run(Job& job);
    void Work();
    static void TakeChunks(Job& job, int slot);

    std::vector<std::thread> workers_;
    uint64_t generation_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    std::atomic<uint32_t> published_{0};  // jobs so far, for workers that spin
    std::atomic<int> sleeping_{0};        // workers that need a wake-up
    Job* jobs_ = nullptr;
    bool stop_ = false;
};

// ParallelFor that also accepts no pool (then it runs inline).
template <typename Fn>
void ParallelFor(ThreadPool* pool, int64_t n, int64_t grain, Fn&& fn) {
    if (pool == nullptr || n <= grain) {
        if (n > 0) fn(int64_t{0}, n, 0);
        return;
    }
    pool->ParallelFor(n, grain, fn);
}

}  // namespace jax_ane
