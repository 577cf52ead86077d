// SPDX-License-Identifier: Apache-2.0
// A program's border as the loaded program tells it: 64-byte rows, symbols sorted by name.
#include <algorithm>

#include "device/software/software_device.h"

namespace jax_ane::software {
namespace {

using device::BoundaryTensor;
using device::ProgramAttributes;

device::ElementType BorderType(DType type) {
    switch (type) {
        case DType::kFp32:
            return device::ElementType::kFp32;
        case DType::kInt8:
            return device::ElementType::kInt8;
        case DType::kUint8:
            return device::ElementType::kUint8;
        case DType::kInt16:
            return device::ElementType::kInt16;
        case DType::kUint16:
            return device::ElementType::kUint16;
        default:
            return device::ElementType::kFp16;
    }
}

BoundaryTensor MakeBoundary(const GraphValue& value) {
    BoundaryTensor t;
    t.name = value.name;
    t.symbol = value.name;
    t.type = BorderType(value.type.dtype);
    t.dims = value.type.dims;
    const size_t rank = t.dims.size();
    if (rank >= 1) t.width = t.dims[rank - 1];
    if (rank >= 2) t.height = t.dims[rank - 2];
    for (size_t i = 0; i + 2 < rank; ++i) t.planes *= t.dims[i];
    t.row_stride = (t.width * static_cast<int64_t>(device::ElementSize(t.type)) + 63) / 64 * 64;
    t.plane_stride = t.height * t.row_stride;
    return t;
}

}  // namespace

ProgramAttributes MakeAttributes(const Graph& graph) {
    ProgramAttributes attributes;
    for (int v : graph.inputs) {
        attributes.inputs.push_back(MakeBoundary(graph.values[static_cast<size_t>(v)]));
        attributes.input_symbols.push_back(attributes.inputs.back().symbol);
    }
    for (int v : graph.outputs) {
        attributes.outputs.push_back(MakeBoundary(graph.values[static_cast<size_t>(v)]));
        attributes.output_symbols.push_back(attributes.outputs.back().symbol);
    }
    std::sort(attributes.input_symbols.begin(), attributes.input_symbols.end());
    std::sort(attributes.output_symbols.begin(), attributes.output_symbols.end());
    return attributes;
}

}  // namespace jax_ane::software
