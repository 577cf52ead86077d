// SPDX-License-Identifier: Apache-2.0
// The topology that a client owns, and its entries.
#include "pjrt/topology.h"

#include <utility>

#include "pjrt/device.h"
#include "pjrt/error.h"

namespace jax_ane::pjrt {

uint64_t Fingerprint(const std::string& text, uint64_t seed) {
    uint64_t hash = seed;
    for (unsigned char byte : text) hash = (hash ^ byte) * 1099511628211u;
    return hash;
}

TopologyInstance::TopologyInstance(std::string platform_version,
                                   std::vector<PJRT_DeviceDescription*> devices)
    : platform_version_(std::move(platform_version)), devices_(std::move(devices)) {
    attributes_.Add("num_devices", static_cast<int64_t>(devices_.size()));
    fingerprint_ = Fingerprint(platform_version_);
    for (PJRT_DeviceDescription* device : devices_) {
        fingerprint_ =
            Fingerprint(DeviceDescriptionInstance::Unwrap(device)->debug_string(), fingerprint_);
    }
}

namespace {

Status OnTopologyDescriptionPlatformName(PJRT_TopologyDescription_PlatformName_Args& args) {
    args.platform_name = kPlatformName;
    args.platform_name_size = sizeof(kPlatformName) - 1;
    return {};
}

Status OnTopologyDescriptionPlatformVersion(PJRT_TopologyDescription_PlatformVersion_Args& args) {
    const std::string& text = TopologyInstance::Unwrap(args.topology)->platform_version();
    args.platform_version = text.data();
    args.platform_version_size = text.size();
    return {};
}

Status OnTopologyDescriptionGetDeviceDescriptions(
    PJRT_TopologyDescription_GetDeviceDescriptions_Args& args) {
    const auto& devices = TopologyInstance::Unwrap(args.topology)->devices();
    args.descriptions = devices.data();
    args.num_descriptions = devices.size();
    return {};
}

Status OnTopologyDescriptionAttributes(PJRT_TopologyDescription_Attributes_Args& args) {
    const NamedValueList& list = TopologyInstance::Unwrap(args.topology)->attributes();
    args.attributes = list.data();
    args.num_attributes = list.size();
    return {};
}

Status OnTopologyDescriptionFingerprint(PJRT_TopologyDescription_Fingerprint_Args& args) {
    args.fingerprint = TopologyInstance::Unwrap(args.topology)->fingerprint();
    return {};
}

// Every topology belongs to a client, which frees it.
Status OnTopologyDescriptionDestroy(PJRT_TopologyDescription_Destroy_Args&) { return {}; }

}  // namespace

void FillTopologyEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, TopologyDescription_PlatformName, OnTopologyDescriptionPlatformName);
    JAX_ANE_ENTRY(api, TopologyDescription_PlatformVersion, OnTopologyDescriptionPlatformVersion);
    JAX_ANE_ENTRY(api, TopologyDescription_GetDeviceDescriptions,
                  OnTopologyDescriptionGetDeviceDescriptions);
    JAX_ANE_ENTRY(api, TopologyDescription_Attributes, OnTopologyDescriptionAttributes);
    JAX_ANE_ENTRY(api, TopologyDescription_Fingerprint, OnTopologyDescriptionFingerprint);
    JAX_ANE_ENTRY(api, TopologyDescription_Destroy, OnTopologyDescriptionDestroy);
}

}  // namespace jax_ane::pjrt
