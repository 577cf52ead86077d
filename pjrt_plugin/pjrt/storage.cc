// SPDX-License-Identifier: Apache-2.0
// Allocation, counting and release of the bytes behind buffers.
#include "pjrt/storage.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace jax_ane::pjrt {

Status MemoryTracker::Reserve(int64_t bytes) {
    std::lock_guard lock(mutex_);
    if (bytes > limit_ - in_use_) {
        return ResourceExhausted("a buffer needs " + std::to_string(bytes) + " bytes and " +
                                 std::to_string(std::max<int64_t>(limit_ - in_use_, 0)) +
                                 " are free of the ane device's " + std::to_string(limit_) +
                                 "; delete arrays or use a smaller batch");
    }
    AddLocked(bytes);
    return {};
}

void MemoryTracker::Add(int64_t bytes) {
    std::lock_guard lock(mutex_);
    AddLocked(bytes);
}

void MemoryTracker::AddLocked(int64_t bytes) {
    in_use_ += bytes;
    ++allocations_;
    peak_ = std::max(peak_, in_use_);
    largest_ = std::max(largest_, bytes);
}

void MemoryTracker::Remove(int64_t bytes) {
    std::lock_guard lock(mutex_);
    in_use_ -= bytes;
}

MemoryTracker::Snapshot MemoryTracker::Read() const {
    std::lock_guard lock(mutex_);
    return {in_use_, peak_, allocations_, largest_, limit_};
}

void MemoryTracker::ResetPeak() {
    std::lock_guard lock(mutex_);
    peak_ = in_use_;
    largest_ = 0;
    allocations_ = 0;
}

int64_t DefaultMemoryLimit() {
    const int64_t pages = sysconf(_SC_PHYS_PAGES);
    const int64_t page_bytes = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page_bytes <= 0) return int64_t{8} << 30;
    // Memory is shared with the host's programs: leave a tenth to them.
    return pages * page_bytes / 10 * 9;
}

StatusOr<std::shared_ptr<HostBlock>> HostBlock::Allocate(size_t bytes,
                                                         std::shared_ptr<MemoryTracker> tracker) {
    JAX_ANE_RETURN_IF_ERROR(tracker->Reserve(bytes));
    // aligned_alloc wants a multiple of the alignment; an empty array still gets an address.
    const size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    void* data = std::aligned_alloc(kAlignment, rounded);
    if (!data) {
        tracker->Remove(bytes);
        return ResourceExhausted("the host refused " + std::to_string(bytes) +
                                 " bytes for a buffer, with " +
                                 std::to_string(tracker->Read().in_use) + " in use on ane");
    }
    std::shared_ptr<HostBlock> block(new HostBlock(static_cast<std::byte*>(data), bytes));
    block->tracker_ = std::move(tracker);
    return block;
}

std::shared_ptr<HostBlock> HostBlock::Borrow(const void* data, size_t bytes,
                                             std::function<void()> on_release) {
    auto* bytes_begin = static_cast<std::byte*>(const_cast<void*>(data));  // Only ever read.
    std::shared_ptr<HostBlock> block(new HostBlock(bytes_begin, bytes));
    block->on_release_ = std::move(on_release);
    return block;
}

HostBlock::~HostBlock() {
    if (tracker_) {
        tracker_->Remove(size_);
        std::free(data_);
    }
    if (on_release_) on_release_();
}

Storage::Storage(PyRef array, size_t bytes, std::shared_ptr<MemoryTracker> tracker,
                 std::shared_ptr<EventState> ready)
    : array_(std::move(array)),
      array_bytes_(bytes),
      tracker_(std::move(tracker)),
      ready_(std::move(ready)) {
    tracker_->Add(array_bytes_);
}

Status Storage::Await() const {
    if (!ready_) return {};
    // The thread that sets the event needs the GIL.
    const bool has_gil = !ready_->IsReady() && PythonIsAlive() && PyGILState_Check();
    PyThreadState* thread = has_gil ? PyEval_SaveThread() : nullptr;
    Status status = ready_->Await();
    if (thread != nullptr) PyEval_RestoreThread(thread);
    return status;
}

const void* Storage::ArrayData() {
    if (!array_data_) {
        ArrayTurn turn(*this);
        if (!array_data_) {
            nb::object address = array().attr("unsafe_buffer_pointer")();
            array_data_ = reinterpret_cast<const void*>(nb::cast<uintptr_t>(address));
        }
    }
    return array_data_;
}

void Storage::KeepImages(const void* data, std::shared_ptr<MemoryTracker> tracker) {
    auto account = [tracker = std::move(tracker)](int64_t bytes) {
        if (bytes > 0) {
            tracker->Add(bytes);
        } else {
            tracker->Remove(-bytes);
        }
    };
    std::lock_guard lock(mutex_);
    if (!images_) images_ = std::make_unique<runtime::BufferImages>(data, std::move(account));
    keeps_images_ = true;
}

void Storage::DropImages() {
    std::unique_ptr<runtime::BufferImages> dropped;
    std::lock_guard lock(mutex_);
    dropped.swap(images_);
    keeps_images_ = false;
}

Storage::~Storage() {
    if (tracker_) tracker_->Remove(array_bytes_);
}

std::shared_ptr<HostBlock> Storage::block() const {
    std::lock_guard lock(mutex_);
    return block_;
}

void Storage::SetBlock(std::shared_ptr<HostBlock> block) {
    std::lock_guard lock(mutex_);
    if (!block_) block_ = std::move(block);
}

void Storage::SetArray(PyRef array) {
    if (!array_) array_ = std::move(array);
}

}  // namespace jax_ane::pjrt
