// SPDX-License-Identifier: Apache-2.0
// Which programs a chip keeps loaded, how much of its address window their weights take, and the
// refusals when either is full.
#pragma once

#include <atomic>
#include <memory>

#include "device/software/chip_traits.h"
#include "device/software/engine_queues.h"
#include "device/software/graph.h"

namespace jax_ane::software {

// What a device and its loaded programs share. Outlives the device, because its programs may.
struct Shared {
    explicit Shared(const ChipTraits& chip) : queues(chip) {}
    EngineQueues queues;
    std::atomic<int64_t> compiles{0};
    std::atomic<int64_t> loads{0};
    std::atomic<int64_t> programs{0};
    std::atomic<int64_t> weight_bytes{0};
};

// One program's place among those that the chip keeps loaded.
class Residency {
  public:
    static StatusOr<std::unique_ptr<Residency>> Take(const ChipTraits& chip,
                                                     std::shared_ptr<Shared> shared,
                                                     int64_t weight_bytes);
    ~Residency() {
        shared_->programs.fetch_sub(1);
        shared_->weight_bytes.fetch_sub(weight_bytes_);
    }
    Residency(const Residency&) = delete;
    Residency& operator=(const Residency&) = delete;
    EngineQueues& queues() { return shared_->queues; }

  private:
    Residency(std::shared_ptr<Shared> shared, int64_t weight_bytes)
        : shared_(std::move(shared)), weight_bytes_(weight_bytes) {
        shared_->programs.fetch_add(1);
        shared_->weight_bytes.fetch_add(weight_bytes_);
    }
    std::shared_ptr<Shared> shared_;
    int64_t weight_bytes_;
};

// Weights as the chip holds them: the constants as stored, in whole pages of 16 KiB.
int64_t ChipWeightBytes(const Graph& graph);

}  // namespace jax_ane::software
