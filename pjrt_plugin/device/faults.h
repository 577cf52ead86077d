// SPDX-License-Identifier: Apache-2.0
// A device that fails by plan, for tests: wraps any device and makes chosen calls fail, be late or
// answer garbage. The plan is the flag `faults` (JAX_ANE_FAULTS).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace jax_ane::device {

class FaultPlan {
  public:
    // Attributes are read once a load.
    enum class Call : uint8_t { kCompile, kLoad, kAttributes, kEvaluate, kUnload };
    enum class Kind : uint8_t { kFail, kLate, kGarbage };
    struct Rule {
        Call call = Call::kCompile;
        int64_t nth = 0;  // from 1; 0 means every call
        Kind kind = Kind::kFail;
        uint32_t value = 0;  // status, or milliseconds
        std::string text;    // as written
    };

    // Rules in the grammar of kFaultGrammar; an error names what is wrong and the grammar.
    static StatusOr<std::shared_ptr<FaultPlan>> Parse(std::string_view text);

    // Counts a call, waits if it is to be late, and returns the rule by which it fails, or null.
    const Rule* Strike(Call call);

  private:
    std::vector<Rule> rules_;
    std::array<std::atomic<int64_t>, 5> calls_{};
};

inline constexpr char kFaultGrammar[] =
    "rules joined by ';', each call:which=fault, where call is compile, load, attributes, evaluate "
    "or unload, which is '*' or the number of a call from 1, and fault is fail, fail(0x1d), "
    "late(50ms) or garbage";

std::shared_ptr<Device> WithFaults(std::shared_ptr<Device> device, std::shared_ptr<FaultPlan> plan);

}  // namespace jax_ane::device
