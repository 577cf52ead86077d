// SPDX-License-Identifier: Apache-2.0
// Spans of time for the profiler: what was compiled, converted and run, from when to when. While
// nobody traces, a span costs one load.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace jax_ane {

enum class TraceRow : uint8_t { kCompile, kHost, kConvert, kProgram };

struct TraceEvent {
    TraceRow row;
    int thread;  // Counted from 0, in the order in which threads first traced.
    std::string name;
    int64_t start_ns, end_ns;  // Since 1970.
};

// Nanoseconds since 1970, the clock of JAX's own traces.
int64_t TraceClock();

class Trace {
  public:
    static Trace& Get();

    bool is_on() const { return on_.load(std::memory_order_relaxed); }
    // Forgets earlier events and records from now on.
    void Start();
    void Stop() { on_.store(false); }
    // Notes what began at `start_ns`, read from TraceClock while the trace was on, and ends now.
    void Add(TraceRow row, std::string name, int64_t start_ns);

    struct Recording {
        int64_t start_ns = 0;
        std::vector<TraceEvent> events;
        int64_t dropped = 0;  // Beyond the most that are kept.
    };
    Recording Take();

  private:
    std::atomic<bool> on_ = false;
    std::mutex mutex_;
    Recording recording_;
};

// From here to the end of the scope. `name` must live as long.
class TraceSpan {
  public:
    TraceSpan(TraceRow row, const std::string& name)
        : row_(row), name_(Trace::Get().is_on() ? &name : nullptr) {
        if (name_) start_ns_ = TraceClock();
    }
    ~TraceSpan() {
        if (name_) Trace::Get().Add(row_, *name_, start_ns_);
    }
    TraceSpan(const TraceSpan&) = delete;
    TraceSpan& operator=(const TraceSpan&) = delete;

  private:
    TraceRow row_;
    const std::string* name_;  // Null while nobody traces.
    int64_t start_ns_ = 0;
};

}  // namespace jax_ane
