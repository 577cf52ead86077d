// SPDX-License-Identifier: Apache-2.0
// What several binding files need: chip files and blobs as C++ values, Status as Python exceptions.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include "device/device.h"
#include "device/software/chip_traits.h"
#include "util/status.h"

namespace jax_ane::python {

// The dict of a chip file: each key but name and family holds {"value": number or truth value,
// "source": text}.
StatusOr<software::ChipTraits> ReadChip(const nanobind::dict& chip);

// {path as written in the text: bytes}.
device::Blobs ReadBlobs(const nanobind::dict& blobs);

// A message as str; it may quote text that is not UTF-8.
nanobind::object ToStr(const std::string& text);

// Throws a Python RuntimeError whose args are (status code, message); jax_ane/mil.py and the
// compiler make the public errors of it.
[[noreturn]] void Raise(const Status& status);

template <typename T>
T Get(StatusOr<T> value) {
    if (!value.ok()) Raise(value.status());
    return *std::move(value);
}

}  // namespace jax_ane::python
