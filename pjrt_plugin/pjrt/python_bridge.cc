// SPDX-License-Identifier: Apache-2.0
// The GIL, deferred decrefs, and which PJRT code a Python exception becomes.
#include "pjrt/python_bridge.h"

#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace jax_ane::pjrt {
namespace {

struct DropQueue {
    std::mutex mutex;
    std::vector<PyObject*> pending;
    std::atomic<bool> any = false;
};

// Never destroyed: references arrive after static destructors would have run.
DropQueue& Queue() {
    static DropQueue* queue = new DropQueue;
    return *queue;
}

void DrainQueue() {
    DropQueue& queue = Queue();
    if (!queue.any.load(std::memory_order_acquire)) return;
    std::vector<PyObject*> dropped;
    {
        std::lock_guard lock(queue.mutex);
        dropped.swap(queue.pending);
        queue.any.store(false, std::memory_order_relaxed);
    }
    // Outside the lock: a decref may run any code, which may come back here.
    for (PyObject* object : dropped) Py_DECREF(object);
}

int DrainPending(void*) {
    DrainQueue();
    return 0;
}

struct CodeName {
    std::string_view name;
    StatusCode code;
};

// XLA's errors say their code as the first word of their text.
constexpr std::array<CodeName, 16> kCodeNames = {{
    {"CANCELLED", StatusCode::kCancelled},
    {"UNKNOWN", StatusCode::kUnknown},
    {"INVALID_ARGUMENT", StatusCode::kInvalidArgument},
    {"DEADLINE_EXCEEDED", StatusCode::kDeadlineExceeded},
    {"NOT_FOUND", StatusCode::kNotFound},
    {"ALREADY_EXISTS", StatusCode::kAlreadyExists},
    {"PERMISSION_DENIED", StatusCode::kPermissionDenied},
    {"RESOURCE_EXHAUSTED", StatusCode::kResourceExhausted},
    {"FAILED_PRECONDITION", StatusCode::kFailedPrecondition},
    {"ABORTED", StatusCode::kAborted},
    {"OUT_OF_RANGE", StatusCode::kOutOfRange},
    {"UNIMPLEMENTED", StatusCode::kUnimplemented},
    {"INTERNAL", StatusCode::kInternal},
    {"UNAVAILABLE", StatusCode::kUnavailable},
    {"DATA_LOSS", StatusCode::kDataLoss},
    {"UNAUTHENTICATED", StatusCode::kUnauthenticated},
}};

StatusCode CodeOfClass(nb::handle type, std::string_view class_name) {
    if (PyErr_GivenExceptionMatches(type.ptr(), PyExc_NotImplementedError) ||
        class_name == "UnsupportedOpError") {
        return StatusCode::kUnimplemented;
    }
    if (PyErr_GivenExceptionMatches(type.ptr(), PyExc_ValueError) ||
        PyErr_GivenExceptionMatches(type.ptr(), PyExc_TypeError)) {
        return StatusCode::kInvalidArgument;
    }
    if (PyErr_GivenExceptionMatches(type.ptr(), PyExc_MemoryError)) {
        return StatusCode::kResourceExhausted;
    }
    return StatusCode::kInternal;
}

std::string TextOf(nb::handle value) {
    PyObject* text = PyObject_Str(value.ptr());
    Py_ssize_t size = 0;
    const char* data = text ? PyUnicode_AsUTF8AndSize(text, &size) : nullptr;
    std::string result = data ? std::string(data, size) : "(the exception has no text)";
    Py_XDECREF(text);
    PyErr_Clear();
    return result;
}

}  // namespace

bool PythonIsAlive() {
    if (!Py_IsInitialized()) return false;
#if PY_VERSION_HEX >= 0x030d0000
    return !Py_IsFinalizing();
#else
    return !_Py_IsFinalizing();
#endif
}

GilHolder::GilHolder() : state_(PyGILState_Ensure()) { DrainQueue(); }

GilHolder::~GilHolder() { PyGILState_Release(state_); }

PyRef::~PyRef() {
    if (!pointer_ || !PythonIsAlive()) return;
    // Not decref'd at once even when this thread has the GIL: the caller may hold a lock that the
    // object's destructor wants.
    DropQueue& queue = Queue();
    bool was_empty;
    {
        std::lock_guard lock(queue.mutex);
        queue.pending.push_back(pointer_);
        was_empty = !queue.any.exchange(true, std::memory_order_release);
    }
    // An idle process must not keep the memory until its next computation. When Python has no
    // room for the request, the next GilHolder does it.
    if (was_empty) Py_AddPendingCall(DrainPending, nullptr);
}

Status StatusFromPython(nb::python_error& error) {
    nb::handle type = error.type();
    std::string class_name = TextOf(type.attr("__name__"));
    std::string text = TextOf(error.value());
    if (class_name == "JaxRuntimeError" || class_name == "XlaRuntimeError") {
        for (const CodeName& entry : kCodeNames) {
            if (text.size() > entry.name.size() + 1 && text.starts_with(entry.name) &&
                text[entry.name.size()] == ':') {
                return {entry.code, text.substr(entry.name.size() + 2)};
            }
        }
        return Internal(text);
    }
    return {CodeOfClass(type, class_name), class_name + ": " + text};
}

}  // namespace jax_ane::pjrt
