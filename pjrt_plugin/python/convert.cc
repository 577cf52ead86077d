// SPDX-License-Identifier: Apache-2.0
// Conversions between Python objects and what the device layer takes.
#include "python/convert.h"

#include <nanobind/stl/string.h>

namespace jax_ane::python {

namespace nb = nanobind;

StatusOr<software::ChipTraits> ReadChip(const nb::dict& chip) {
    std::map<std::string, double> values;
    std::string name = "?", family = "?";
    for (auto [key, entry] : chip) {
        const std::string k = nb::cast<std::string>(nb::str(key));
        if (k == "name") name = nb::cast<std::string>(nb::str(entry));
        if (k == "family") family = nb::cast<std::string>(nb::str(entry));
        nb::object value = nb::borrow(entry);
        if (nb::isinstance<nb::dict>(entry)) {
            value = nb::borrow<nb::dict>(entry).attr("get")("value");
        }
        if (nb::isinstance<nb::bool_>(value)) {
            values[k] = nb::cast<bool>(value) ? 1 : 0;
        } else if (nb::isinstance<nb::int_>(value) || nb::isinstance<nb::float_>(value)) {
            values[k] = nb::cast<double>(value);
        }
    }
    return software::MakeChipTraits(name, family, values);
}

device::Blobs ReadBlobs(const nb::dict& blobs) {
    device::Blobs out;
    for (auto [path, data] : blobs) {
        const auto bytes = nb::cast<nb::bytes>(data);
        const auto* begin = reinterpret_cast<const uint8_t*>(bytes.c_str());
        out[nb::cast<std::string>(path)] =
            std::make_shared<const std::vector<uint8_t>>(begin, begin + bytes.size());
    }
    return out;
}

nb::object ToStr(const std::string& text) {
    return nb::steal(
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

void Raise(const Status& status) {
    nb::tuple args = nb::make_tuple(static_cast<int>(status.code()), ToStr(status.message()));
    PyErr_SetObject(PyExc_RuntimeError, args.ptr());
    throw nb::python_error();
}

}  // namespace jax_ane::python
