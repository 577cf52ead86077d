// SPDX-License-Identifier: Apache-2.0
// PJRT_Error as this plugin makes it, and the wrapper that turns a handler which returns a Status
// into an entry of the C API: the one place where exceptions stop.
#pragma once

#include <exception>
#include <new>
#include <string>

#include "pjrt/c_api.h"
#include "util/status.h"

namespace jax_ane::pjrt {

// The vtable word comes first because JAX reads it. The receiver of an error owns it.
class ErrorInstance : public PJRT_Error {
  public:
    explicit ErrorInstance(Status status);

    static const ErrorInstance* Unwrap(const PJRT_Error* error) {
        return static_cast<const ErrorInstance*>(error);
    }
    const Status& status() const { return status_; }

  private:
    Status status_;
};

// Null when `status` is good; otherwise a new error that the caller owns.
PJRT_Error* MakeError(Status status);

// The error for an argument struct that is smaller than this plugin needs.
Status StructTooSmall(size_t got, size_t needed);

void FillErrorEntries(PJRT_Api* api);

// Makes an entry of the table from `handler`.
template <typename Args, Status (*handler)(Args&)>
PJRT_Error* Entry(Args* args) noexcept {
    try {
        if (args->struct_size < kStructSize<Args>) {
            return MakeError(StructTooSmall(args->struct_size, kStructSize<Args>));
        }
        return MakeError(handler(*args));
    } catch (const std::bad_alloc&) {
        return MakeError(ResourceExhausted("the host has no memory left"));
    } catch (const std::exception& error) {
        return MakeError(Internal(error.what()));
    } catch (...) {
        return MakeError(Internal("unknown C++ exception in the ane plugin"));
    }
}

// `api->Buffer_Destroy = Entry<PJRT_Buffer_Destroy_Args, OnBufferDestroy>` without saying it twice.
#define JAX_ANE_ENTRY(api, name, handler) (api)->name = Entry<PJRT_##name##_Args, handler>

}  // namespace jax_ane::pjrt
