// SPDX-License-Identifier: Apache-2.0
// PJRT_TopologyDescription: what the client's devices look like without the client's memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pjrt/c_api.h"
#include "pjrt/named_values.h"

namespace jax_ane::pjrt {

inline constexpr char kPlatformName[] = "ane";

class TopologyInstance {
  public:
    TopologyInstance(std::string platform_version, std::vector<PJRT_DeviceDescription*> devices);

    static const TopologyInstance* Unwrap(const PJRT_TopologyDescription* topology) {
        return reinterpret_cast<const TopologyInstance*>(topology);
    }
    PJRT_TopologyDescription* Wrap() { return reinterpret_cast<PJRT_TopologyDescription*>(this); }

    const std::string& platform_version() const { return platform_version_; }
    const std::vector<PJRT_DeviceDescription*>& devices() const { return devices_; }
    const NamedValueList& attributes() const { return attributes_; }
    uint64_t fingerprint() const { return fingerprint_; }

  private:
    std::string platform_version_;
    std::vector<PJRT_DeviceDescription*> devices_;
    NamedValueList attributes_;
    uint64_t fingerprint_;
};

// FNV-1a: stable across processes and machines, as keys of persistent caches must be.
uint64_t Fingerprint(const std::string& text, uint64_t seed = 14695981039346656037u);

void FillTopologyEntries(PJRT_Api* api);

}  // namespace jax_ane::pjrt
