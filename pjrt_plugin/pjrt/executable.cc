// SPDX-License-Identifier: Apache-2.0
// Compilation: hands the program to jax_ane._host and reads the answer into plain fields once.
#include "pjrt/executable.h"

#include <cstdio>

#include "pjrt/element_type.h"
#include "pjrt/layouts.h"
#include "util/trace.h"

namespace jax_ane::pjrt {
namespace {

StatusOr<size_t> FindMemoryKind(const std::string& name) {
    for (size_t kind = 0; kind < kMemoryKinds.size(); ++kind) {
        if (kMemoryKinds[kind] == name) return kind;
    }
    return InvalidArgument("ane has no memory of the kind " + name);
}

std::string Bytes(nb::handle object) {
    nb::bytes bytes = nb::cast<nb::bytes>(object);
    return std::string(bytes.c_str(), bytes.size());
}

std::string Text(nb::handle object) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
    if (!data) throw nb::python_error();
    return std::string(data, size);
}

std::string Hex(uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
    return text;
}

void ReadShardingList(nb::handle source, ShardingList* target) {
    if (source.is_none()) return;
    for (nb::handle proto : source) target->protos.push_back(Bytes(proto));
    for (const std::string& proto : target->protos) {
        target->data.push_back(proto.data());
        target->sizes.push_back(proto.size());
    }
}

}  // namespace

StatusOr<std::shared_ptr<Program>> Program::Compile(ClientInstance* client, std::string code,
                                                    std::string options, std::string stored) {
    const int64_t start_ns = TraceClock();
    auto program = std::make_shared<Program>();
    program->client = client;
    program->code = std::move(code);
    program->options = std::move(options);
    const std::string& version = client->platform_version();
    program->fingerprint =
        Hex(Fingerprint(program->code, Fingerprint(program->options, Fingerprint(version))));
    JAX_ANE_RETURN_IF_ERROR(WithPython([&]() -> Status {
        client->Engine();  // Made before the module function looks for it.
        nb::object host =
            nb::module_::import_("jax_ane._host")
                .attr("compile")(nb::bytes(program->code.data(), program->code.size()),
                                 nb::bytes(program->options.data(), program->options.size()),
                                 nb::bytes(stored.data(), stored.size()));
        JAX_ANE_RETURN_IF_ERROR(program->ReadHost(host));
        host.attr("publish")(program->fingerprint.c_str());
        return {};
    }));
    if (Trace::Get().is_on()) Trace::Get().Add(TraceRow::kCompile, program->name, start_ns);
    return program;
}

Status Program::ReadHost(nb::handle host) {
    host_ = PyRef(nb::borrow(host));
    execute_ = PyRef(host.attr("execute"));
    handlers_ = PyRef(host.attr("handlers"));
    token_ = PyRef(host.attr("token"));
    name = Text(host.attr("name"));
    device_assignment = Bytes(host.attr("device_assignment"));
    num_replicas = nb::cast<size_t>(host.attr("num_replicas"));
    num_partitions = nb::cast<size_t>(host.attr("num_partitions"));
    is_portable = nb::cast<bool>(host.attr("is_portable"));
    int index = 0;
    for (nb::handle id : host.attr("device_ids")) {
        DeviceInstance* device = client->FindDevice(nb::cast<int>(id));
        if (!device) return Internal("a program was compiled for a device that does not exist");
        const int partitions = static_cast<int>(num_partitions);
        if (device->place().is_addressable) {
            devices.push_back(device->Wrap());
            logical_ids.push_back({index / partitions, index % partitions});
        }
        ++index;
    }
    for (nb::handle flag : host.attr("donated")) donated.push_back(nb::cast<bool>(flag));
    size_t slot = 0;
    for (nb::handle bytes : host.attr("memory_stats")) {
        if (slot < memory_stats.size()) memory_stats[slot++] = nb::cast<int64_t>(bytes);
    }
    for (nb::handle cost : host.attr("costs")) {
        nb::tuple pair = nb::borrow<nb::tuple>(cost);
        costs.Add(Text(pair[0]), nb::cast<float>(pair[1]));
    }
    ReadShardings(host);
    ReadLayouts(host);
    return ReadOutputs(host);
}

void Program::ReadShardings(nb::handle host) {
    ReadShardingList(host.attr("parameter_shardings"), &parameter_shardings);
    ReadShardingList(host.attr("output_shardings"), &output_shardings);
}

void Program::ReadLayouts(nb::handle host) {
    nb::object parameters = host.attr("parameter_layouts");
    knows_layouts = !parameters.is_none();
    if (!knows_layouts) return;
    for (nb::handle text : parameters) parameter_layouts.push_back(InternLayout(Text(text)));
    for (nb::handle text : host.attr("output_layouts")) {
        output_layouts.push_back(InternLayout(Text(text)));
    }
}

Status Program::ReadOutputs(nb::handle host) {
    for (nb::handle output : host.attr("outputs")) {
        nb::tuple fields = nb::borrow<nb::tuple>(output);
        const auto type = static_cast<PJRT_Buffer_Type>(nb::cast<int>(fields[0]));
        Dims dims;
        for (nb::handle dim : fields[1]) dims.push_back(nb::cast<int64_t>(dim));
        JAX_ANE_RETURN_IF_ERROR(DenseByteSize(type, dims).status());
        if (type == PJRT_Buffer_Type_TOKEN) ++num_tokens;
        output_types.push_back(type);
        output_dims.insert(output_dims.end(), dims.begin(), dims.end());
        output_ranks.push_back(dims.size());
        JAX_ANE_ASSIGN_OR_RETURN(size_t kind, FindMemoryKind(Text(fields[3])));
        memory_kinds.push_back(kMemoryKinds[kind].data());
        memory_kind_sizes.push_back(kMemoryKinds[kind].size());
        outputs.push_back({std::make_shared<BufferShape>(type, std::move(dims)), kind,
                           nb::cast<bool>(fields[2])});
    }
    return {};
}

StatusOr<std::string> Program::Stored() const {
    std::string stored;
    JAX_ANE_RETURN_IF_ERROR(WithPython([&]() -> Status {
        stored = Bytes(nb::object(host().attr("stored")()));
        return {};
    }));
    return stored;
}

StatusOr<const std::string*> Program::OptimizedText(std::string* format) {
    {
        std::lock_guard lock(text_mutex_);
        if (text_made_) {
            *format = text_format_;
            return static_cast<const std::string*>(&text_);
        }
    }
    std::string made, made_format;
    JAX_ANE_RETURN_IF_ERROR(WithPython([&]() -> Status {
        nb::tuple pair = nb::borrow<nb::tuple>(nb::object(host().attr("optimized_program")()));
        made_format = Text(pair[0]);
        made = Bytes(pair[1]);
        return {};
    }));
    std::lock_guard lock(text_mutex_);
    if (!text_made_) {
        text_ = std::move(made);
        text_format_ = std::move(made_format);
        text_made_ = true;
    }
    *format = text_format_;
    return static_cast<const std::string*>(&text_);
}

}  // namespace jax_ane::pjrt
