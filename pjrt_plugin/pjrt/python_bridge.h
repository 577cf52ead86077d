// SPDX-License-Identifier: Apache-2.0
// The plugin's way into Python: the GIL, owned references that may be dropped on any thread, and
// the translation of Python exceptions into a Status. JAX calls most entries without the GIL.
#pragma once

#include <nanobind/nanobind.h>

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "util/status.h"

namespace jax_ane::pjrt {

namespace nb = nanobind;

// False before Python runs and once Py_Finalize has begun: then references leak and no Python
// API may be touched.
bool PythonIsAlive();

// Takes the GIL and drops what other threads left behind (see PyRef).
class GilHolder {
  public:
    GilHolder();
    ~GilHolder();
    GilHolder(const GilHolder&) = delete;
    GilHolder& operator=(const GilHolder&) = delete;

  private:
    PyGILState_STATE state_;
};

// A strong reference that may be destroyed on a thread without the GIL: the decref is queued and
// done by the main thread or the next GilHolder, whichever comes first.
class PyRef {
  public:
    PyRef() = default;
    explicit PyRef(nb::object object) : pointer_(object.release().ptr()) {}
    PyRef(PyRef&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
    PyRef& operator=(PyRef&& other) noexcept {
        std::swap(pointer_, other.pointer_);
        return *this;
    }
    ~PyRef();

    explicit operator bool() const { return pointer_ != nullptr; }
    // Needs the GIL only when the caller keeps the handle as an object.
    nb::handle get() const { return pointer_; }

  private:
    PyObject* pointer_ = nullptr;
};

// The Status for the Python exception that is being handled. Needs the GIL.
Status StatusFromPython(nb::python_error& error);

// Runs `body`, which returns a Status, with the GIL; exceptions from Python become a Status.
template <typename Body>
Status WithPython(Body&& body) {
    if (!PythonIsAlive()) return FailedPrecondition("Python is shutting down");
    GilHolder gil;
    try {
        return body();
    } catch (nb::python_error& error) {
        return StatusFromPython(error);
    } catch (const nb::cast_error&) {
        return Internal("jax_ane._host answered with a value of an unexpected type");
    }
}

}  // namespace jax_ane::pjrt
