// SPDX-License-Identifier: Apache-2.0
// The entries of PJRT_LoadedExecutable, and those that make one.
#include "pjrt/error.h"
#include "pjrt/executable.h"

namespace jax_ane::pjrt {
namespace {

LoadedExecutableInstance& Get(PJRT_LoadedExecutable* executable) {
    return *LoadedExecutableInstance::Unwrap(executable);
}

Status OnClientCompile(PJRT_Client_Compile_Args& args) {
    const PJRT_Program& given = *args.program;
    const std::string format(given.format, given.format_size);
    if (format != "mlir") {
        return InvalidArgument("programs come in the format \"mlir\", not \"" + format + "\"");
    }
    JAX_ANE_ASSIGN_OR_RETURN(
        std::shared_ptr<Program> program,
        Program::Compile(ClientInstance::Unwrap(args.client),
                         std::string(given.code, given.code_size),
                         std::string(args.compile_options, args.compile_options_size)));
    args.executable = (new LoadedExecutableInstance(std::move(program)))->Wrap();
    return {};
}

Status OnExecutableDeserializeAndLoad(PJRT_Executable_DeserializeAndLoad_Args& args) {
    ClientInstance* client = ClientInstance::Unwrap(args.client);
    JAX_ANE_ASSIGN_OR_RETURN(ProgramSource source, ParseSerialized(args.serialized_executable,
                                                                   args.serialized_executable_size,
                                                                   client->platform_version()));
    if (args.overridden_serialized_compile_options &&
        args.overridden_serialized_compile_options_size > 0) {
        source.options.assign(args.overridden_serialized_compile_options,
                              args.overridden_serialized_compile_options_size);
        // _host tells whether what is stored fits these options.
    }
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<Program> program,
                             Program::Compile(client, std::move(source.code),
                                              std::move(source.options), std::move(source.stored)));
    args.loaded_executable = (new LoadedExecutableInstance(std::move(program)))->Wrap();
    return {};
}

Status OnLoadedExecutableDestroy(PJRT_LoadedExecutable_Destroy_Args& args) {
    delete LoadedExecutableInstance::Unwrap(args.executable);
    return {};
}

Status OnLoadedExecutableGetExecutable(PJRT_LoadedExecutable_GetExecutable_Args& args) {
    args.executable = (new ExecutableInstance(Get(args.loaded_executable).program()))->Wrap();
    return {};
}

Status OnLoadedExecutableAddressableDevices(PJRT_LoadedExecutable_AddressableDevices_Args& args) {
    const auto& devices = Get(args.executable).program()->devices;
    args.addressable_devices = devices.data();
    args.num_addressable_devices = devices.size();
    return {};
}

Status OnLoadedExecutableAddressableDeviceLogicalIds(
    PJRT_LoadedExecutable_AddressableDeviceLogicalIds_Args& args) {
    auto& ids = Get(args.executable).program()->logical_ids;
    args.addressable_device_logical_ids = ids.data();
    args.num_addressable_device_logical_ids = ids.size();
    return {};
}

Status OnLoadedExecutableGetDeviceAssignment(PJRT_LoadedExecutable_GetDeviceAssignment_Args& args) {
    // The bytes live with the program; the holder only has to be there.
    const std::string& bytes = Get(args.executable).program()->device_assignment;
    args.serialized_bytes = bytes.data();
    args.serialized_bytes_size = bytes.size();
    args.serialized_device_assignment =
        reinterpret_cast<PJRT_DeviceAssignmentSerialized*>(args.executable);
    args.serialized_device_assignment_deleter = [](PJRT_DeviceAssignmentSerialized*) {};
    return {};
}

Status OnLoadedExecutableDelete(PJRT_LoadedExecutable_Delete_Args& args) {
    Get(args.executable).Delete();
    return {};
}

Status OnLoadedExecutableIsDeleted(PJRT_LoadedExecutable_IsDeleted_Args& args) {
    args.is_deleted = Get(args.executable).is_deleted();
    return {};
}

Status OnLoadedExecutableFingerprint(PJRT_LoadedExecutable_Fingerprint_Args& args) {
    const std::string& text = Get(args.executable).program()->fingerprint;
    args.executable_fingerprint = text.data();
    args.executable_fingerprint_size = text.size();
    return {};
}

Status OnLoadedExecutableExecute(PJRT_LoadedExecutable_Execute_Args& args) {
    LoadedExecutableInstance& executable = Get(args.executable);
    if (executable.is_deleted()) {
        return FailedPrecondition("the executable " + executable.program()->name +
                                  " has been deleted");
    }
    // A share of its own: the handle may be destroyed by another thread meanwhile.
    std::shared_ptr<Program> program = executable.program();
    return Execute(program, args);
}

}  // namespace

void FillLoadedExecutableEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, Client_Compile, OnClientCompile);
    JAX_ANE_ENTRY(api, Executable_DeserializeAndLoad, OnExecutableDeserializeAndLoad);
    JAX_ANE_ENTRY(api, LoadedExecutable_Destroy, OnLoadedExecutableDestroy);
    JAX_ANE_ENTRY(api, LoadedExecutable_GetExecutable, OnLoadedExecutableGetExecutable);
    JAX_ANE_ENTRY(api, LoadedExecutable_AddressableDevices, OnLoadedExecutableAddressableDevices);
    JAX_ANE_ENTRY(api, LoadedExecutable_AddressableDeviceLogicalIds,
                  OnLoadedExecutableAddressableDeviceLogicalIds);
    JAX_ANE_ENTRY(api, LoadedExecutable_GetDeviceAssignment, OnLoadedExecutableGetDeviceAssignment);
    JAX_ANE_ENTRY(api, LoadedExecutable_Delete, OnLoadedExecutableDelete);
    JAX_ANE_ENTRY(api, LoadedExecutable_IsDeleted, OnLoadedExecutableIsDeleted);
    JAX_ANE_ENTRY(api, LoadedExecutable_Fingerprint, OnLoadedExecutableFingerprint);
    JAX_ANE_ENTRY(api, LoadedExecutable_Execute, OnLoadedExecutableExecute);
}

}  // namespace jax_ane::pjrt
