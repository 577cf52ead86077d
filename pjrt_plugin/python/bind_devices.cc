// SPDX-License-Identifier: Apache-2.0
// Devices by chip and numerics, their counters, and the plan by which they fail in tests.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <map>
#include <mutex>

#include "device/faults.h"
#include "device/software/software_device.h"
#include "python/convert.h"
#include "python/devices.h"

namespace jax_ane::python {

namespace nb = nanobind;

namespace {

struct Devices {
    std::mutex mutex;
    std::map<std::string, std::shared_ptr<device::Device>> by_key;
    std::shared_ptr<device::FaultPlan> plan;  // null without one
    int plans = 0;

    static Devices& Get() {
        // Never destroyed: programs may be loaded while the process exits.
        static auto* devices = new Devices();
        return *devices;
    }
};

// The plan holds for devices made from now on; "" takes it away.
void SetFaults(const std::string& text) {
    auto plan = device::FaultPlan::Parse(text);
    if (!plan.ok()) throw nb::value_error(plan.status().message().c_str());
    Devices& devices = Devices::Get();
    std::lock_guard<std::mutex> lock(devices.mutex);
    devices.plan = text.empty() ? nullptr : *plan;
    ++devices.plans;
}

nb::dict ToDict(const std::string& key, const std::string& kind, const device::DeviceStats& stats) {
    nb::dict row;
    row["name"] = key;
    row["kind"] = kind;
    row["compiles"] = stats.compiles;
    row["compile_budget"] = stats.compile_budget;
    row["loads"] = stats.loads;
    row["loaded_programs"] = stats.loaded_programs;
    row["max_loaded_programs"] = stats.max_loaded_programs;
    row["weight_bytes"] = stats.weight_bytes;
    row["max_weight_bytes"] = stats.max_weight_bytes;
    row["failed_unloads"] = stats.failed_unloads;
    nb::list engines;
    for (const device::EngineState& state : stats.engines) {
        nb::dict engine;
        engine["evaluations"] = state.evaluations;
        engine["running"] = state.running;
        engine["power"] = device::PowerStateName(state.power);
        engine["next_call_ms"] = static_cast<double>(state.next_call_us) * 1e-3;
        engine["wake_ups"] = state.wake_ups;
        engine["wake_up_ms"] = static_cast<double>(state.wake_up_us) * 1e-3;
        engines.append(engine);
    }
    row["engines"] = engines;
    return row;
}

nb::list DeviceStats() {
    Devices& devices = Devices::Get();
    std::lock_guard<std::mutex> lock(devices.mutex);
    nb::list rows;
    for (const auto& [key, device] : devices.by_key) {
        rows.append(ToDict(key, device->kind(), device->stats()));
    }
    return rows;
}

}  // namespace

std::shared_ptr<device::Device> DeviceFor(const software::ChipTraits& chip,
                                          software::NumericsMode numerics) {
    Devices& devices = Devices::Get();
    std::lock_guard<std::mutex> lock(devices.mutex);
    std::string key = chip.name + (numerics == software::NumericsMode::kFast ? "/fast" : "/exact");
    if (devices.plan != nullptr) key += "/faults" + std::to_string(devices.plans);
    std::shared_ptr<device::Device>& device = devices.by_key[key];
    if (device == nullptr) {
        device = software::MakeSoftwareDevice(chip, numerics);
        if (devices.plan != nullptr) device = device::WithFaults(device, devices.plan);
    }
    return device;
}

void BindDevices(nb::module_& m) {
    m.def("set_faults", &SetFaults, nb::arg("plan"),
          "Makes devices created from now on fail by a plan; ValueError tells the grammar.");
    m.def("device_stats", &DeviceStats,
          "One dict a device in use: compiles, loads, memory, and the state of each engine.");
}

}  // namespace jax_ane::python
