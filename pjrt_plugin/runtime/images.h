// SPDX-License-Identifier: Apache-2.0
// The engine's form of buffers that are used again and again: fp16, in the program's layout, made
// once for each version of the bytes. An image belongs to the buffer and dies with it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "device/device.h"
#include "device/software/engine.h"
#include "runtime/program_table.h"
#include "util/aligned_memory.h"

namespace jax_ane::runtime {

// One buffer in one surface layout. Readers hold a share while they use it.
class Image {
  public:
    Image(AlignedMemory memory, size_t bytes, std::function<void(int64_t)> account);
    ~Image();
    device::Surface surface() { return {memory_.get(), bytes_, &contents_}; }

  private:
    AlignedMemory memory_;
    size_t bytes_;
    std::function<void(int64_t)> account_;
    device::SurfaceContents contents_;
};

// A promise that the bytes at `data` stay as they are while this lives. Programs that read them
// keep images here.
class BufferImages {
  public:
    // `account` is told the bytes that images take (positive) and free (negative).
    BufferImages(const void* data, std::function<void(int64_t)> account);
    ~BufferImages();
    BufferImages(const BufferImages&) = delete;
    BufferImages& operator=(const BufferImages&) = delete;

    struct Set;

  private:
    const void* data_;
    std::shared_ptr<Set> set_;
};

// All promises of the process, by address.
class ImageRegistry {
  public:
    static ImageRegistry& Get();

    // Changes whenever a promise is made or withdrawn: what was found, or not found, under an
    // address stays right while it does not.
    uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

    // The image of an array, made now if need be; null when nobody vouches for its bytes or there
    // is no memory.
    std::shared_ptr<Image> Find(const software::Engine& engine, const HostArray& array,
                                const device::BoundaryTensor& tensor);

    // What stands for the promise of the bytes at `data`; null when nobody vouches for them. No
    // other promise is ever the same object.
    std::shared_ptr<const void> Promise(const void* data);

  private:
    friend class BufferImages;
    std::mutex mutex_;
    std::unordered_map<const void*, std::shared_ptr<BufferImages::Set>> sets_;
    std::atomic<uint64_t> generation_{1};
};

// What calls remember of one argument, so that the next call with bytes seen before asks nobody. A
// program that several layers share sees their weights in turn.
class ImageCache {
  public:
    // The array's image, or null.
    std::shared_ptr<Image> Find(const software::Engine& engine, const HostArray& array,
                                const device::BoundaryTensor& tensor);

  private:
    struct Entry {
        const void* data = nullptr;
        uint64_t generation = 0;
        bool found = false;
        std::weak_ptr<Image> image;
    };
    static constexpr size_t kEntries = 32;
    std::array<Entry, kEntries> entries_;
};

}  // namespace jax_ane::runtime
