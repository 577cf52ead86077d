// SPDX-License-Identifier: Apache-2.0
// The bytes behind a buffer: a host block that the plugin owns (or a caller's memory that it may
// read), an array of the inner XLA:CPU client, or both, and what they count for in memory_stats.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "pjrt/event.h"
#include "pjrt/python_bridge.h"
#include "runtime/images.h"
#include "util/status.h"

namespace jax_ane::pjrt {

// Bytes in use on one device. Shared by everything that is counted, since blocks outlive clients.
class MemoryTracker {
  public:
    struct Snapshot {
        int64_t in_use, peak, allocations, largest, limit;
    };
    explicit MemoryTracker(int64_t limit_bytes) : limit_(limit_bytes) {}

    // RESOURCE_EXHAUSTED with the bytes needed and free when the limit would be passed.
    Status Reserve(int64_t bytes);
    // Counts what exists already, whatever the limit.
    void Add(int64_t bytes);
    void Remove(int64_t bytes);
    Snapshot Read() const;
    void ResetPeak();

  private:
    void AddLocked(int64_t bytes);

    mutable std::mutex mutex_;
    const int64_t limit_;
    int64_t in_use_ = 0, peak_ = 0, allocations_ = 0, largest_ = 0;
};

// What this machine may spend on buffers, in bytes.
int64_t DefaultMemoryLimit();

// Dense bytes, 64-byte aligned, never written once a buffer shows them.
class HostBlock {
  public:
    static constexpr size_t kAlignment = 64;  // What XLA:CPU needs in order not to copy.

    static StatusOr<std::shared_ptr<HostBlock>> Allocate(size_t bytes,
                                                         std::shared_ptr<MemoryTracker> tracker);
    // Borrows `data`; `on_release` runs when nobody reads it any more.
    static std::shared_ptr<HostBlock> Borrow(const void* data, size_t bytes,
                                             std::function<void()> on_release);
    ~HostBlock();
    HostBlock(const HostBlock&) = delete;
    HostBlock& operator=(const HostBlock&) = delete;

    std::byte* data() { return data_; }
    size_t size() const { return size_; }

  private:
    HostBlock(std::byte* data, size_t size) : data_(data), size_(size) {}

    std::byte* data_;
    size_t size_;
    std::shared_ptr<MemoryTracker> tracker_;
    std::function<void()> on_release_;
};

// Each half is made from the other at most once, when it is first asked for. Both setters keep the
// first value: two threads may have made one each. `array` is set and read with the GIL.
class Storage {
  public:
    explicit Storage(std::shared_ptr<HostBlock> block) : block_(std::move(block)) {}
    // `ready` is set when the execution that makes the array is done; null when it is.
    Storage(PyRef array, size_t bytes, std::shared_ptr<MemoryTracker> tracker,
            std::shared_ptr<EventState> ready);
    ~Storage();

    // Null once there is nothing to wait for.
    const std::shared_ptr<EventState>& ready() const { return ready_; }
    // Waits for the bytes to be there and returns the execution's error, if it failed. Lets go of
    // the GIL meanwhile.
    Status Await() const;

    std::shared_ptr<HostBlock> block() const;
    void SetBlock(std::shared_ptr<HostBlock> block);
    nb::handle array() const { return array_.get(); }
    void SetArray(PyRef array);
    // Returns the array's own memory. With the GIL.
    const void* ArrayData();
    // The same once it was asked for, else null.
    const void* array_data() const { return array_data_; }
    // Counts an execution that reads the bytes without donating them; returns how many there were.
    int CountExecution() { return executions_.fetch_add(1, std::memory_order_relaxed) + 1; }
    // From now on programs may keep their form of the bytes, which lie at `data`, until DropImages.
    void KeepImages(const void* data, std::shared_ptr<MemoryTracker> tracker);
    void DropImages();
    bool keeps_images() const { return keeps_images_.load(std::memory_order_relaxed); }

    // False when a program was asked for its result in another order of axes. Then the array alone
    // has that order: the host side is row-major always. Set before the storage is shared.
    bool array_is_row_major() const { return array_is_row_major_; }
    void set_array_is_row_major(bool value) { array_is_row_major_ = value; }

    // True when the array's memory is XLA's, which a donation may overwrite.
    bool array_is_origin() const { return tracker_ != nullptr; }

  private:
    friend class ArrayTurn;

    mutable std::mutex mutex_;
    std::mutex turns_;
    std::shared_ptr<HostBlock> block_;
    PyRef array_;
    std::atomic<const void*> array_data_ = nullptr;
    size_t array_bytes_ = 0;
    std::shared_ptr<MemoryTracker> tracker_;
    const std::shared_ptr<EventState> ready_;
    bool array_is_row_major_ = true;
    std::atomic<int> executions_ = 0;
    std::atomic<bool> keeps_images_ = false;
    std::unique_ptr<runtime::BufferImages> images_;
};

// A turn at a storage's array, for calls on which jaxlib lists the array's parts: the first of them
// makes the list and lets other threads run meanwhile, which would add the parts again. Taken with
// the GIL, and without it while it waits.
class ArrayTurn {
  public:
    explicit ArrayTurn(Storage& storage) : turns_(storage.turns_) {
        if (turns_.try_lock()) return;
        nb::gil_scoped_release release;
        turns_.lock();
    }
    ~ArrayTurn() { turns_.unlock(); }
    ArrayTurn(const ArrayTurn&) = delete;
    ArrayTurn& operator=(const ArrayTurn&) = delete;

  private:
    std::mutex& turns_;
};

}  // namespace jax_ane::pjrt
