// SPDX-License-Identifier: Apache-2.0
// Events: the shared state and the seven entries.
#include "pjrt/event.h"

#include <string>
#include <utility>

#include "pjrt/error.h"

namespace jax_ane::pjrt {

void EventState::Set(Status status) {
    std::vector<std::function<void(const Status&)>> callbacks;
    {
        std::lock_guard lock(mutex_);
        if (ready_) return;
        ready_ = true;
        status_ = status;
        callbacks.swap(callbacks_);
    }
    changed_.notify_all();
    for (auto& callback : callbacks) callback(status);
}

bool EventState::IsReady() const {
    std::lock_guard lock(mutex_);
    return ready_;
}

Status EventState::Await() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_; });
    return status_;
}

void EventState::OnReady(std::function<void(const Status&)> callback) {
    {
        std::lock_guard lock(mutex_);
        if (!ready_) {
            callbacks_.push_back(std::move(callback));
            return;
        }
    }
    callback(status_);  // Never changes once ready.
}

PJRT_Event* EventInstance::MakeReady(Status status) {
    std::shared_ptr<EventState> state;
    if (!status.ok()) {
        state = std::make_shared<EventState>();
        state->Set(std::move(status));
    }
    return (new EventInstance(std::move(state)))->Wrap();
}

namespace {

Status OnEventDestroy(PJRT_Event_Destroy_Args& args) {
    delete EventInstance::Unwrap(args.event);
    return {};
}

Status OnEventIsReady(PJRT_Event_IsReady_Args& args) {
    const auto& state = EventInstance::Unwrap(args.event)->state();
    args.is_ready = !state || state->IsReady();
    return {};
}

Status OnEventError(PJRT_Event_Error_Args& args) {
    const auto& state = EventInstance::Unwrap(args.event)->state();
    if (!state) return {};
    if (!state->IsReady()) return FailedPrecondition("the event is not ready yet");
    return state->Await();
}

Status OnEventAwait(PJRT_Event_Await_Args& args) {
    // A copy: the handle may be destroyed while this thread waits.
    std::shared_ptr<EventState> state = EventInstance::Unwrap(args.event)->state();
    return state ? state->Await() : Status();
}

Status OnEventOnReady(PJRT_Event_OnReady_Args& args) {
    auto callback = args.callback;
    void* user_arg = args.user_arg;
    std::shared_ptr<EventState> state = EventInstance::Unwrap(args.event)->state();
    if (!state) {
        callback(nullptr, user_arg);
        return {};
    }
    state->OnReady([callback, user_arg](const Status& s) { callback(MakeError(s), user_arg); });
    return {};
}

Status OnEventCreate(PJRT_Event_Create_Args& args) {
    args.event = (new EventInstance(std::make_shared<EventState>()))->Wrap();
    return {};
}

Status OnEventSet(PJRT_Event_Set_Args& args) {
    const auto& state = EventInstance::Unwrap(args.event)->state();
    if (!state || state->IsReady()) return FailedPrecondition("the event was set before");
    std::string message;
    if (args.error_message) message.assign(args.error_message, args.error_message_size);
    state->Set(Status(static_cast<StatusCode>(args.error_code), std::move(message)));
    return {};
}

}  // namespace

void FillEventEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, Event_Destroy, OnEventDestroy);
    JAX_ANE_ENTRY(api, Event_IsReady, OnEventIsReady);
    JAX_ANE_ENTRY(api, Event_Error, OnEventError);
    JAX_ANE_ENTRY(api, Event_Await, OnEventAwait);
    JAX_ANE_ENTRY(api, Event_OnReady, OnEventOnReady);
    JAX_ANE_ENTRY(api, Event_Create, OnEventCreate);
    JAX_ANE_ENTRY(api, Event_Set, OnEventSet);
}

}  // namespace jax_ane::pjrt
