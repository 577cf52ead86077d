// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>

namespace jax_ane::python {

void BindRuntime(nanobind::module_&) {}

}  // namespace jax_ane::python
