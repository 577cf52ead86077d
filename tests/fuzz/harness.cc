// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "device/software/engine.h"
#include "device/software/mil/parser.h"
#include "device/software/software_device.h"

namespace jax_ane::fuzz {
namespace {

using device::BoundaryTensor;
using device::Surface;

[[noreturn]] void Die(const char* why, const std::string& what) {
    std::fprintf(stderr, "%s: %s\n", why, what.c_str());
    std::abort();
}

// Multiplications and bytes, roughly; huge programs are for the tests of limits.
bool IsSmall(const software::Graph& graph) {
    constexpr double kMostBytes = 1 << 20, kMostWork = 1 << 23;
    double bytes = 0, work = 0;
    for (const software::GraphValue& value : graph.values) {
        bytes += static_cast<double>(value.type.bytes());
    }
    for (const software::GraphNode& node : graph.nodes) {
        double most = 1, out = 0;
        for (const auto& [name, values] : node.arguments) {
            for (int v : values) {
                const auto& type = graph.values[static_cast<size_t>(v)].type;
                most = std::max(most, static_cast<double>(type.elements()));
            }
        }
        for (int v : node.results) {
            out += static_cast<double>(graph.values[static_cast<size_t>(v)].type.elements());
        }
        work += out * std::min(most, 2048.0);
    }
    return bytes <= kMostBytes && work <= kMostWork;
}

// Surfaces that end where the tensor ends.
struct Surfaces {
    explicit Surfaces(const std::vector<BoundaryTensor>& tensors,
                      const std::vector<std::string>& symbols, uint8_t seed) {
        for (const std::string& symbol : symbols) {
            const auto& tensor = *std::find_if(tensors.begin(), tensors.end(),
                                               [&](const auto& t) { return t.symbol == symbol; });
            auto* memory = static_cast<uint8_t*>(operator new(
                std::max<size_t>(tensor.size_bytes(), 1), std::align_val_t(64)));
            for (size_t i = 0; i < tensor.size_bytes(); ++i) {
                memory[i] = static_cast<uint8_t>(seed + i * 37 + i / 64);
            }
            list.push_back({memory, tensor.size_bytes()});
        }
    }
    ~Surfaces() {
        for (const Surface& s : list) operator delete(s.data, std::align_val_t(64));
    }
    Surfaces(const Surfaces&) = delete;
    Surfaces& operator=(const Surfaces&) = delete;
    std::vector<Surface> list;
};

void Evaluate(device::LoadedProgram& program) {
    const auto& attributes = program.attributes();
    Surfaces in(attributes.inputs, attributes.input_symbols, 1);
    Surfaces out(attributes.outputs, attributes.output_symbols, 2);
    Surfaces again(attributes.outputs, attributes.output_symbols, 2);
    for (const Surfaces* results : {&out, &again}) {
        const Status status = program.Evaluate(in.list, results->list);
        if (!status.ok()) Die("a loaded program does not evaluate", status.message());
    }
    for (size_t i = 0; i < out.list.size(); ++i) {
        if (std::memcmp(out.list[i].data, again.list[i].data, out.list[i].size_bytes) != 0) {
            Die("two evaluations differ", attributes.output_symbols[i]);
        }
    }
}

}  // namespace

bool RunProgram(std::string_view text, const device::Blobs& blobs, bool exact) {
    static const Status configured = software::ConfigureEngine(1, "auto");
    if (!configured.ok()) Die("no engine", configured.message());
    const software::ChipTraits chip;
    software::Findings findings;
    const auto program = software::mil::Parse(text, &findings);
    if (!program) {
        if (findings.empty()) Die("refused without a reason", std::string(text));
        return false;
    }
    const auto graph = software::BuildGraph(*program, blobs, chip, &findings);
    if (graph.has_value() != findings.empty()) Die("refused without a reason", std::string(text));
    if (!graph || !IsSmall(*graph)) return false;
    auto device = software::MakeSoftwareDevice(
        chip, exact ? software::NumericsMode::kExact : software::NumericsMode::kFast);
    auto compiled = device->Compile(text, blobs);
    if (!compiled.ok()) Die("checked but not compiled", compiled.status().message());
    auto loaded = device->Load(*compiled);
    if (!loaded.ok()) Die("compiled but not loaded", loaded.status().message());
    if ((*loaded)->arena_bytes() < (*loaded)->lower_bound_bytes()) Die("arena", "below its bound");
    Evaluate(**loaded);
    return true;
}

}  // namespace jax_ane::fuzz
