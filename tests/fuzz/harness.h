// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: a program goes through the device as a caller's would, with surfaces
// of exactly the size that it asks for, so that a wrong address is seen.
#pragma once

#include <string_view>

#include "device/device.h"

namespace jax_ane::fuzz {

// Compiles, loads and evaluates the program (twice: the results must be the same bits), unless that
// would take too long or too much memory to be worth it. Returns whether it was evaluated.
bool RunProgram(std::string_view text, const device::Blobs& blobs, bool exact);

// A MIL program written by a grammar that `data` drives: mostly legal, some of it not.
std::string WriteProgram(const uint8_t* data, size_t size);

// A program with one constant of each kind in `file`, read through several operations.
std::string BlobProgram();

}  // namespace jax_ane::fuzz
