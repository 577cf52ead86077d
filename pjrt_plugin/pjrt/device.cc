// SPDX-License-Identifier: Apache-2.0
// Devices, descriptions and memory spaces: construction and entries.
#include "pjrt/device.h"

#include "pjrt/error.h"

namespace jax_ane::pjrt {
DeviceDescriptionInstance::DeviceDescriptionInstance(int id, int process_index, std::string kind)
    : id_(id),
      process_index_(process_index),
      kind_(std::move(kind)),
      to_string_("AneDevice(id=" + std::to_string(id) + ")"),
      debug_string_("AneDevice(id=" + std::to_string(id) + ", process_index=" +
                    std::to_string(process_index) + ", kind=\"" + kind_ + "\")") {
    attributes_.Add("engine", kind_);
    attributes_.Add("engine_index", int64_t{id});
}

MemoryInstance::MemoryInstance(DeviceInstance* device, int device_id, size_t kind)
    : PJRT_Memory{nullptr},
      id_(device_id * static_cast<int>(kMemoryKinds.size()) + static_cast<int>(kind)),
      kind_(kind),
      to_string_("AneMemory(id=" + std::to_string(id_) +
                 ", kind=" + std::string(kMemoryKinds[kind]) + ")"),
      device_(device),
      device_handle_(device->Wrap()) {}

DeviceInstance::DeviceInstance(ClientInstance* client, const DevicePlace& place,
                               const std::string& kind, int64_t memory_limit_bytes)
    : client_(client),
      place_(place),
      description_(place.id, place.process_index, kind),
      memories_{MemoryInstance(this, place.id, 0), MemoryInstance(this, place.id, 1),
                MemoryInstance(this, place.id, 2)},
      memory_handles_{&memories_[0], &memories_[1], &memories_[2]},
      tracker_(std::make_shared<MemoryTracker>(memory_limit_bytes)) {}

namespace {

Status OnDeviceDescriptionId(PJRT_DeviceDescription_Id_Args& args) {
    args.id = DeviceDescriptionInstance::Unwrap(args.device_description)->id();
    return {};
}

Status OnDeviceDescriptionProcessIndex(PJRT_DeviceDescription_ProcessIndex_Args& args) {
    args.process_index =
        DeviceDescriptionInstance::Unwrap(args.device_description)->process_index();
    return {};
}

Status OnDeviceDescriptionAttributes(PJRT_DeviceDescription_Attributes_Args& args) {
    const auto& list = DeviceDescriptionInstance::Unwrap(args.device_description)->attributes();
    args.attributes = list.data();
    args.num_attributes = list.size();
    return {};
}

Status OnDeviceDescriptionKind(PJRT_DeviceDescription_Kind_Args& args) {
    const auto& text = DeviceDescriptionInstance::Unwrap(args.device_description)->kind();
    args.device_kind = text.data();
    args.device_kind_size = text.size();
    return {};
}

Status OnDeviceDescriptionDebugString(PJRT_DeviceDescription_DebugString_Args& args) {
    const auto& text = DeviceDescriptionInstance::Unwrap(args.device_description)->debug_string();
    args.debug_string = text.data();
    args.debug_string_size = text.size();
    return {};
}

Status OnDeviceDescriptionToString(PJRT_DeviceDescription_ToString_Args& args) {
    const auto& text = DeviceDescriptionInstance::Unwrap(args.device_description)->to_string();
    args.to_string = text.data();
    args.to_string_size = text.size();
    return {};
}

Status OnDeviceGetDescription(PJRT_Device_GetDescription_Args& args) {
    args.device_description = DeviceInstance::Unwrap(args.device)->description().Wrap();
    return {};
}

Status OnDeviceIsAddressable(PJRT_Device_IsAddressable_Args& args) {
    args.is_addressable = DeviceInstance::Unwrap(args.device)->place().is_addressable;
    return {};
}

Status OnDeviceLocalHardwareId(PJRT_Device_LocalHardwareId_Args& args) {
    const DevicePlace& place = DeviceInstance::Unwrap(args.device)->place();
    args.local_hardware_id = place.is_addressable ? place.local_index : -1;
    return {};
}

Status OnDeviceAddressableMemories(PJRT_Device_AddressableMemories_Args& args) {
    args.memories = DeviceInstance::Unwrap(args.device)->memories().data();
    args.num_memories = DeviceInstance::Unwrap(args.device)->memories().size();
    return {};
}

Status OnDeviceDefaultMemory(PJRT_Device_DefaultMemory_Args& args) {
    args.memory = DeviceInstance::Unwrap(args.device)->memory();
    return {};
}

Status OnDeviceMemoryStats(PJRT_Device_MemoryStats_Args& args) {
    const auto stats = DeviceInstance::Unwrap(args.device)->tracker()->Read();
    args.bytes_in_use = stats.in_use;
    args.peak_bytes_in_use = stats.peak;
    args.peak_bytes_in_use_is_set = true;
    args.num_allocs = stats.allocations;
    args.num_allocs_is_set = true;
    args.largest_alloc_size = stats.largest;
    args.largest_alloc_size_is_set = true;
    args.bytes_limit = stats.limit;
    args.bytes_limit_is_set = true;
    args.bytes_reserved_is_set = false;
    args.peak_bytes_reserved_is_set = false;
    args.bytes_reservable_limit_is_set = false;
    args.largest_free_block_bytes_is_set = false;
    args.pool_bytes_is_set = false;
    args.peak_pool_bytes_is_set = false;
    return {};
}

Status OnDeviceClearMemoryStats(PJRT_Device_ClearMemoryStats_Args& args) {
    DeviceInstance::Unwrap(args.device)->tracker()->ResetPeak();
    return {};
}

Status OnDeviceGetAttributes(PJRT_Device_GetAttributes_Args& args) {
    const auto& list = DeviceInstance::Unwrap(args.device)->description().attributes();
    args.attributes = list.data();
    args.num_attributes = list.size();
    args.device_attributes = nullptr;
    // JAX insists on a deleter, though the description owns the list.
    args.attributes_deleter = [](PJRT_Device_Attributes*) {};
    return {};
}

Status OnMemoryId(PJRT_Memory_Id_Args& args) {
    args.id = MemoryInstance::Unwrap(args.memory)->id();
    return {};
}

Status OnMemoryKind(PJRT_Memory_Kind_Args& args) {
    const std::string_view kind = kMemoryKinds[MemoryInstance::Unwrap(args.memory)->kind()];
    args.kind = kind.data();
    args.kind_size = kind.size();
    return {};
}

Status OnMemoryKindId(PJRT_Memory_Kind_Id_Args& args) {
    args.kind_id = static_cast<int>(MemoryInstance::Unwrap(args.memory)->kind()) + 1;
    return {};
}

Status OnMemoryDebugString(PJRT_Memory_DebugString_Args& args) {
    const auto& text = MemoryInstance::Unwrap(args.memory)->to_string();
    args.debug_string = text.data();
    args.debug_string_size = text.size();
    return {};
}

Status OnMemoryToString(PJRT_Memory_ToString_Args& args) {
    const auto& text = MemoryInstance::Unwrap(args.memory)->to_string();
    args.to_string = text.data();
    args.to_string_size = text.size();
    return {};
}

Status OnMemoryAddressableByDevices(PJRT_Memory_AddressableByDevices_Args& args) {
    args.devices = MemoryInstance::Unwrap(args.memory)->devices();
    args.num_devices = 1;
    return {};
}

}  // namespace

void FillDeviceEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, DeviceDescription_Id, OnDeviceDescriptionId);
    JAX_ANE_ENTRY(api, DeviceDescription_ProcessIndex, OnDeviceDescriptionProcessIndex);
    JAX_ANE_ENTRY(api, DeviceDescription_Attributes, OnDeviceDescriptionAttributes);
    JAX_ANE_ENTRY(api, DeviceDescription_Kind, OnDeviceDescriptionKind);
    JAX_ANE_ENTRY(api, DeviceDescription_DebugString, OnDeviceDescriptionDebugString);
    JAX_ANE_ENTRY(api, DeviceDescription_ToString, OnDeviceDescriptionToString);
    JAX_ANE_ENTRY(api, Device_GetDescription, OnDeviceGetDescription);
    JAX_ANE_ENTRY(api, Device_IsAddressable, OnDeviceIsAddressable);
    JAX_ANE_ENTRY(api, Device_LocalHardwareId, OnDeviceLocalHardwareId);
    JAX_ANE_ENTRY(api, Device_AddressableMemories, OnDeviceAddressableMemories);
    JAX_ANE_ENTRY(api, Device_DefaultMemory, OnDeviceDefaultMemory);
    JAX_ANE_ENTRY(api, Device_MemoryStats, OnDeviceMemoryStats);
    JAX_ANE_ENTRY(api, Device_ClearMemoryStats, OnDeviceClearMemoryStats);
    JAX_ANE_ENTRY(api, Device_GetAttributes, OnDeviceGetAttributes);
    JAX_ANE_ENTRY(api, Memory_Id, OnMemoryId);
    JAX_ANE_ENTRY(api, Memory_Kind, OnMemoryKind);
    JAX_ANE_ENTRY(api, Memory_Kind_Id, OnMemoryKindId);
    JAX_ANE_ENTRY(api, Memory_DebugString, OnMemoryDebugString);
    JAX_ANE_ENTRY(api, Memory_ToString, OnMemoryToString);
    JAX_ANE_ENTRY(api, Memory_AddressableByDevices, OnMemoryAddressableByDevices);
}

}  // namespace jax_ane::pjrt
