// SPDX-License-Identifier: Apache-2.0
// The nanobind module `jax_ane._native`. Each topic binds itself in its own file; this one only
// lists them.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace jax_ane::python {
void BindMil(nb::module_& m);     // bind_mil.cc: the software ANE as a tool
void BindPlugin(nb::module_& m);  // bind_plugin.cc: what the PJRT plugin needs from Python
void BindRuntime(nb::module_& m);
void BindDevices(nb::module_& m);  // bind_devices.cc: devices, their counters, planned faults
}  // namespace jax_ane::python

NB_MODULE(_native, m) {
    // The compiler keeps programs alive until the interpreter ends; that is no leak to warn of.
    nb::set_leak_warnings(false);
    m.doc() = "jax-ane's native library: PJRT plugin, runtime and software ANE.";
    jax_ane::python::BindMil(m);
    jax_ane::python::BindPlugin(m);
    jax_ane::python::BindRuntime(m);
    jax_ane::python::BindDevices(m);
}
