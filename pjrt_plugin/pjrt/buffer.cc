// SPDX-License-Identifier: Apache-2.0
// A buffer's life: its bytes on either side, deletion, and pins of outside readers.
#include "pjrt/buffer.h"

#include <nanobind/ndarray.h>

#include <cstring>

#include "pjrt/client.h"
#include "pjrt/element_type.h"

namespace jax_ane::pjrt {
namespace {

Status DeletedError() { return InvalidArgument("Buffer has been deleted or donated."); }

// A read-only numpy array of bytes that keeps `block` alive.
nb::object ViewOfBlock(std::shared_ptr<HostBlock> block) {
    auto* kept = new std::shared_ptr<HostBlock>(std::move(block));
    nb::capsule owner(kept,
                      [](void* p) noexcept { delete static_cast<std::shared_ptr<HostBlock>*>(p); });
    const size_t shape[1] = {(*kept)->size()};
    nb::ndarray<nb::numpy, const uint8_t> bytes((*kept)->data(), 1, shape, owner);
    return nb::cast(bytes);
}

nb::handle EngineOf(const BufferInstance& buffer) { return buffer.device()->client()->Engine(); }

// Packed arrays have to be widened, and others put into row-major order, by Python, once.
StatusOr<const std::byte*> ExportByPython(const BufferInstance& buffer, Storage& storage) {
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<HostBlock> block,
                             HostBlock::Allocate(buffer.byte_size(), buffer.device()->tracker()));
    JAX_ANE_RETURN_IF_ERROR(WithPython([&]() -> Status {
        nb::object bytes = EngineOf(buffer).attr("export_bytes")(storage.array());
        Py_buffer view;
        if (PyObject_GetBuffer(bytes.ptr(), &view, PyBUF_SIMPLE) != 0) throw nb::python_error();
        const bool fits = view.len == static_cast<Py_ssize_t>(block->size());
        if (fits) std::memcpy(block->data(), view.buf, block->size());
        PyBuffer_Release(&view);
        return fits ? Status() : Internal("an array was exported with a wrong size");
    }));
    storage.SetBlock(std::move(block));
    return storage.block()->data();
}

}  // namespace

BufferShape::BufferShape(PJRT_Buffer_Type type, Dims dims) : type(type), dims(std::move(dims)) {
    const ElementType* element = FindElementType(type);
    StatusOr<size_t> bytes = DenseByteSize(type, this->dims);
    byte_size = bytes.ok() ? *bytes : 0;
    host_readable = element && element->byte_size > 0 && !element->packed;
}

void BufferInstance::Delete() {
    std::shared_ptr<Storage> dropped;  // Freed after the lock: callbacks re-enter the plugin.
    std::lock_guard lock(mutex_);
    deleted_ = true;
    dropped.swap(storage_);
}

bool BufferInstance::IsDeleted() const {
    std::lock_guard lock(mutex_);
    return deleted_;
}

StatusOr<std::shared_ptr<Storage>> BufferInstance::Acquire() const {
    std::lock_guard lock(mutex_);
    if (deleted_) return DeletedError();
    return storage_;
}

Status BufferInstance::Pin() {
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<Storage> storage, Acquire());
    if (storage) JAX_ANE_RETURN_IF_ERROR(storage->Await());
    PyRef hold;
    // A block is never written, so only XLA's own memory needs to be held.
    if (storage && storage->array_is_origin() && is_host_readable() &&
        storage->array_is_row_major()) {
        JAX_ANE_RETURN_IF_ERROR(WithPython([&]() -> Status {
            ArrayTurn turn(*storage);
            hold = PyRef(EngineOf(*this).attr("hold")(storage->array()));
            return {};
        }));
    }
    std::lock_guard lock(mutex_);
    if (pins_++ == 0) {
        pinned_ = std::move(storage);
        hold_ = std::move(hold);
    }
    return {};
}

Status BufferInstance::Unpin() {
    std::shared_ptr<Storage> dropped;
    PyRef hold;
    std::lock_guard lock(mutex_);
    if (pins_ == 0) return FailedPrecondition("a buffer was unpinned more often than pinned");
    if (--pins_ == 0) {
        dropped = std::move(pinned_);
        hold = std::move(hold_);
    }
    return {};
}

StatusOr<const void*> BufferInstance::Pointer() const {
    std::shared_ptr<Storage> storage;
    {
        std::lock_guard lock(mutex_);
        storage = pinned_ ? pinned_ : storage_;
    }
    if (!storage) return DeletedError();
    JAX_ANE_ASSIGN_OR_RETURN(const std::byte* bytes, HostBytes(*this, *storage));
    return static_cast<const void*>(bytes);
}

nb::handle InnerArray(const BufferInstance& buffer, Storage& storage) {
    if (!storage.array()) {
        const Dims& dims = buffer.dims();
        nb::object shape = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(dims.size())));
        for (size_t i = 0; i < dims.size(); ++i) {
            PyTuple_SET_ITEM(shape.ptr(), i, PyLong_FromLongLong(dims[i]));
        }
        // The call lets other threads run; SetArray keeps the first array that arrives.
        nb::handle engine = EngineOf(buffer);
        storage.SetArray(PyRef(engine.attr("import_block")(ViewOfBlock(storage.block()),
                                                           static_cast<int>(buffer.type()), shape,
                                                           buffer.device()->id())));
    }
    return storage.array();
}

StatusOr<const std::byte*> HostBytes(const BufferInstance& buffer, Storage& storage) {
    if (std::shared_ptr<HostBlock> block = storage.block()) return block->data();
    JAX_ANE_RETURN_IF_ERROR(storage.Await());
    if (!buffer.is_host_readable() || !storage.array_is_row_major()) {
        return ExportByPython(buffer, storage);
    }
    if (!storage.array_data()) {
        JAX_ANE_RETURN_IF_ERROR(WithPython([&]() -> Status {
            storage.ArrayData();
            return {};
        }));
    }
    return static_cast<const std::byte*>(storage.array_data());
}

}  // namespace jax_ane::pjrt
