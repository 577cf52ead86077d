// SPDX-License-Identifier: Apache-2.0
// Notices when executions of the inner client are done: one thread that waits for their results in
// turn and sets their events. XLA:CPU has no other road from its results to C++.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "pjrt/event.h"
#include "pjrt/python_bridge.h"

namespace jax_ane::pjrt {

class CompletionQueue {
  public:
    static CompletionQueue& Get();

    // Sets `state` once `array`, a result of an execution of `program`, is there; until then the
    // program stays loaded, though its user may have dropped it. Needs the GIL. After Stop it waits
    // before it returns.
    void Watch(nb::handle array, nb::handle program, std::shared_ptr<EventState> state);
    // Waits for what is pending and ends the thread: at interpreter exit, before Python goes away.
    // Must not be called with the GIL.
    void Stop();

  private:
    struct Item {
        PyRef array, program;
        std::shared_ptr<EventState> state;
    };
    void Work();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Item> items_;
    std::thread thread_;
    bool stopped_ = false;
};

}  // namespace jax_ane::pjrt
