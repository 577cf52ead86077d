// SPDX-License-Identifier: Apache-2.0
#include "pjrt/completion.h"

namespace jax_ane::pjrt {

namespace {

// Blocks until the array is there; jaxlib lets go of the GIL meanwhile. Needs the GIL.
Status BlockUntilReady(nb::handle array) {
    static PyObject* name = PyUnicode_InternFromString("block_until_ready");
    PyObject* result = PyObject_CallMethodNoArgs(array.ptr(), name);
    if (result == nullptr) throw nb::python_error();
    Py_DECREF(result);
    return {};
}

}  // namespace

CompletionQueue& CompletionQueue::Get() {
    // Never destroyed: executions may be running while the process exits.
    static auto* queue = new CompletionQueue;
    return *queue;
}

void CompletionQueue::Watch(nb::handle array, nb::handle program,
                            std::shared_ptr<EventState> state) {
    {
        std::lock_guard lock(mutex_);
        if (!stopped_) {
            if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
            items_.push_back(
                {PyRef(nb::borrow(array)), PyRef(nb::borrow(program)), std::move(state)});
            changed_.notify_one();
            return;
        }
    }
    state->Set(WithPython([&] { return BlockUntilReady(array); }));
}

void CompletionQueue::Stop() {
    std::thread thread;
    {
        std::lock_guard lock(mutex_);
        stopped_ = true;
        thread = std::move(thread_);
    }
    changed_.notify_all();
    if (thread.joinable()) thread.join();
}

void CompletionQueue::Work() {
    for (;;) {
        Item item;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopped_ || !items_.empty(); });
            if (items_.empty()) return;
            item = std::move(items_.front());
            items_.pop_front();
        }
        Status status = WithPython([&] { return BlockUntilReady(item.array.get()); });
        item.state->Set(std::move(status));
    }
}

}  // namespace jax_ane::pjrt
