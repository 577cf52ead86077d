// SPDX-License-Identifier: Apache-2.0
// What the PJRT plugin needs from Python beyond the C API.
#include <nanobind/nanobind.h>

#include "pjrt/completion.h"

namespace jax_ane::python {

namespace nb = nanobind;

void BindPlugin(nb::module_& m) {
    m.def(
        "stop_completions",
        [] {
            nb::gil_scoped_release release;
            pjrt::CompletionQueue::Get().Stop();
        },
        "Waits for running executions; for interpreter exit. Later ones are waited for at once.");
}

}  // namespace jax_ane::python
