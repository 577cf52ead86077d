// SPDX-License-Identifier: Apache-2.0
// PJRT_Event: one handle on a one-shot result that many handles may share.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "pjrt/c_api.h"
#include "util/status.h"

namespace jax_ane::pjrt {

// What an event waits for. Set once; callbacks run without the lock, because they re-enter the
// plugin (JAX destroys the event inside its callback).
class EventState {
  public:
    void Set(Status status);
    bool IsReady() const;
    Status Await() const;
    // Calls `callback` exactly once: now when ready, else from the thread that calls Set.
    void OnReady(std::function<void(const Status&)> callback);

  private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    bool ready_ = false;
    Status status_;
    std::vector<std::function<void(const Status&)>> callbacks_;
};

class EventInstance {
  public:
    explicit EventInstance(std::shared_ptr<EventState> state) : state_(std::move(state)) {}

    // A new handle on a result that is known already. Null state stands for success, so that the
    // common event costs one small allocation.
    static PJRT_Event* MakeReady(Status status = Status());
    static EventInstance* Unwrap(PJRT_Event* event) {
        return reinterpret_cast<EventInstance*>(event);
    }
    PJRT_Event* Wrap() { return reinterpret_cast<PJRT_Event*>(this); }

    // Null when the event was made ready and good.
    const std::shared_ptr<EventState>& state() const { return state_; }

  private:
    std::shared_ptr<EventState> state_;
};

void FillEventEntries(PJRT_Api* api);

}  // namespace jax_ane::pjrt
