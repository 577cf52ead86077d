// SPDX-License-Identifier: Apache-2.0
// A program with its names resolved and its types checked: what the planner reads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device/device.h"
#include "device/software/chip_traits.h"
#include "device/software/mil/ast.h"

namespace jax_ane::software {

struct OpDef;
using mil::DType;
using mil::TensorType;

// A constant's contents: dense row-major bytes, which `owner` keeps alive, or strings.
struct ConstData {
    const uint8_t* bytes = nullptr;
    size_t size = 0;
    std::shared_ptr<const void> owner;
    std::vector<std::string> strings;
};

struct GraphValue {
    std::string name;  // empty for a literal written inside an argument
    TensorType type;
    Position position;
    std::optional<ConstData> constant;
    bool is_input = false;
    bool is_broken = false;  // its definition was refused: do not look inside, do not report again
    bool is_deferred = false;  // a constant that a constexpr op makes when the program is loaded
    bool is_literal = false;   // an argument's inline literal
    int producer = -1;         // index of the node, or -1 for inputs and constants
};

// One operation that runs; constants are values, not nodes.
struct GraphNode {
    const OpDef* def = nullptr;
    std::string name;  // the op's name as written
    Position position;
    // By argument name: the values' indices, several for variadic arguments.
    std::vector<std::pair<std::string, std::vector<int>>> arguments;
    std::vector<int> results;
};

struct Graph {
    std::vector<GraphValue> values;
    std::vector<GraphNode> nodes;
    std::vector<int> inputs;   // declaration order
    std::vector<int> outputs;  // return order
};

// Resolves, infers and checks a parsed program. Every refusal lands in `findings`; a graph is
// returned only without any.
std::optional<Graph> BuildGraph(const mil::Program& program, const device::Blobs& blobs,
                                const ChipTraits& chip, Findings* findings);

// The chip's rules that concern the graph as a whole (borders, ranks, axes).
void CheckLegality(const Graph& graph, const ChipTraits& chip, Findings* findings);

}  // namespace jax_ane::software
