// SPDX-License-Identifier: Apache-2.0
// PJRT_Device, its description and its memory spaces. All three are plain fields that live as
// long as the client: JAX reads them several times per call.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pjrt/c_api.h"
#include "pjrt/named_values.h"
#include "pjrt/storage.h"

namespace jax_ane::pjrt {

class ClientInstance;
class DeviceInstance;

class DeviceDescriptionInstance {
  public:
    DeviceDescriptionInstance(int id, int process_index, std::string kind);

    static DeviceDescriptionInstance* Unwrap(PJRT_DeviceDescription* description) {
        return reinterpret_cast<DeviceDescriptionInstance*>(description);
    }
    PJRT_DeviceDescription* Wrap() { return reinterpret_cast<PJRT_DeviceDescription*>(this); }

    int id() const { return id_; }
    int process_index() const { return process_index_; }
    const std::string& kind() const { return kind_; }
    const std::string& to_string() const { return to_string_; }
    const std::string& debug_string() const { return debug_string_; }
    const NamedValueList& attributes() const { return attributes_; }

  private:
    int id_, process_index_;
    std::string kind_, to_string_, debug_string_;
    NamedValueList attributes_;
};

// What JAX may ask for by name, the default first: the kinds of its CPU. All are the same memory of
// the host, so that programs that move values between them run, and find them where they say.
inline constexpr std::array<std::string_view, 3> kMemoryKinds = {"device", "pinned_host",
                                                                 "unpinned_host"};

// The vtable word stays null: JAX then attaches nothing to a memory.
class MemoryInstance : public PJRT_Memory {
  public:
    // `kind` is a place in kMemoryKinds.
    MemoryInstance(DeviceInstance* device, int device_id, size_t kind);

    static MemoryInstance* Unwrap(PJRT_Memory* memory) {
        return static_cast<MemoryInstance*>(memory);
    }
    int id() const { return id_; }
    size_t kind() const { return kind_; }
    const std::string& to_string() const { return to_string_; }
    DeviceInstance* device() const { return device_; }
    PJRT_Device* const* devices() const { return &device_handle_; }

  private:
    int id_;
    size_t kind_;
    std::string to_string_;
    DeviceInstance* device_;
    PJRT_Device* device_handle_;
};

// Where a device is: its number over all processes, and the place in its own process.
struct DevicePlace {
    int id = 0;
    int process_index = 0;
    int local_index = 0;
    bool is_addressable = true;  // Of this process.
};

class DeviceInstance {
  public:
    DeviceInstance(ClientInstance* client, const DevicePlace& place, const std::string& kind,
                   int64_t memory_limit_bytes);

    static DeviceInstance* Unwrap(PJRT_Device* device) {
        return reinterpret_cast<DeviceInstance*>(device);
    }
    PJRT_Device* Wrap() { return reinterpret_cast<PJRT_Device*>(this); }

    ClientInstance* client() const { return client_; }
    int id() const { return description_.id(); }
    const DevicePlace& place() const { return place_; }
    DeviceDescriptionInstance& description() { return description_; }
    // By its place in kMemoryKinds.
    MemoryInstance* memory(size_t kind = 0) { return &memories_[kind]; }
    const std::array<PJRT_Memory*, kMemoryKinds.size()>& memories() const {
        return memory_handles_;
    }
    const std::shared_ptr<MemoryTracker>& tracker() const { return tracker_; }

  private:
    ClientInstance* client_;
    DevicePlace place_;
    DeviceDescriptionInstance description_;
    std::array<MemoryInstance, kMemoryKinds.size()> memories_;
    std::array<PJRT_Memory*, kMemoryKinds.size()> memory_handles_;
    std::shared_ptr<MemoryTracker> tracker_;
};

void FillDeviceEntries(PJRT_Api* api);

}  // namespace jax_ane::pjrt
