// SPDX-License-Identifier: Apache-2.0
// Dense arrays to surfaces and back: float32 is rounded to fp16 as NumPy does, masks become 0
// and 1.
#pragma once

#include "device/device.h"
#include "device/software/engine.h"
#include "runtime/program_table.h"
#include "util/status.h"

namespace jax_ane::runtime {

// Writes a dense row-major array, times `scale`, into a surface of `tensor`'s layout. INTERNAL if
// sizes disagree. Masks are not scaled.
Status WriteSurface(const software::Engine& engine, const HostArray& array,
                    const device::BoundaryTensor& tensor, void* surface, float scale = 1);

// Reads a surface of `tensor`'s layout, times `scale`, into a dense row-major array.
Status ReadSurface(const software::Engine& engine, const void* surface,
                   const device::BoundaryTensor& tensor, const HostArray& array, float scale = 1);

// The largest magnitude in an array: infinite or NaN if one of its elements is. 0 for masks.
float LargestMagnitude(const software::Engine& engine, const HostArray& array);

// Whether a surface holds an infinity or NaN.
bool HasInfinity(const software::Engine& engine, const void* surface,
                 const device::BoundaryTensor& tensor);

}  // namespace jax_ane::runtime
