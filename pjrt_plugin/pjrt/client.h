// SPDX-License-Identifier: Apache-2.0
// PJRT_Client: the devices, and the Python host engine behind them. Making a client runs no
// Python: JAX makes one in every process, and most of them never use it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pjrt/c_api.h"
#include "pjrt/device.h"
#include "pjrt/python_bridge.h"
#include "pjrt/topology.h"

namespace jax_ane::pjrt {

struct ClientOptions {
    int num_devices = 1;  // Of each process.
    int num_processes = 1;
    int process_index = 0;
    std::string device_kind = "Software ANE (M4)";
    std::string version = "0";
    int64_t memory_limit_bytes = 0;  // Per device; 0 stands for a fraction of the machine's.
};

class ClientInstance {
  public:
    explicit ClientInstance(const ClientOptions& options);
    ClientInstance(const ClientInstance&) = delete;

    static ClientInstance* Unwrap(PJRT_Client* client) {
        return reinterpret_cast<ClientInstance*>(client);
    }
    PJRT_Client* Wrap() { return reinterpret_cast<PJRT_Client*>(this); }

    const std::string& platform_version() const { return platform_version_; }
    int process_index() const { return process_index_; }
    // Of all processes, and of this one.
    const std::vector<PJRT_Device*>& devices() const { return device_handles_; }
    const std::vector<PJRT_Device*>& addressable_devices() const { return addressable_; }
    const std::vector<PJRT_Memory*>& memories() const { return memory_handles_; }
    // Null when no device has that id.
    DeviceInstance* FindDevice(int64_t id);
    TopologyInstance& topology() { return *topology_; }

    // `jax_ane._host.HostEngine`, made at its first use. Needs the GIL; raises nb::python_error.
    nb::handle Engine();

  private:
    std::string platform_version_;
    int process_index_;
    std::vector<std::unique_ptr<DeviceInstance>> devices_;
    std::vector<PJRT_Device*> device_handles_, addressable_;
    std::vector<PJRT_Memory*> memory_handles_;
    std::unique_ptr<TopologyInstance> topology_;
    PyRef engine_;
};

void FillClientEntries(PJRT_Api* api);

}  // namespace jax_ane::pjrt
