// SPDX-License-Identifier: Apache-2.0
// The entries of PJRT_Executable and the shardings extension: answers from a Program's fields.
#include <cstring>

#include "pjrt/error.h"
#include "pjrt/executable.h"

namespace jax_ane::pjrt {
namespace {

Program& Get(const PJRT_Executable* executable) {
    return ExecutableInstance::Unwrap(executable)->program();
}

Status OnExecutableDestroy(PJRT_Executable_Destroy_Args& args) {
    delete ExecutableInstance::Unwrap(args.executable);
    return {};
}

Status OnExecutableName(PJRT_Executable_Name_Args& args) {
    args.executable_name = Get(args.executable).name.data();
    args.executable_name_size = Get(args.executable).name.size();
    return {};
}

Status OnExecutableNumReplicas(PJRT_Executable_NumReplicas_Args& args) {
    args.num_replicas = Get(args.executable).num_replicas;
    return {};
}

Status OnExecutableNumPartitions(PJRT_Executable_NumPartitions_Args& args) {
    args.num_partitions = Get(args.executable).num_partitions;
    return {};
}

Status OnExecutableNumOutputs(PJRT_Executable_NumOutputs_Args& args) {
    args.num_outputs = Get(args.executable).outputs.size();
    return {};
}

Status OnExecutableSizeOfGeneratedCode(PJRT_Executable_SizeOfGeneratedCodeInBytes_Args& args) {
    args.size_in_bytes = Get(args.executable).memory_stats[0];
    return {};
}

Status OnExecutableGetCostAnalysis(PJRT_Executable_GetCostAnalysis_Args& args) {
    args.properties = Get(args.executable).costs.data();
    args.num_properties = Get(args.executable).costs.size();
    return {};
}

Status OnExecutableOutputMemoryKinds(PJRT_Executable_OutputMemoryKinds_Args& args) {
    Program& program = Get(args.executable);
    args.num_outputs = program.outputs.size();
    args.memory_kinds = program.memory_kinds.data();
    args.memory_kind_sizes = program.memory_kind_sizes.data();
    return {};
}

Status OnExecutableOutputElementTypes(PJRT_Executable_OutputElementTypes_Args& args) {
    Program& program = Get(args.executable);
    args.output_types = program.output_types.data();
    args.num_output_types = program.output_types.size();
    return {};
}

Status OnExecutableOutputDimensions(PJRT_Executable_OutputDimensions_Args& args) {
    Program& program = Get(args.executable);
    args.num_outputs = program.outputs.size();
    args.dims = program.output_dims.data();
    args.dim_sizes = program.output_ranks.data();
    return {};
}

// Called twice: first for the size, then with room for the text.
Status OnExecutableOptimizedProgram(PJRT_Executable_OptimizedProgram_Args& args) {
    thread_local std::string format;  // Read by the caller after the return.
    JAX_ANE_ASSIGN_OR_RETURN(const std::string* text, Get(args.executable).OptimizedText(&format));
    PJRT_Program& program = *args.program;
    program.format = format.data();
    program.format_size = format.size();
    if (!program.code) {
        program.code_size = text->size();
        return {};
    }
    if (program.code_size < text->size()) {
        return InvalidArgument("the program has " + std::to_string(text->size()) +
                               " bytes and there is room for " + std::to_string(program.code_size));
    }
    std::memcpy(program.code, text->data(), text->size());
    program.code_size = text->size();
    return {};
}

Status OnExecutableFingerprint(PJRT_Executable_Fingerprint_Args& args) {
    args.executable_fingerprint = Get(args.executable).fingerprint.data();
    args.executable_fingerprint_size = Get(args.executable).fingerprint.size();
    return {};
}

Status OnExecutableGetCompiledMemoryStats(PJRT_Executable_GetCompiledMemoryStats_Args& args) {
    const auto& stats = Get(args.executable).memory_stats;
    args.generated_code_size_in_bytes = stats[0];
    args.argument_size_in_bytes = stats[1];
    args.output_size_in_bytes = stats[2];
    args.alias_size_in_bytes = stats[3];
    args.temp_size_in_bytes = stats[4];
    args.host_generated_code_size_in_bytes = 0;
    args.host_argument_size_in_bytes = 0;
    args.host_output_size_in_bytes = 0;
    args.host_alias_size_in_bytes = 0;
    args.host_temp_size_in_bytes = 0;
    args.peak_memory_in_bytes = stats[5];
    args.total_size_in_bytes = stats[1] + stats[2] - stats[3] + stats[4];
    args.total_allocation_bytes = args.total_size_in_bytes;
    args.indefinite_allocations = 0;
    args.peak_unpadded_heap_bytes = stats[5];
    return {};
}

Status OnExecutableSerialize(PJRT_Executable_Serialize_Args& args) {
    const Program& program = Get(args.executable);
    if (!program.is_portable) {
        return Unimplemented("a program with host callbacks cannot be serialised");
    }
    JAX_ANE_ASSIGN_OR_RETURN(std::string serialised, SerializeProgram(program));
    auto* bytes = new std::string(std::move(serialised));
    args.serialized_bytes = bytes->data();
    args.serialized_bytes_size = bytes->size();
    args.serialized_executable = reinterpret_cast<PJRT_SerializedExecutable*>(bytes);
    args.serialized_executable_deleter = [](PJRT_SerializedExecutable* held) {
        delete reinterpret_cast<std::string*>(held);
    };
    return {};
}

Status OnExecutableGetCompileOptions(PJRT_Executable_GetCompileOptions_Args& args) {
    const Program& program = Get(args.executable);
    args.serialized_bytes = program.options.data();
    args.serialized_bytes_size = program.options.size();
    args.serialized_compile_options = nullptr;
    args.serialized_compile_options_deleter = [](PJRT_SerializedCompileOptions*) {};
    return {};
}

Status OnParameterShardings(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args& args) {
    const ShardingList& list = Get(args.executable).parameter_shardings;
    args.num_parameters = list.protos.size();
    args.shardings = list.protos.empty() ? nullptr : list.data.data();
    args.sharding_sizes = list.protos.empty() ? nullptr : list.sizes.data();
    return {};
}

Status OnOutputShardings(PJRT_Shardings_PJRT_Executable_OutputShardings_Args& args) {
    const ShardingList& list = Get(args.executable).output_shardings;
    args.num_outputs = list.protos.size();
    args.shardings = list.protos.empty() ? nullptr : list.data.data();
    args.sharding_sizes = list.protos.empty() ? nullptr : list.sizes.data();
    return {};
}

}  // namespace

PJRT_Extension_Base* ShardingsExtension() {
    static PJRT_Shardings_Extension extension = {
        .base = {.struct_size = sizeof(PJRT_Shardings_Extension),
                 .type = PJRT_Extension_Type_Shardings,
                 .next = nullptr},
        .parameter_shardings =
            Entry<PJRT_Shardings_PJRT_Executable_ParameterShardings_Args, OnParameterShardings>,
        .output_shardings =
            Entry<PJRT_Shardings_PJRT_Executable_OutputShardings_Args, OnOutputShardings>,
    };
    return &extension.base;
}

void FillExecutableEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, Executable_Destroy, OnExecutableDestroy);
    JAX_ANE_ENTRY(api, Executable_Name, OnExecutableName);
    JAX_ANE_ENTRY(api, Executable_NumReplicas, OnExecutableNumReplicas);
    JAX_ANE_ENTRY(api, Executable_NumPartitions, OnExecutableNumPartitions);
    JAX_ANE_ENTRY(api, Executable_NumOutputs, OnExecutableNumOutputs);
    JAX_ANE_ENTRY(api, Executable_SizeOfGeneratedCodeInBytes, OnExecutableSizeOfGeneratedCode);
    JAX_ANE_ENTRY(api, Executable_GetCostAnalysis, OnExecutableGetCostAnalysis);
    JAX_ANE_ENTRY(api, Executable_OutputMemoryKinds, OnExecutableOutputMemoryKinds);
    JAX_ANE_ENTRY(api, Executable_OutputElementTypes, OnExecutableOutputElementTypes);
    JAX_ANE_ENTRY(api, Executable_OutputDimensions, OnExecutableOutputDimensions);
    JAX_ANE_ENTRY(api, Executable_OptimizedProgram, OnExecutableOptimizedProgram);
    JAX_ANE_ENTRY(api, Executable_Fingerprint, OnExecutableFingerprint);
    JAX_ANE_ENTRY(api, Executable_GetCompiledMemoryStats, OnExecutableGetCompiledMemoryStats);
    JAX_ANE_ENTRY(api, Executable_Serialize, OnExecutableSerialize);
    JAX_ANE_ENTRY(api, Executable_GetCompileOptions, OnExecutableGetCompileOptions);
}

}  // namespace jax_ane::pjrt
