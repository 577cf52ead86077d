// SPDX-License-Identifier: Apache-2.0
// The function table: every slot starts as a stub that names itself, so none can be null; each
// handle's file then puts its own entries in. Also GetPjrtApi, the one exported symbol.
#include "pjrt/api.h"

#include "pjrt/buffer.h"
#include "pjrt/client.h"
#include "pjrt/device.h"
#include "pjrt/error.h"
#include "pjrt/event.h"
#include "pjrt/executable.h"
#include "pjrt/layouts.h"
#include "pjrt/profiler.h"
#include "pjrt/topology.h"

namespace jax_ane::pjrt {
namespace {

#define JAX_ANE_STUB(name)                                                               \
    PJRT_Error* Unimplemented_##name(PJRT_##name##_Args*) {                              \
        return MakeError(Unimplemented("PJRT_" #name " is not implemented by jax-ane")); \
    }
JAX_ANE_PJRT_SLOTS(JAX_ANE_STUB)
#undef JAX_ANE_STUB

PJRT_Api MakeApi() {
    PJRT_Api api = {};
    api.struct_size = sizeof(PJRT_Api);
    api.pjrt_api_version.struct_size = sizeof(PJRT_Api_Version);
    api.pjrt_api_version.major_version = kApiMajor;
    api.pjrt_api_version.minor_version = kApiMinor;
#define JAX_ANE_FILL(name) api.name = Unimplemented_##name;
    JAX_ANE_PJRT_SLOTS(JAX_ANE_FILL)
#undef JAX_ANE_FILL
    api.extension_start = ProfilerExtension(LayoutsExtension(ShardingsExtension()));
    FillErrorEntries(&api);
    FillEventEntries(&api);
    FillClientEntries(&api);
    FillDeviceEntries(&api);
    FillTopologyEntries(&api);
    FillBufferEntries(&api);
    FillUploadEntries(&api);
    FillExecutableEntries(&api);
    FillLoadedExecutableEntries(&api);
    return api;
}

}  // namespace

const PJRT_Api* GetApi() {
    static const PJRT_Api* api = new PJRT_Api(MakeApi());
    return api;
}

}  // namespace jax_ane::pjrt

extern "C" __attribute__((visibility("default"))) const jax_ane::pjrt::PJRT_Api* GetPjrtApi() {
    return jax_ane::pjrt::GetApi();
}
