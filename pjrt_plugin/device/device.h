// SPDX-License-Identifier: Apache-2.0
// The seam between the runtime and an engine: compile, load, attributes, evaluate, unload.
// The software ANE and the Mac bridge both implement it; nothing above it knows which one it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/surface_contents.h"
#include "util/status.h"

namespace jax_ane::device {

// Element types that a MIL program may name. Names are MIL's.
enum class ElementType : uint8_t { kFp16, kFp32, kInt8, kUint8, kInt16, kUint16, kInt32, kBool };

size_t ElementSize(ElementType type);           // bytes
const char* ElementTypeName(ElementType type);  // "fp16", ...

// One tensor at a program's border, as the loaded program's attributes describe it. Element (p, h,
// w), where p counts all axes but the last two, lies at byte p * plane_stride + h * row_stride + w
// * ElementSize(type).
struct BoundaryTensor {
    std::string name;    // MIL identifier
    std::string symbol;  // entry of the symbol array it answers to (same as name here)
    ElementType type = ElementType::kFp16;
    std::vector<int64_t> dims;  // logical shape, row-major; empty for a scalar
    int64_t planes = 1;         // product of all but the last two dims
    int64_t height = 1;         // second last dim
    int64_t width = 1;          // last dim, elements
    int64_t row_stride = 0;     // bytes, multiple of 64
    int64_t plane_stride = 0;   // bytes, height * row_stride
    size_t size_bytes() const { return static_cast<size_t>(planes * plane_stride); }
    bool operator==(const BoundaryTensor&) const = default;
};

// What a loaded program says of itself. Surfaces bind by index into the *symbols* arrays, which the
// engine sorts by name; inputs and outputs are in declaration order. Never assume one from the
// other.
struct ProgramAttributes {
    std::vector<BoundaryTensor> inputs;
    std::vector<BoundaryTensor> outputs;
    std::vector<std::string> input_symbols;
    std::vector<std::string> output_symbols;
};

// Memory of one boundary tensor: 64-byte aligned, at least size_bytes() long. An input whose bytes
// stay the same over many evaluations may carry its `contents`, where an engine keeps what it
// derives from them (packed weights).
struct Surface {
    void* data = nullptr;
    size_t size_bytes = 0;
    SurfaceContents* contents = nullptr;
};

// Blob files by the path written in the MIL text ("@model_path/weights/w0.bin").
using Blobs = std::map<std::string, std::shared_ptr<const std::vector<uint8_t>>>;

// A loaded program. Evaluate may be called from several threads at once.
class LoadedProgram {
  public:
    virtual ~LoadedProgram() = default;  // unloads
    virtual const ProgramAttributes& attributes() const = 0;
    // Bytes of intermediates that one evaluation needs, the least that its schedule allows, and of
    // weights held while loaded.
    virtual size_t arena_bytes() const = 0;
    virtual size_t lower_bound_bytes() const = 0;
    virtual size_t weight_bytes() const = 0;
    // inputs[i] is the surface of input_symbols[i], likewise outputs. A surface that is too small
    // or misaligned is the framework's inference error (status=0x1d); outputs are then unchanged.
    virtual Status Evaluate(std::span<const Surface> inputs, std::span<const Surface> outputs) = 0;
};

class CompiledProgram {
  public:
    virtual ~CompiledProgram() = default;
};

enum class PowerState : uint8_t {
    kUnknown,  // nobody has published when this chip's engine powers down
    kAwake,
    kNapping,  // clocks down, firmware on
    kOff,
};
const char* PowerStateName(PowerState state);  // "awake", ...

// What one engine of the device has done and what its next evaluation is predicted to cost beyond
// a warm one. Nothing waits for these predictions.
struct EngineState {
    int64_t evaluations = 0;
    int64_t running = 0;
    PowerState power = PowerState::kUnknown;
    int64_t next_call_us = 0;  // 0 when awake or unknown
    int64_t wake_ups = 0;
    int64_t wake_up_us = 0;  // predicted, of all wake-ups
};

struct DeviceStats {
    int64_t compiles = 0;
    int64_t compile_budget = 0;  // reported by others for one process; 0 when unknown
    int64_t loads = 0;           // loads with new weights included
    int64_t loaded_programs = 0;
    int64_t max_loaded_programs = 0;
    int64_t weight_bytes = 0;  // of loaded programs, as the chip would hold them
    int64_t max_weight_bytes = 0;
    int64_t failed_unloads = 0;
    std::vector<EngineState> engines;
};

// One engine. Thread-safe.
class Device {
  public:
    virtual ~Device() = default;
    virtual std::string kind() const = 0;  // "Software ANE (M4)"
    // Refusals are INVALID_ARGUMENT with the framework's text ("InvalidMILProgram: ...", line and
    // column) or UNIMPLEMENTED when the chip has no such op, each naming its constraint id.
    virtual StatusOr<std::shared_ptr<CompiledProgram>> Compile(std::string_view mil_text,
                                                               const Blobs& blobs) = 0;
    virtual StatusOr<std::shared_ptr<LoadedProgram>> Load(
        const std::shared_ptr<CompiledProgram>& program) = 0;
    // Loads a compiled program with other blobs of the same paths and layouts, without compiling it
    // again: a new program beside those that were loaded before, which keep their weights.
    virtual StatusOr<std::shared_ptr<LoadedProgram>> LoadWithWeights(
        const std::shared_ptr<CompiledProgram>& program, const Blobs& blobs) = 0;
    virtual DeviceStats stats() const = 0;
};

}  // namespace jax_ane::device
