// SPDX-License-Identifier: Apache-2.0
// The layouts extension: the order of axes of arguments, results and arrays, as text such as
// "{1,0}". JAX asks for a program's layouts at every compilation; without the extension it would
// read the whole optimised program back to find them.
#include "pjrt/layouts.h"

#include <mutex>
#include <unordered_map>

#include "pjrt/buffer.h"
#include "pjrt/error.h"
#include "pjrt/executable.h"

struct jax_ane::pjrt::PJRT_Layouts_MemoryLayout {
    std::string text;
};

namespace jax_ane::pjrt {

// Few texts exist, and whoever destroys a layout may still hold another of the same text.
PJRT_Layouts_MemoryLayout* InternLayout(const std::string& text) {
    static std::mutex mutex;
    static auto* layouts = new std::unordered_map<std::string, PJRT_Layouts_MemoryLayout*>();
    std::lock_guard lock(mutex);
    PJRT_Layouts_MemoryLayout*& layout = (*layouts)[text];
    if (!layout) layout = new PJRT_Layouts_MemoryLayout{text};
    return layout;
}

namespace {

PJRT_Layouts_MemoryLayout* RowMajorLayout(size_t rank) {
    std::string text = "{";
    for (size_t dim = rank; dim-- > 0;) {
        text += std::to_string(dim);
        if (dim > 0) text += ',';
    }
    return InternLayout(text + "}");
}

Status OnDestroy(PJRT_Layouts_MemoryLayout_Destroy_Args&) { return {}; }

Status OnSerialize(PJRT_Layouts_MemoryLayout_Serialize_Args& args) {
    args.serialized_bytes = args.layout->text.data();
    args.serialized_bytes_size = args.layout->text.size();
    args.serialized_layout = nullptr;
    args.serialized_layout_deleter = [](PJRT_Layouts_SerializedLayout*) {};
    return {};
}

Status OnClientDefaultLayout(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args& args) {
    args.layout = RowMajorLayout(args.num_dims);
    return {};
}

Status OnTopologyDefaultLayout(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args& args) {
    args.layout = RowMajorLayout(args.num_dims);
    return {};
}

Status OnBufferLayout(PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args& args) {
    args.layout = RowMajorLayout(BufferInstance::Unwrap(args.buffer)->dims().size());
    return {};
}

Status NoLayouts() { return Unimplemented("the layouts of a program with tokens are not known"); }

Status OnOutputLayouts(PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args& args) {
    Program& program = ExecutableInstance::Unwrap(args.executable)->program();
    if (!program.knows_layouts) return NoLayouts();
    args.num_outputs = program.output_layouts.size();
    args.layouts = program.output_layouts.data();
    return {};
}

Status OnParameterLayouts(PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args& args) {
    Program& program = ExecutableInstance::Unwrap(args.executable)->program();
    if (!program.knows_layouts) return NoLayouts();
    args.num_parameters = program.parameter_layouts.size();
    args.layouts = program.parameter_layouts.data();
    return {};
}

}  // namespace

PJRT_Extension_Base* LayoutsExtension(PJRT_Extension_Base* next) {
    static PJRT_Layouts_Extension extension = {
        .base = {.struct_size = sizeof(PJRT_Layouts_Extension),
                 .type = PJRT_Extension_Type_Layouts,
                 .next = next},
        .destroy = Entry<PJRT_Layouts_MemoryLayout_Destroy_Args, OnDestroy>,
        .serialize = Entry<PJRT_Layouts_MemoryLayout_Serialize_Args, OnSerialize>,
        .client_default =
            Entry<PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args, OnClientDefaultLayout>,
        .buffer = Entry<PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args, OnBufferLayout>,
        .topology_default =
            Entry<PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args, OnTopologyDefaultLayout>,
        .outputs = Entry<PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args, OnOutputLayouts>,
        .parameters =
            Entry<PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args, OnParameterLayouts>,
    };
    return &extension.base;
}

}  // namespace jax_ane::pjrt
