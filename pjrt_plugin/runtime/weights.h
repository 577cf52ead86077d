// SPDX-License-Identifier: Apache-2.0
// Weights as constants of a program. Each set of weights is a load of its own beside the others,
// found by the buffers that the weights come from: a buffer's bytes never change, so what was
// loaded for it is never out of date. Nothing is overwritten in place: an engine that has loaded a
// program would go on with the old weights.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/device.h"
#include "runtime/program_table.h"
#include "util/status.h"

namespace jax_ane::runtime {

// One constant that is made of an argument.
struct WeightSlot {
    // A transposition of row-major data: its shape and where each axis of the result comes from.
    using Move = std::pair<std::vector<int64_t>, std::vector<int64_t>>;

    size_t argument = 0;
    std::string path;  // of the blob file
    std::vector<Move> moves;
};

class BakedWeights {
  public:
    explicit BakedWeights(std::vector<WeightSlot> slots);
    ~BakedWeights();

    // The arguments that are no weights, in order.
    std::vector<HostArray> Rest(std::span<const HostArray> arguments) const;
    // Whether so many arguments are these weights and `rest` others.
    bool Fits(size_t arguments, size_t rest) const {
        return arguments == rest + baked_count_ && is_baked_.size() <= arguments;
    }

    // `program` with the weights that the arguments hold, loaded if need be. INVALID_ARGUMENT where
    // an argument has another size than the shapes of its moves.
    StatusOr<std::shared_ptr<BoundProgram>> Find(const BoundProgram& program,
                                                 std::span<const HostArray> arguments);

  private:
    struct Variant;

    StatusOr<device::Blobs> Read(const software::Engine& engine,
                                 std::span<const HostArray> arguments) const;

    std::vector<WeightSlot> slots_;
    std::vector<bool> is_baked_;  // by argument, up to the last that is
    size_t baked_count_ = 0;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Variant>> variants_;  // the one used last at the end
};

}  // namespace jax_ane::runtime
