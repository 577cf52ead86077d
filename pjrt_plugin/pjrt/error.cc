// SPDX-License-Identifier: Apache-2.0
// Errors: construction, the vtable that JAX reads, and the four entries.
#include "pjrt/error.h"

namespace jax_ane::pjrt {
namespace {

void Destroy(PJRT_Error* error) { delete static_cast<ErrorInstance*>(error); }

void Message(const PJRT_Error* error, const char** message, size_t* message_size) {
    const std::string& text = ErrorInstance::Unwrap(error)->status().message();
    *message = text.data();
    *message_size = text.size();
}

PJRT_Error_Code Code(const PJRT_Error* error) {
    return static_cast<PJRT_Error_Code>(ErrorInstance::Unwrap(error)->status().code());
}

void NoPayload(const PJRT_Error*, PJRT_Error_PayloadVisitor, void*) {}

constexpr PJRT_Error_FunctionTable kTable = {
    .struct_size = sizeof(PJRT_Error_FunctionTable),
    .instance_size = sizeof(ErrorInstance),
    .extension_start = nullptr,
    .destroy = Destroy,
    .message = Message,
    .get_code = Code,
    .for_each_payload = NoPayload,
};

void OnErrorDestroy(PJRT_Error_Destroy_Args* args) { Destroy(args->error); }

void OnErrorMessage(PJRT_Error_Message_Args* args) {
    Message(args->error, &args->message, &args->message_size);
}

PJRT_Error* OnErrorGetCode(PJRT_Error_GetCode_Args* args) {
    args->code = Code(args->error);
    return nullptr;
}

// JAX converts an error from here with this very function, for ever; so it never makes one.
PJRT_Error* OnErrorForEachPayload(PJRT_Error_ForEachPayload_Args*) { return nullptr; }

}  // namespace

ErrorInstance::ErrorInstance(Status status) : PJRT_Error{&kTable}, status_(std::move(status)) {}

PJRT_Error* MakeError(Status status) {
    return status.ok() ? nullptr : new ErrorInstance(std::move(status));
}

Status StructTooSmall(size_t got, size_t needed) {
    return InvalidArgument("jax-ane's plugin was given an argument struct of " +
                           std::to_string(got) + " bytes and needs " + std::to_string(needed) +
                           ": this jaxlib is older than the PJRT API 0." +
                           std::to_string(kApiMinor) + "; use jax 0.10.2 or newer");
}

void FillErrorEntries(PJRT_Api* api) {
    api->Error_Destroy = OnErrorDestroy;
    api->Error_Message = OnErrorMessage;
    api->Error_GetCode = OnErrorGetCode;
    api->Error_ForEachPayload = OnErrorForEachPayload;
}

}  // namespace jax_ane::pjrt
