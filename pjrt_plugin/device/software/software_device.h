// SPDX-License-Identifier: Apache-2.0
// The software ANE as a device: the chip's limits, its layouts, its symbol order, its errors, and
// its arithmetic.
#pragma once

#include <memory>

#include "device/device.h"
#include "device/software/chip_traits.h"
#include "device/software/graph.h"
#include "device/software/kernels/kernels.h"

namespace jax_ane::software {

// Programs run on the engine (kernels and threads) that is configured when they are loaded.
std::unique_ptr<device::Device> MakeSoftwareDevice(const ChipTraits& chip, NumericsMode mode);

// Parses and checks only: all refusals, in the order of the text (parsing stops at its first).
Findings CheckProgram(std::string_view mil_text, const device::Blobs& blobs,
                      const ChipTraits& chip);

// The layouts that the loaded program of a graph reports: 64-byte rows, symbols sorted by name.
device::ProgramAttributes MakeAttributes(const Graph& graph);

}  // namespace jax_ane::software
