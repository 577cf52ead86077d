// SPDX-License-Identifier: Apache-2.0
// The client and its entries, except compilation (executable.cc) and buffers (upload.cc).
#include "pjrt/client.h"

#include "pjrt/error.h"

namespace jax_ane::pjrt {
namespace {

constexpr int kMaxDevices = 1024;
constexpr int kMaxProcesses = 1 << 16;
// The first device of process p has this number times p, as on cpu.
constexpr int kIdsPerProcess = 2048;

}  // namespace

ClientInstance::ClientInstance(const ClientOptions& options)
    : platform_version_("jax-ane " + options.version + ", " + options.device_kind),
      process_index_(options.process_index) {
    const int64_t limit =
        options.memory_limit_bytes > 0 ? options.memory_limit_bytes : DefaultMemoryLimit();
    std::vector<PJRT_DeviceDescription*> descriptions;
    for (int process = 0; process < options.num_processes; ++process) {
        const bool is_ours = process == options.process_index;
        for (int index = 0; index < options.num_devices; ++index) {
            const DevicePlace place = {process * kIdsPerProcess + index, process, index, is_ours};
            devices_.push_back(std::make_unique<DeviceInstance>(this, place, options.device_kind,
                                                                limit / options.num_devices));
            DeviceInstance& device = *devices_.back();
            device_handles_.push_back(device.Wrap());
            descriptions.push_back(device.description().Wrap());
            if (!is_ours) continue;
            addressable_.push_back(device.Wrap());
            const auto& memories = device.memories();
            memory_handles_.insert(memory_handles_.end(), memories.begin(), memories.end());
        }
    }
    topology_ = std::make_unique<TopologyInstance>(platform_version_, std::move(descriptions));
}

DeviceInstance* ClientInstance::FindDevice(int64_t id) {
    for (const auto& device : devices_) {
        if (device->id() == id) return device.get();
    }
    return nullptr;
}

nb::handle ClientInstance::Engine() {
    if (!engine_) {
        nb::object engine =
            nb::module_::import_("jax_ane._host")
                .attr("engine_for")(addressable_.size(), addressable_.size() < devices_.size());
        // The call lets other threads run, which get the same.
        if (!engine_) engine_ = PyRef(std::move(engine));
    }
    return engine_.get();
}

namespace {

Status OnPluginInitialize(PJRT_Plugin_Initialize_Args&) { return {}; }

// No attribute: jaxlib itself reads the programs back, in whatever version it wrote them.
Status OnPluginAttributes(PJRT_Plugin_Attributes_Args& args) {
    args.attributes = nullptr;
    args.num_attributes = 0;
    return {};
}

Status OnClientCreate(PJRT_Client_Create_Args& args) {
    ClientOptions options;
    const PJRT_NamedValue* given = args.create_options;
    const size_t count = args.num_options;
    const int64_t num_devices = IntOption(given, count, "num_devices", 1);
    if (num_devices < 1 || num_devices > kMaxDevices) {
        return InvalidArgument("option num_devices is " + std::to_string(num_devices) +
                               "; use 1 to " + std::to_string(kMaxDevices));
    }
    options.num_devices = static_cast<int>(num_devices);
    // JAX adds these two in a distributed run.
    const int64_t processes = IntOption(given, count, "num_nodes", 1);
    const int64_t index = IntOption(given, count, "node_id", 0);
    if (processes < 1 || processes > kMaxProcesses || index < 0 || index >= processes) {
        return InvalidArgument("process " + std::to_string(index) + " of " +
                               std::to_string(processes) + " cannot be");
    }
    options.num_processes = static_cast<int>(processes);
    options.process_index = static_cast<int>(index);
    options.device_kind = StringOption(given, count, "device_kind", options.device_kind);
    options.version = StringOption(given, count, "version", options.version);
    options.memory_limit_bytes = IntOption(given, count, "memory_limit_bytes", 0);
    args.client = (new ClientInstance(options))->Wrap();
    return {};
}

Status OnClientDestroy(PJRT_Client_Destroy_Args& args) {
    delete ClientInstance::Unwrap(args.client);
    return {};
}

Status OnClientPlatformName(PJRT_Client_PlatformName_Args& args) {
    args.platform_name = kPlatformName;
    args.platform_name_size = sizeof(kPlatformName) - 1;
    return {};
}

Status OnClientProcessIndex(PJRT_Client_ProcessIndex_Args& args) {
    args.process_index = ClientInstance::Unwrap(args.client)->process_index();
    return {};
}

Status OnClientPlatformVersion(PJRT_Client_PlatformVersion_Args& args) {
    const std::string& text = ClientInstance::Unwrap(args.client)->platform_version();
    args.platform_version = text.data();
    args.platform_version_size = text.size();
    return {};
}

Status OnClientTopologyDescription(PJRT_Client_TopologyDescription_Args& args) {
    args.topology = ClientInstance::Unwrap(args.client)->topology().Wrap();
    return {};
}

Status OnClientDevices(PJRT_Client_Devices_Args& args) {
    const auto& devices = ClientInstance::Unwrap(args.client)->devices();
    args.devices = devices.data();
    args.num_devices = devices.size();
    return {};
}

Status OnClientAddressableDevices(PJRT_Client_AddressableDevices_Args& args) {
    const auto& devices = ClientInstance::Unwrap(args.client)->addressable_devices();
    args.addressable_devices = devices.data();
    args.num_addressable_devices = devices.size();
    return {};
}

StatusOr<DeviceInstance*> FindDevice(PJRT_Client* client, int id) {
    DeviceInstance* device = ClientInstance::Unwrap(client)->FindDevice(id);
    if (!device) return NotFound("there is no ane device with id " + std::to_string(id));
    return device;
}

Status OnClientLookupDevice(PJRT_Client_LookupDevice_Args& args) {
    JAX_ANE_ASSIGN_OR_RETURN(DeviceInstance * device, FindDevice(args.client, args.id));
    args.device = device->Wrap();
    return {};
}

Status OnClientLookupAddressableDevice(PJRT_Client_LookupAddressableDevice_Args& args) {
    const auto& devices = ClientInstance::Unwrap(args.client)->addressable_devices();
    const int index = args.local_hardware_id;
    if (index < 0 || index >= static_cast<int>(devices.size())) {
        return NotFound("this process has no ane device " + std::to_string(index));
    }
    args.addressable_device = devices[index];
    return {};
}

Status OnClientAddressableMemories(PJRT_Client_AddressableMemories_Args& args) {
    const auto& memories = ClientInstance::Unwrap(args.client)->memories();
    args.addressable_memories = memories.data();
    args.num_addressable_memories = memories.size();
    return {};
}

// Answered with success because JAX ends the process of a distributed run otherwise.
Status OnClientUpdateGlobalProcessInfo(PJRT_Client_UpdateGlobalProcessInfo_Args&) { return {}; }

Status OnClientDefaultDeviceAssignment(PJRT_Client_DefaultDeviceAssignment_Args& args) {
    const size_t needed = static_cast<size_t>(args.num_replicas) * args.num_partitions;
    const auto& devices = ClientInstance::Unwrap(args.client)->devices();
    const size_t have = devices.size();
    if (args.default_assignment_size < needed || needed > have) {
        return InvalidArgument(std::to_string(needed) + " devices asked for, " +
                               std::to_string(have) + " exist and there is room for " +
                               std::to_string(args.default_assignment_size));
    }
    for (size_t i = 0; i < needed; ++i) {
        args.default_assignment[i] = DeviceInstance::Unwrap(devices[i])->id();
    }
    return {};
}

}  // namespace

void FillClientEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, Plugin_Initialize, OnPluginInitialize);
    JAX_ANE_ENTRY(api, Plugin_Attributes, OnPluginAttributes);
    JAX_ANE_ENTRY(api, Client_Create, OnClientCreate);
    JAX_ANE_ENTRY(api, Client_Destroy, OnClientDestroy);
    JAX_ANE_ENTRY(api, Client_PlatformName, OnClientPlatformName);
    JAX_ANE_ENTRY(api, Client_ProcessIndex, OnClientProcessIndex);
    JAX_ANE_ENTRY(api, Client_PlatformVersion, OnClientPlatformVersion);
    JAX_ANE_ENTRY(api, Client_TopologyDescription, OnClientTopologyDescription);
    JAX_ANE_ENTRY(api, Client_Devices, OnClientDevices);
    JAX_ANE_ENTRY(api, Client_AddressableDevices, OnClientAddressableDevices);
    JAX_ANE_ENTRY(api, Client_LookupDevice, OnClientLookupDevice);
    JAX_ANE_ENTRY(api, Client_LookupAddressableDevice, OnClientLookupAddressableDevice);
    JAX_ANE_ENTRY(api, Client_AddressableMemories, OnClientAddressableMemories);
    JAX_ANE_ENTRY(api, Client_UpdateGlobalProcessInfo, OnClientUpdateGlobalProcessInfo);
    JAX_ANE_ENTRY(api, Client_DefaultDeviceAssignment, OnClientDefaultDeviceAssignment);
}

}  // namespace jax_ane::pjrt
