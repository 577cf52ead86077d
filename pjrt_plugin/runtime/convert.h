// SPDX-License-Identifier: Apache-2.0
// Dense arrays to surfaces and back: float32 is rounded to fp16 as NumPy does, masks become 0
// and 1.
#pragma once

#include "device/device.h"
#include "device/software/engine.h"
#include "runtime/program_table.h"
#include "util/status.h"

namespace jax_ane::runtime {

// Writes a dense row-major array into a surface of `tensor`'s layout. INTERNAL if sizes disagree.
Status WriteSurface(const software::Engine& engine, const HostArray& array,
                    const device::BoundaryTensor& tensor, void* surface);

// Reads a surface of `tensor`'s layout into a dense row-major array.
Status ReadSurface(const software::Engine& engine, const void* surface,
                   const device::BoundaryTensor& tensor, const HostArray& array);

}  // namespace jax_ane::runtime
