// SPDX-License-Identifier: Apache-2.0
#include "device/software/engine_queues.h"

namespace jax_ane::software {

using device::EngineState;
using device::PowerState;

namespace {
constexpr int64_t kNanosecondsPerMillisecond = 1'000'000;
}  // namespace

EngineQueues::EngineQueues(const ChipTraits& chip)
    : engines_(static_cast<size_t>(chip.engines)), chip_(chip) {}

int EngineQueues::LeastBusy() const {
    size_t best = 0;
    for (size_t i = 1; i < engines_.size(); ++i) {
        if (engines_[i].running.load(std::memory_order_relaxed) <
            engines_[best].running.load(std::memory_order_relaxed)) {
            best = i;
        }
    }
    return static_cast<int>(best);
}

void EngineQueues::Begin(int engine, int64_t now) {
    Engine& e = engines_[static_cast<size_t>(engine)];
    if (e.running.fetch_add(1, std::memory_order_relaxed) != 0) return;
    const PowerState state = PowerOf(now - e.last_use.load(std::memory_order_relaxed));
    if (state == PowerState::kAwake || state == PowerState::kUnknown) return;
    e.wake_ups.fetch_add(1, std::memory_order_relaxed);
    e.wake_up_ns.fetch_add(WakeUpNanoseconds(state), std::memory_order_relaxed);
}

void EngineQueues::End(int engine, int64_t now) {
    Engine& e = engines_[static_cast<size_t>(engine)];
    e.last_use.store(now, std::memory_order_relaxed);
    e.evaluations.fetch_add(1, std::memory_order_relaxed);
    e.running.fetch_sub(1, std::memory_order_relaxed);
}

PowerState EngineQueues::PowerOf(int64_t idle_ns) const {
    if (chip_.power_off_after_ms == 0) return PowerState::kUnknown;
    if (idle_ns >= chip_.power_off_after_ms * kNanosecondsPerMillisecond) return PowerState::kOff;
    if (chip_.nap_after_ms != 0 && idle_ns >= chip_.nap_after_ms * kNanosecondsPerMillisecond) {
        return PowerState::kNapping;
    }
    return PowerState::kAwake;
}

int64_t EngineQueues::WakeUpNanoseconds(PowerState state) const {
    switch (state) {
        case PowerState::kOff:
            return chip_.power_off_call_us * 1000;
        case PowerState::kNapping:
            return chip_.nap_call_us * 1000;
        default:
            return 0;
    }
}

std::vector<EngineState> EngineQueues::States(int64_t now) const {
    std::vector<EngineState> states;
    for (const Engine& e : engines_) {
        EngineState state;
        state.evaluations = e.evaluations.load(std::memory_order_relaxed);
        state.running = e.running.load(std::memory_order_relaxed);
        state.power = state.running > 0 ? PowerState::kAwake
                                        : PowerOf(now - e.last_use.load(std::memory_order_relaxed));
        state.next_call_us = WakeUpNanoseconds(state.power) / 1000;
        state.wake_ups = e.wake_ups.load(std::memory_order_relaxed);
        state.wake_up_us = e.wake_up_ns.load(std::memory_order_relaxed) / 1000;
        states.push_back(state);
    }
    return states;
}

}  // namespace jax_ane::software
