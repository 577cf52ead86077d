// SPDX-License-Identifier: Apache-2.0
// The devices of this process that JAX programs are loaded on.
#pragma once

#include <memory>

#include "device/device.h"
#include "device/software/chip_traits.h"
#include "device/software/kernels/kernels.h"

namespace jax_ane::python {

// One device per chip, numerics and fault plan, made at first use.
std::shared_ptr<device::Device> DeviceFor(const software::ChipTraits& chip,
                                          software::NumericsMode numerics);

}  // namespace jax_ane::python
