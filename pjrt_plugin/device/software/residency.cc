// SPDX-License-Identifier: Apache-2.0
#include "device/software/residency.h"

#include <algorithm>

namespace jax_ane::software {

StatusOr<std::unique_ptr<Residency>> Residency::Take(const ChipTraits& chip,
                                                     std::shared_ptr<Shared> shared,
                                                     int64_t weight_bytes) {
    std::unique_ptr<Residency> taken(new Residency(shared, weight_bytes));
    if (shared->programs.load() > chip.max_loaded_programs) {
        return ResourceExhausted(
            "GetANEFModel: must re-compile (" + RuleName(Rule::kLoadedPrograms) + ": " + chip.name +
            " keeps " + std::to_string(chip.max_loaded_programs) + " programs loaded: unload one)");
    }
    const int64_t others = shared->weight_bytes.load() - weight_bytes;
    if (others + weight_bytes > chip.max_weight_bytes) {
        return ResourceExhausted(
            "GetANEFModel: must re-compile (" + RuleName(Rule::kWeightMemory) +
            ": the program's weights need " + std::to_string(weight_bytes) + " bytes and " +
            std::to_string(std::max<int64_t>(0, chip.max_weight_bytes - others)) + " of the " +
            std::to_string(chip.max_weight_bytes) + " that " + chip.name +
            " maps are available: unload a program)");
    }
    return taken;
}

int64_t ChipWeightBytes(const Graph& graph) {
    constexpr int64_t kPage = 16 * 1024;
    int64_t bytes = 0;
    for (const GraphValue& value : graph.values) {
        if (value.constant && !value.is_literal)
            bytes += static_cast<int64_t>(value.constant->size);
    }
    return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace jax_ane::software
