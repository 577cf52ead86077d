// SPDX-License-Identifier: Apache-2.0
// The chip's rules on every tensor and on the program's border. Rules of single operations live
// with the operations.
#include "device/software/graph.h"

namespace jax_ane::software {
namespace {

void CheckTensor(const GraphValue& value, const ChipTraits& chip, Findings* findings) {
    const auto& dims = value.type.dims;
    const int rank = value.type.rank();
    auto refuse = [&](Rule rule, const std::string& message) {
        findings->push_back({rule, value.position, value.name + ": " + message});
    };
    if (rank > chip.max_rank) {
        refuse(Rule::kRank, "rank " + std::to_string(rank) + " is above " +
                                std::to_string(chip.max_rank) + ": reshape it");
        return;
    }
    for (int i = 0; i < rank; ++i) {
        // Axes count as [batch, depth, channels, height, width] from the right.
        const bool batch = i == 0 && rank >= 4;
        const bool channels = rank >= 3 && i == rank - 3 && !batch;
        const int64_t limit = batch ? chip.max_batch : channels ? chip.max_channels : chip.max_axis;
        if (dims[static_cast<size_t>(i)] <= limit) continue;
        refuse(batch      ? Rule::kBatch
               : channels ? Rule::kChannels
                          : Rule::kAxisLength,
               "axis " + std::to_string(i) + " has " +
                   std::to_string(dims[static_cast<size_t>(i)]) + " elements where " + chip.name +
                   " takes " + std::to_string(limit) + ": split it");
    }
}

bool IsBorderType(DType type) {
    switch (type) {
        case DType::kFp16:
        case DType::kFp32:
        case DType::kInt8:
        case DType::kUint8:
        case DType::kInt16:
        case DType::kUint16:
            return true;
        default:
            return false;
    }
}

void CheckBorder(const GraphValue& value, const char* what, const ChipTraits& chip,
                 Findings* findings) {
    const std::string head = std::string(what) + " " + value.name + " is " + ToString(value.type);
    if (!IsBorderType(value.type.dtype)) {
        findings->push_back({Rule::kBorderType, value.position,
                             head + ": no program passes this type at its border: use fp16"});
    } else if (value.type.dtype == DType::kFp32 && !chip.float32_border) {
        findings->push_back(
            {Rule::kFloatBorder, value.position,
             head + ": " + chip.name + " fails on fp32 borders: use fp16 and convert on the CPU"});
    }
}

}  // namespace

void CheckLegality(const Graph& graph, const ChipTraits& chip, Findings* findings) {
    for (const GraphValue& value : graph.values) {
        if (!value.constant) CheckTensor(value, chip, findings);
    }
    const size_t surfaces = graph.inputs.size() + graph.outputs.size();
    if (surfaces > static_cast<size_t>(chip.max_surfaces)) {
        findings->push_back({Rule::kSurfaceCount,
                             {1, 1},
                             "the program has " + std::to_string(graph.inputs.size()) +
                                 " inputs and " + std::to_string(graph.outputs.size()) +
                                 " outputs where " + chip.name + " maps " +
                                 std::to_string(chip.max_surfaces) + " surfaces: cut it in two"});
    }
    for (int index : graph.inputs) {
        CheckBorder(graph.values[static_cast<size_t>(index)], "input", chip, findings);
    }
    for (int index : graph.outputs) {
        CheckBorder(graph.values[static_cast<size_t>(index)], "output", chip, findings);
    }
}

}  // namespace jax_ane::software
