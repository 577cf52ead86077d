// SPDX-License-Identifier: Apache-2.0
#include "util/trace.h"

#include <chrono>
#include <utility>

namespace jax_ane {
namespace {

constexpr size_t kMostEvents = 1'000'000;

int ThreadNumber() {
    static std::atomic<int> next = 0;
    thread_local const int number = next++;
    return number;
}

}  // namespace

int64_t TraceClock() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

Trace& Trace::Get() {
    static auto* trace = new Trace();
    return *trace;
}

void Trace::Start() {
    {
        std::lock_guard lock(mutex_);
        recording_ = {};
        recording_.start_ns = TraceClock();
    }
    on_.store(true);
}

void Trace::Add(TraceRow row, std::string name, int64_t start_ns) {
    const int64_t end_ns = TraceClock();
    const int thread = ThreadNumber();
    std::lock_guard lock(mutex_);
    // What an earlier trace began is not of this one.
    if (start_ns < recording_.start_ns) return;
    if (recording_.events.size() >= kMostEvents) {
        ++recording_.dropped;
        return;
    }
    recording_.events.push_back({row, thread, std::move(name), start_ns, end_ns});
}

Trace::Recording Trace::Take() {
    std::lock_guard lock(mutex_);
    return std::exchange(recording_, {});
}

}  // namespace jax_ane
