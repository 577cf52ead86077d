// SPDX-License-Identifier: Apache-2.0
// PJRT_Buffer: type, shape, device and a share of the bytes. Immutable but for Delete, donation
// and the count of outside readers.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "pjrt/c_api.h"
#include "pjrt/device.h"
#include "pjrt/storage.h"
#include "pjrt/transfer.h"
#include "util/status.h"

namespace jax_ane::pjrt {

// What a buffer's type and dimensions say. A program's outputs share theirs over all executions.
struct BufferShape {
    BufferShape(PJRT_Buffer_Type type, Dims dims);

    PJRT_Buffer_Type type;
    Dims dims;
    size_t byte_size;    // On the host side: one byte for an element below eight bits.
    bool host_readable;  // Whether the bytes lie in memory as numpy wants to see them.
};

class BufferInstance {
  public:
    // Null `storage` makes a token, which has no data.
    BufferInstance(MemoryInstance* memory, std::shared_ptr<const BufferShape> shape,
                   std::shared_ptr<Storage> storage)
        : memory_(memory), shape_(std::move(shape)), storage_(std::move(storage)) {}
    BufferInstance(MemoryInstance* memory, PJRT_Buffer_Type type, Dims dims,
                   std::shared_ptr<Storage> storage)
        : BufferInstance(memory, std::make_shared<BufferShape>(type, std::move(dims)),
                         std::move(storage)) {}

    static BufferInstance* Unwrap(PJRT_Buffer* buffer) {
        return reinterpret_cast<BufferInstance*>(buffer);
    }
    PJRT_Buffer* Wrap() { return reinterpret_cast<PJRT_Buffer*>(this); }

    MemoryInstance* memory() const { return memory_; }
    DeviceInstance* device() const { return memory_->device(); }
    PJRT_Buffer_Type type() const { return shape_->type; }
    const Dims& dims() const { return shape_->dims; }
    size_t byte_size() const { return shape_->byte_size; }
    bool is_token() const { return type() == PJRT_Buffer_Type_TOKEN; }
    bool is_host_readable() const { return shape_->host_readable; }

    // Drops the data; outside readers keep what they pinned.
    void Delete();
    bool IsDeleted() const;
    // The bytes, or an error that says the buffer was deleted or donated.
    StatusOr<std::shared_ptr<Storage>> Acquire() const;

    // Keeps the bytes as they are until the matching Unpin, whatever is donated meanwhile.
    Status Pin();
    Status Unpin();
    // The address of the pinned or present bytes.
    StatusOr<const void*> Pointer() const;

  private:
    MemoryInstance* memory_;
    std::shared_ptr<const BufferShape> shape_;

    mutable std::mutex mutex_;
    bool deleted_ = false;
    std::shared_ptr<Storage> storage_;
    int pins_ = 0;
    std::shared_ptr<Storage> pinned_;
    PyRef hold_;  // While it lives, XLA:CPU copies instead of donating the pinned array.
};

// The array of the inner client for `storage`, made from its block when there is none yet. Needs
// the GIL; raises nb::python_error.
nb::handle InnerArray(const BufferInstance& buffer, Storage& storage);

// Dense row-major bytes on the host side, made from the inner array when there is no block.
// `storage` must outlive their use.
StatusOr<const std::byte*> HostBytes(const BufferInstance& buffer, Storage& storage);

void FillBufferEntries(PJRT_Api* api);  // buffer_entries.cc
void FillUploadEntries(PJRT_Api* api);  // upload.cc

}  // namespace jax_ane::pjrt
