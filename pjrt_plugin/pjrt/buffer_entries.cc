// SPDX-License-Identifier: Apache-2.0
// The entries of PJRT_Buffer: queries, reads, copies and pins.
#include <cstring>

#include "pjrt/buffer.h"
#include "pjrt/element_type.h"
#include "pjrt/error.h"
#include "pjrt/event.h"

namespace jax_ane::pjrt {
namespace {

BufferInstance& Get(PJRT_Buffer* buffer) { return *BufferInstance::Unwrap(buffer); }

Status OnBufferDestroy(PJRT_Buffer_Destroy_Args& args) {
    delete BufferInstance::Unwrap(args.buffer);
    return {};
}

Status OnBufferElementType(PJRT_Buffer_ElementType_Args& args) {
    args.type = Get(args.buffer).type();
    return {};
}

Status OnBufferDimensions(PJRT_Buffer_Dimensions_Args& args) {
    args.dims = Get(args.buffer).dims().data();
    args.num_dims = Get(args.buffer).dims().size();
    return {};
}

Status OnBufferUnpaddedDimensions(PJRT_Buffer_UnpaddedDimensions_Args& args) {
    args.unpadded_dims = Get(args.buffer).dims().data();
    args.num_dims = Get(args.buffer).dims().size();
    return {};
}

Status OnBufferDynamicDimensionIndices(PJRT_Buffer_DynamicDimensionIndices_Args& args) {
    args.dynamic_dim_indices = nullptr;
    args.num_dynamic_dims = 0;
    return {};
}

// minor_to_major of a dense row-major array, long enough for any rank that XLA makes.
const int64_t* DescendingOrder(size_t rank) {
    constexpr size_t kMaxRank = 256;
    static const std::vector<int64_t>* order = [] {
        auto* list = new std::vector<int64_t>(kMaxRank);
        for (size_t i = 0; i < kMaxRank; ++i) (*list)[i] = static_cast<int64_t>(kMaxRank - 1 - i);
        return list;
    }();
    return rank <= kMaxRank ? order->data() + (kMaxRank - rank) : nullptr;
}

Status OnBufferGetMemoryLayout(PJRT_Buffer_GetMemoryLayout_Args& args) {
    const size_t rank = Get(args.buffer).dims().size();
    args.layout = PJRT_Buffer_MemoryLayout{};
    args.layout.struct_size = kStructSize<PJRT_Buffer_MemoryLayout>;
    args.layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
    args.layout.tiled = PJRT_Buffer_MemoryLayout_Tiled{};
    args.layout.tiled.struct_size = kStructSize<PJRT_Buffer_MemoryLayout_Tiled>;
    args.layout.tiled.minor_to_major = DescendingOrder(rank);
    args.layout.tiled.minor_to_major_size = rank;
    return {};
}

Status OnBufferOnDeviceSizeInBytes(PJRT_Buffer_OnDeviceSizeInBytes_Args& args) {
    args.on_device_size_in_bytes = Get(args.buffer).byte_size();
    return {};
}

Status OnBufferDevice(PJRT_Buffer_Device_Args& args) {
    args.device = Get(args.buffer).device()->Wrap();
    return {};
}

Status OnBufferMemory(PJRT_Buffer_Memory_Args& args) {
    args.memory = Get(args.buffer).memory();
    return {};
}

Status OnBufferDelete(PJRT_Buffer_Delete_Args& args) {
    Get(args.buffer).Delete();
    return {};
}

Status OnBufferIsDeleted(PJRT_Buffer_IsDeleted_Args& args) {
    args.is_deleted = Get(args.buffer).IsDeleted();
    return {};
}

Status OnBufferIsOnCpu(PJRT_Buffer_IsOnCpu_Args& args) {
    args.is_on_cpu = Get(args.buffer).is_host_readable();
    return {};
}

Status OnBufferReadyEvent(PJRT_Buffer_ReadyEvent_Args& args) {
    // An error here would end the process; a deleted buffer has nothing to wait for.
    StatusOr<std::shared_ptr<Storage>> storage = Get(args.buffer).Acquire();
    const bool pending = storage.ok() && *storage && (*storage)->ready();
    args.event =
        pending ? (new EventInstance((*storage)->ready()))->Wrap() : EventInstance::MakeReady();
    return {};
}

Status ReadInto(BufferInstance& buffer, const PJRT_Buffer_MemoryLayout* layout, void* target) {
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<Storage> storage, buffer.Acquire());
    if (!storage || buffer.byte_size() == 0) return {};
    const ElementType* element = FindElementType(buffer.type());
    JAX_ANE_ASSIGN_OR_RETURN(const std::byte* bytes, HostBytes(buffer, *storage));
    JAX_ANE_ASSIGN_OR_RETURN(Dims target_strides,
                             StridesOfLayout(layout, buffer.dims(), element->byte_size));
    CopyStrided(bytes, RowMajorStrides(buffer.dims(), element->byte_size),
                static_cast<std::byte*>(target), target_strides, buffer.dims(), element->byte_size);
    return {};
}

Status OnBufferToHostBuffer(PJRT_Buffer_ToHostBuffer_Args& args) {
    BufferInstance& buffer = Get(args.src);
    args.event = nullptr;
    if (!args.dst) {
        args.dst_size = buffer.byte_size();
        return {};
    }
    if (args.dst_size < buffer.byte_size()) {
        return InvalidArgument("an array of " + std::to_string(buffer.byte_size()) +
                               " bytes does not fit a host buffer of " +
                               std::to_string(args.dst_size));
    }
    JAX_ANE_RETURN_IF_ERROR(ReadInto(buffer, args.host_layout, args.dst));
    args.event = EventInstance::MakeReady();
    return {};
}

Status OnBufferCopyRawToHost(PJRT_Buffer_CopyRawToHost_Args& args) {
    BufferInstance& buffer = Get(args.buffer);
    const int64_t size = static_cast<int64_t>(buffer.byte_size());
    if (args.offset < 0 || args.transfer_size < 0 || args.offset > size ||
        args.transfer_size > size - args.offset) {
        return InvalidArgument("bytes " + std::to_string(args.offset) + " to " +
                               std::to_string(args.offset + args.transfer_size) +
                               " lie outside a buffer of " + std::to_string(size));
    }
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<Storage> storage, buffer.Acquire());
    if (storage && args.transfer_size > 0) {
        JAX_ANE_ASSIGN_OR_RETURN(const std::byte* bytes, HostBytes(buffer, *storage));
        std::memcpy(args.dst, bytes + args.offset, args.transfer_size);
    }
    args.event = EventInstance::MakeReady();
    return {};
}

// A copy of the bytes: sharing them would let a donation of one buffer delete the other.
StatusOr<PJRT_Buffer*> CopyTo(BufferInstance& source, MemoryInstance* memory, PJRT_Buffer_Type type,
                              Dims dims) {
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<Storage> storage, source.Acquire());
    if (!storage) return (new BufferInstance(memory, type, std::move(dims), nullptr))->Wrap();
    JAX_ANE_ASSIGN_OR_RETURN(const std::byte* bytes, HostBytes(source, *storage));
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<HostBlock> block,
                             HostBlock::Allocate(source.byte_size(), memory->device()->tracker()));
    if (source.byte_size() > 0) std::memcpy(block->data(), bytes, source.byte_size());
    auto copy = std::make_shared<Storage>(std::move(block));
    return (new BufferInstance(memory, type, std::move(dims), std::move(copy)))->Wrap();
}

Status OnBufferCopyToDevice(PJRT_Buffer_CopyToDevice_Args& args) {
    BufferInstance& source = Get(args.buffer);
    JAX_ANE_ASSIGN_OR_RETURN(args.dst_buffer,
                             CopyTo(source, DeviceInstance::Unwrap(args.dst_device)->memory(),
                                    source.type(), source.dims()));
    return {};
}

Status OnBufferCopyToMemory(PJRT_Buffer_CopyToMemory_Args& args) {
    BufferInstance& source = Get(args.buffer);
    MemoryInstance* memory = MemoryInstance::Unwrap(args.dst_memory);
    JAX_ANE_ASSIGN_OR_RETURN(args.dst_buffer, CopyTo(source, memory, source.type(), source.dims()));
    return {};
}

Status OnBufferBitcast(PJRT_Buffer_Bitcast_Args& args) {
    BufferInstance& source = Get(args.buffer);
    Dims dims(args.dims, args.dims + args.num_dims);
    JAX_ANE_ASSIGN_OR_RETURN(size_t bytes, DenseByteSize(args.element_type, dims));
    const ElementType* element = FindElementType(args.element_type);
    if (bytes != source.byte_size() || element->packed || !source.is_host_readable()) {
        return InvalidArgument("a bitcast needs the same number of whole bytes on both sides");
    }
    JAX_ANE_ASSIGN_OR_RETURN(args.out_buffer,
                             CopyTo(source, source.memory(), args.element_type, std::move(dims)));
    return {};
}

Status OnBufferUnsafePointer(PJRT_Buffer_UnsafePointer_Args& args) {
    JAX_ANE_ASSIGN_OR_RETURN(const void* pointer, Get(args.buffer).Pointer());
    args.buffer_pointer = reinterpret_cast<uintptr_t>(pointer);
    return {};
}

Status OnBufferIncreaseExternalReferenceCount(
    PJRT_Buffer_IncreaseExternalReferenceCount_Args& args) {
    return Get(args.buffer).Pin();
}

Status OnBufferDecreaseExternalReferenceCount(
    PJRT_Buffer_DecreaseExternalReferenceCount_Args& args) {
    return Get(args.buffer).Unpin();
}

Status OnBufferOpaqueDeviceMemoryDataPointer(PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args& args) {
    JAX_ANE_ASSIGN_OR_RETURN(const void* pointer, Get(args.buffer).Pointer());
    args.device_memory_ptr = const_cast<void*>(pointer);
    return {};
}

}  // namespace

void FillBufferEntries(PJRT_Api* api) {
    JAX_ANE_ENTRY(api, Buffer_Destroy, OnBufferDestroy);
    JAX_ANE_ENTRY(api, Buffer_ElementType, OnBufferElementType);
    JAX_ANE_ENTRY(api, Buffer_Dimensions, OnBufferDimensions);
    JAX_ANE_ENTRY(api, Buffer_UnpaddedDimensions, OnBufferUnpaddedDimensions);
    JAX_ANE_ENTRY(api, Buffer_DynamicDimensionIndices, OnBufferDynamicDimensionIndices);
    JAX_ANE_ENTRY(api, Buffer_GetMemoryLayout, OnBufferGetMemoryLayout);
    JAX_ANE_ENTRY(api, Buffer_OnDeviceSizeInBytes, OnBufferOnDeviceSizeInBytes);
    JAX_ANE_ENTRY(api, Buffer_Device, OnBufferDevice);
    JAX_ANE_ENTRY(api, Buffer_Memory, OnBufferMemory);
    JAX_ANE_ENTRY(api, Buffer_Delete, OnBufferDelete);
    JAX_ANE_ENTRY(api, Buffer_IsDeleted, OnBufferIsDeleted);
    JAX_ANE_ENTRY(api, Buffer_IsOnCpu, OnBufferIsOnCpu);
    JAX_ANE_ENTRY(api, Buffer_ReadyEvent, OnBufferReadyEvent);
    JAX_ANE_ENTRY(api, Buffer_ToHostBuffer, OnBufferToHostBuffer);
    JAX_ANE_ENTRY(api, Buffer_CopyRawToHost, OnBufferCopyRawToHost);
    JAX_ANE_ENTRY(api, Buffer_CopyToDevice, OnBufferCopyToDevice);
    JAX_ANE_ENTRY(api, Buffer_CopyToMemory, OnBufferCopyToMemory);
    JAX_ANE_ENTRY(api, Buffer_Bitcast, OnBufferBitcast);
    JAX_ANE_ENTRY(api, Buffer_UnsafePointer, OnBufferUnsafePointer);
    JAX_ANE_ENTRY(api, Buffer_IncreaseExternalReferenceCount,
                  OnBufferIncreaseExternalReferenceCount);
    JAX_ANE_ENTRY(api, Buffer_DecreaseExternalReferenceCount,
                  OnBufferDecreaseExternalReferenceCount);
    JAX_ANE_ENTRY(api, Buffer_OpaqueDeviceMemoryDataPointer, OnBufferOpaqueDeviceMemoryDataPointer);
}

}  // namespace jax_ane::pjrt
