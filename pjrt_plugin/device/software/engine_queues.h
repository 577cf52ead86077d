// SPDX-License-Identifier: Apache-2.0
// The engines of one chip: which of them takes an evaluation, what each has done, and whether it
// would have to wake up first. Nothing here waits or sleeps: a wake-up is counted and its cost
// predicted.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "device/device.h"
#include "device/software/chip_traits.h"

namespace jax_ane::software {

class EngineQueues {
  public:
    explicit EngineQueues(const ChipTraits& chip);

    // The engine with the fewest evaluations under way, the first of several.
    int LeastBusy() const;
    // An evaluation starts or ends on an engine; `now` in nanoseconds of a steady clock.
    void Begin(int engine, int64_t now);
    void End(int engine, int64_t now);
    std::vector<device::EngineState> States(int64_t now) const;

  private:
    struct Engine {
        std::atomic<int64_t> running{0};
        std::atomic<int64_t> evaluations{0};
        std::atomic<int64_t> last_use{kNever};
        std::atomic<int64_t> wake_ups{0};
        std::atomic<int64_t> wake_up_ns{0};
    };
    static constexpr int64_t kNever = INT64_MIN / 2;

    device::PowerState PowerOf(int64_t idle_ns) const;
    int64_t WakeUpNanoseconds(device::PowerState state) const;

    std::vector<Engine> engines_;
    const ChipTraits chip_;
};

}  // namespace jax_ane::software
