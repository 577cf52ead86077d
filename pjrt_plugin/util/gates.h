// SPDX-License-Identifier: Apache-2.0
// Two ways to count who is inside, each one atomic integer: a gate that can only be closed when
// nobody is inside, and a queue that lets a limited number in and makes the others wait.
#pragma once

#include <atomic>
#include <utility>

namespace jax_ane {

// Closed at first.
class UseGate {
  public:
    // False when the gate is closed.
    bool Enter() {
        int users = state_.load(std::memory_order_relaxed);
        while (users != kClosed) {
            if (state_.compare_exchange_weak(users, users + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }
    void Leave() { state_.fetch_sub(1, std::memory_order_release); }
    // By whoever closed it, or made it; what was written before is visible to all who enter.
    void Open() { state_.store(0, std::memory_order_release); }
    // False when somebody is inside or the gate is closed already.
    bool TryClose() {
        int nobody = 0;
        return state_.compare_exchange_strong(nobody, kClosed, std::memory_order_acq_rel);
    }

  private:
    static constexpr int kClosed = -1;
    std::atomic<int> state_{kClosed};
};

class RequestQueue {
  public:
    explicit RequestQueue(int depth) : free_(depth) {}
    // Waits while as many requests as the queue is deep are inside.
    void Enter() {
        int free = free_.load(std::memory_order_relaxed);
        for (;;) {
            if (free > 0) {
                if (free_.compare_exchange_weak(free, free - 1, std::memory_order_acquire,
                                                std::memory_order_relaxed)) {
                    return;
                }
            } else {
                free_.wait(0, std::memory_order_relaxed);
                free = free_.load(std::memory_order_relaxed);
            }
        }
    }
    void Leave() {
        free_.fetch_add(1, std::memory_order_release);
        free_.notify_one();
    }

  private:
    std::atomic<int> free_;
};

// Calls a function at the end of a scope.
template <typename Fn>
class AtExit {
  public:
    explicit AtExit(Fn fn) : fn_(std::move(fn)) {}
    ~AtExit() { fn_(); }
    AtExit(const AtExit&) = delete;
    AtExit& operator=(const AtExit&) = delete;

  private:
    Fn fn_;
};

}  // namespace jax_ane
