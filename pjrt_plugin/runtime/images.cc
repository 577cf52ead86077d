// SPDX-License-Identifier: Apache-2.0
#include "runtime/images.h"

#include "runtime/convert.h"

namespace jax_ane::runtime {

Image::Image(AlignedMemory memory, size_t bytes, std::function<void(int64_t)> account)
    : memory_(std::move(memory)), bytes_(bytes), account_(account), contents_(std::move(account)) {
    if (account_) account_(static_cast<int64_t>(bytes_));
}

Image::~Image() {
    if (account_) account_(-static_cast<int64_t>(bytes_));
}

// The images of one buffer, by layout. Outlives the buffer only while a lookup is using it.
struct BufferImages::Set {
    struct Entry {
        HostType type;
        int64_t elements, width, row_stride;
        std::shared_ptr<Image> image;
    };
    std::mutex mutex;
    std::vector<Entry> entries;
    std::function<void(int64_t)> account;
};

BufferImages::BufferImages(const void* data, std::function<void(int64_t)> account)
    : data_(data), set_(std::make_shared<Set>()) {
    set_->account = std::move(account);
    ImageRegistry& registry = ImageRegistry::Get();
    std::lock_guard lock(registry.mutex_);
    registry.sets_[data_] = set_;
    registry.generation_.fetch_add(1, std::memory_order_acq_rel);
}

BufferImages::~BufferImages() {
    ImageRegistry& registry = ImageRegistry::Get();
    std::lock_guard lock(registry.mutex_);
    const auto it = registry.sets_.find(data_);
    if (it != registry.sets_.end() && it->second == set_) registry.sets_.erase(it);
    registry.generation_.fetch_add(1, std::memory_order_acq_rel);
}

ImageRegistry& ImageRegistry::Get() {
    // Never destroyed: buffers may die while the process exits.
    static ImageRegistry* registry = new ImageRegistry();
    return *registry;
}

std::shared_ptr<const void> ImageRegistry::Promise(const void* data) {
    std::lock_guard lock(mutex_);
    const auto it = sets_.find(data);
    return it != sets_.end() ? it->second : nullptr;
}

std::shared_ptr<Image> ImageRegistry::Find(const software::Engine& engine, const HostArray& array,
                                           const device::BoundaryTensor& tensor) {
    std::shared_ptr<BufferImages::Set> set;
    {
        std::lock_guard lock(mutex_);
        const auto it = sets_.find(array.data);
        if (it == sets_.end()) return nullptr;
        set = it->second;
    }
    std::lock_guard lock(set->mutex);
    for (const auto& entry : set->entries) {
        if (entry.type == array.type && entry.elements == array.elements &&
            entry.width == tensor.width && entry.row_stride == tensor.row_stride) {
            return entry.image;
        }
    }
    const size_t bytes = tensor.size_bytes();
    AlignedMemory memory = AllocateAligned(bytes);
    if (memory == nullptr || !WriteSurface(engine, array, tensor, memory.get()).ok()) {
        return nullptr;
    }
    auto image = std::make_shared<Image>(std::move(memory), bytes, set->account);
    set->entries.push_back({array.type, array.elements, tensor.width, tensor.row_stride, image});
    return image;
}

std::shared_ptr<Image> ImageCache::Find(const software::Engine& engine, const HostArray& array,
                                        const device::BoundaryTensor& tensor) {
    ImageRegistry& registry = ImageRegistry::Get();
    const uint64_t generation = registry.generation();
    // Large buffers begin at different pages; the multiplier spreads them.
    const uint64_t page = reinterpret_cast<uintptr_t>(array.data) >> 6;
    Entry& entry = entries_[(page * 0x9E3779B97F4A7C15u >> 59) % kEntries];
    if (entry.data == array.data && entry.generation == generation) {
        return entry.found ? entry.image.lock() : nullptr;
    }
    std::shared_ptr<Image> image = registry.Find(engine, array, tensor);
    entry = {array.data, generation, image != nullptr, image};
    return image;
}

}  // namespace jax_ane::runtime
