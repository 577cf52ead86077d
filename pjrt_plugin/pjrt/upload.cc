// SPDX-License-Identifier: Apache-2.0
// Host to device: the ways in which a client makes a buffer that no computation produced.
#include <cstring>

#include "pjrt/buffer.h"
#include "pjrt/client.h"
#include "pjrt/element_type.h"
#include "pjrt/error.h"
#include "pjrt/event.h"

namespace jax_ane::pjrt {
namespace {

StatusOr<MemoryInstance*> TargetMemory(PJRT_Device* device, PJRT_Memory* memory) {
    if (memory) return MemoryInstance::Unwrap(memory);
    if (device) return DeviceInstance::Unwrap(device)->memory();
    return InvalidArgument("an upload names neither a device nor a memory");
}

StatusOr<size_t> UploadSize(PJRT_Buffer_Type type, const Dims& dims,
                            const PJRT_Buffer_MemoryLayout* layout) {
    JAX_ANE_ASSIGN_OR_RETURN(size_t bytes, DenseByteSize(type, dims));
    if (layout && bytes > 0) {
        const int64_t element_bytes = FindElementType(type)->byte_size;
        JAX_ANE_ASSIGN_OR_RETURN(Dims strides, StridesOfLayout(layout, dims, element_bytes));
        if (strides != RowMajorStrides(dims, element_bytes)) {
            return Unimplemented("ane arrays are dense and row-major; no other layout is offered");
        }
    }
    return bytes;
}

// Below this a copy is cheaper than keeping the caller's array alive.
constexpr size_t kMinBorrowBytes = 16384;

bool MayBorrow(const PJRT_Client_BufferFromHostBuffer_Args& args, bool dense, size_t bytes) {
    return args.host_buffer_semantics == PJRT_HostBufferSemantics_kImmutableZeroCopy && dense &&
           bytes >= kMinBorrowBytes &&
           reinterpret_cast<uintptr_t>(args.data) % HostBlock::kAlignment == 0;
}

Status OnClientBufferFromHostBuffer(PJRT_Client_BufferFromHostBuffer_Args& args) {
    const Dims dims(args.dims, args.dims + args.num_dims);
    JAX_ANE_ASSIGN_OR_RETURN(MemoryInstance * memory, TargetMemory(args.device, args.memory));
    JAX_ANE_ASSIGN_OR_RETURN(size_t bytes, UploadSize(args.type, dims, args.device_layout));
    const int64_t element_bytes = FindElementType(args.type)->byte_size;
    const Dims dense = RowMajorStrides(dims, element_bytes);
    Dims strides = dense;
    if (args.num_byte_strides > 0) {
        if (args.num_byte_strides != dims.size()) {
            return InvalidArgument(std::to_string(args.num_byte_strides) +
                                   " strides were given for rank " + std::to_string(dims.size()));
        }
        strides.assign(args.byte_strides, args.byte_strides + args.num_byte_strides);
    }
    std::shared_ptr<HostBlock> block;
    if (MayBorrow(args, strides == dense, bytes)) {
        auto done = std::make_shared<EventState>();
        memory->device()->tracker()->Add(bytes);
        block = HostBlock::Borrow(args.data, bytes,
                                  [done, bytes, tracker = memory->device()->tracker()] {
                                      tracker->Remove(bytes);
                                      done->Set(Status());
                                  });
        args.done_with_host_buffer = (new EventInstance(done))->Wrap();
    } else {
        JAX_ANE_ASSIGN_OR_RETURN(block, HostBlock::Allocate(bytes, memory->device()->tracker()));
        if (bytes > 0) {
            CopyStrided(static_cast<const std::byte*>(args.data), strides, block->data(), dense,
                        dims, element_bytes);
        }
        args.done_with_host_buffer = EventInstance::MakeReady();
    }
    auto storage = std::make_shared<Storage>(std::move(block));
    args.buffer = (new BufferInstance(memory, args.type, dims, std::move(storage)))->Wrap();
    return {};
}

Status OnClientCreateUninitializedBuffer(PJRT_Client_CreateUninitializedBuffer_Args& args) {
    const Dims dims(args.shape_dims, args.shape_dims + args.shape_num_dims);
    JAX_ANE_ASSIGN_OR_RETURN(MemoryInstance * memory, TargetMemory(args.device, args.memory));
    JAX_ANE_ASSIGN_OR_RETURN(size_t bytes,
                             UploadSize(args.shape_element_type, dims, args.shape_layout));
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<HostBlock> block,
                             HostBlock::Allocate(bytes, memory->device()->tracker()));
    std::memset(block->data(), 0, bytes);  // No other program's bytes leave this way.
    auto storage = std::make_shared<Storage>(std::move(block));
    args.buffer =
        (new BufferInstance(memory, args.shape_element_type, dims, std::move(storage)))->Wrap();
    return {};
}

Status OnClientCreateViewOfDeviceBuffer(PJRT_Client_CreateViewOfDeviceBuffer_Args& args) {
    const Dims dims(args.dims, args.dims + args.num_dims);
    JAX_ANE_ASSIGN_OR_RETURN(MemoryInstance * memory, TargetMemory(args.device, args.memory));
    JAX_ANE_ASSIGN_OR_RETURN(size_t bytes, UploadSize(args.element_type, dims, args.layout));
    auto release = [on_delete = args.on_delete_callback, pointer = args.device_buffer_ptr,
                    arg = args.on_delete_callback_arg] {
        if (on_delete) on_delete(pointer, arg);
    };
    auto storage =
        std::make_shared<Storage>(HostBlock::Borrow(args.device_buffer_ptr, bytes, release));
    args.buffer = (new BufferInstance(memory, args.element_type, dims, std::move(storage)))->Wrap();
    return {};
}

}  // namespace

void FillUploadEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, Client_BufferFromHostBuffer, OnClientBufferFromHostBuffer);
    JAX_ANE_ENTRY(api, Client_CreateUninitializedBuffer, OnClientCreateUninitializedBuffer);
    JAX_ANE_ENTRY(api, Client_CreateViewOfDeviceBuffer, OnClientCreateViewOfDeviceBuffer);
}

}  // namespace jax_ane::pjrt
