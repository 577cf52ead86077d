// SPDX-License-Identifier: Apache-2.0
// Status and StatusOr: how every layer below the C boundary reports failure. No exceptions cross
// files.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace jax_ane {

// absl's numbering, which is also PJRT_Error_Code's.
enum class StatusCode {
    kOk = 0,
    kCancelled = 1,
    kUnknown = 2,
    kInvalidArgument = 3,
    kDeadlineExceeded = 4,
    kNotFound = 5,
    kAlreadyExists = 6,
    kPermissionDenied = 7,
    kResourceExhausted = 8,
    kFailedPrecondition = 9,
    kAborted = 10,
    kOutOfRange = 11,
    kUnimplemented = 12,
    kInternal = 13,
    kUnavailable = 14,
    kDataLoss = 15,
    kUnauthenticated = 16,
};

class [[nodiscard]] Status {
  public:
    Status() = default;
    Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

    bool ok() const { return code_ == StatusCode::kOk; }
    StatusCode code() const { return code_; }
    const std::string& message() const { return message_; }

  private:
    StatusCode code_ = StatusCode::kOk;
    std::string message_;
};

inline Status InvalidArgument(std::string message) {
    return {StatusCode::kInvalidArgument, std::move(message)};
}
inline Status Unimplemented(std::string message) {
    return {StatusCode::kUnimplemented, std::move(message)};
}
inline Status Internal(std::string message) { return {StatusCode::kInternal, std::move(message)}; }
inline Status FailedPrecondition(std::string message) {
    return {StatusCode::kFailedPrecondition, std::move(message)};
}
inline Status ResourceExhausted(std::string message) {
    return {StatusCode::kResourceExhausted, std::move(message)};
}
inline Status NotFound(std::string message) { return {StatusCode::kNotFound, std::move(message)}; }

template <typename T>
class [[nodiscard]] StatusOr {
  public:
    StatusOr(Status status) : value_(std::move(status)) {}
    StatusOr(T value) : value_(std::move(value)) {}

    bool ok() const { return std::holds_alternative<T>(value_); }
    Status status() const { return ok() ? Status() : std::get<Status>(value_); }
    T& operator*() & { return std::get<T>(value_); }
    const T& operator*() const& { return std::get<T>(value_); }
    T&& operator*() && { return std::get<T>(std::move(value_)); }
    T* operator->() { return &std::get<T>(value_); }
    const T* operator->() const { return &std::get<T>(value_); }

  private:
    std::variant<Status, T> value_;
};

// An answer from outside as one that every layer above knows: a code that is none becomes INTERNAL.
inline Status KnownStatus(Status status, const std::string& what) {
    const int code = static_cast<int>(status.code());
    if (code >= 0 && code <= static_cast<int>(StatusCode::kUnauthenticated)) return status;
    return Internal(what + ": the device answered with the unknown status " + std::to_string(code) +
                    status.message());
}

#define JAX_ANE_RETURN_IF_ERROR(expr)       \
    do {                                    \
        ::jax_ane::Status status_ = (expr); \
        if (!status_.ok()) return status_;  \
    } while (false)

#define JAX_ANE_CONCAT_INNER(a, b) a##b
#define JAX_ANE_CONCAT(a, b) JAX_ANE_CONCAT_INNER(a, b)
#define JAX_ANE_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
    auto tmp = (expr);                                \
    if (!tmp.ok()) return tmp.status();               \
    lhs = *std::move(tmp)
#define JAX_ANE_ASSIGN_OR_RETURN(lhs, expr) \
    JAX_ANE_ASSIGN_OR_RETURN_IMPL(JAX_ANE_CONCAT(statusor_, __LINE__), lhs, expr)

}  // namespace jax_ane
