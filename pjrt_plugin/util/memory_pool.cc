// SPDX-License-Identifier: Apache-2.0
#include "util/memory_pool.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "util/huge_pages.h"

namespace jax_ane {
namespace {

constexpr int64_t kPatience =  // nanoseconds
    MemoryPool::kKeepsIdle ? int64_t{20} * 1000 * 1000 * 1000 : -1;

int64_t Now() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void* Allocate(size_t bytes) {
    void* block = std::aligned_alloc(kHugePage, bytes);
    if (block != nullptr) AdviseHugePages(block, bytes);
    return block;
}

}  // namespace

MemoryPool& MemoryPool::Get() {
    static MemoryPool* pool = new MemoryPool();
    return *pool;
}

void* MemoryPool::Take(size_t bytes) {
    const size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    std::lock_guard lock(mutex_);
    void* block = nullptr;
    size_t size = rounded;
    // A block that is a little too large will do.
    const auto found = idle_.lower_bound(rounded);
    if (found != idle_.end() && found->first <= rounded + rounded / 4) {
        size = found->first;
        block = found->second.block;
        idle_bytes_ -= size;
        idle_.erase(found);
    } else {
        block = Allocate(rounded);
        while (block == nullptr && !idle_.empty()) {
            Free(std::prev(idle_.end()));
            block = Allocate(rounded);
        }
        if (block == nullptr) return nullptr;
    }
    sizes_.emplace(block, size);
    used_bytes_ += size;
    most_ = std::max(most_, used_bytes_);
    Trim(Now());
    return block;
}

void MemoryPool::Give(void* block) {
    std::lock_guard lock(mutex_);
    const auto found = sizes_.find(block);
    const size_t size = found->second;
    sizes_.erase(found);
    used_bytes_ -= size;
    const int64_t now = Now();
    idle_.emplace(size, Idle{block, now});
    idle_bytes_ += size;
    Trim(now);
}

void MemoryPool::Clear() {
    std::lock_guard lock(mutex_);
    while (!idle_.empty()) Free(idle_.begin());
}

size_t MemoryPool::used_bytes() const {
    std::lock_guard lock(mutex_);
    return used_bytes_;
}

size_t MemoryPool::idle_bytes() const {
    std::lock_guard lock(mutex_);
    return idle_bytes_;
}

void MemoryPool::Trim(int64_t now) {
    for (auto it = idle_.begin(); it != idle_.end();) {
        const auto next = std::next(it);
        if (now - it->second.since > kPatience) Free(it);
        it = next;
    }
    while (!idle_.empty() && used_bytes_ + idle_bytes_ > most_) {
        const auto oldest = std::min_element(
            idle_.begin(), idle_.end(),
            [](const auto& a, const auto& b) { return a.second.since < b.second.since; });
        Free(oldest);
    }
}

void MemoryPool::Free(std::multimap<size_t, Idle>::iterator block) {
    idle_bytes_ -= block->first;
    std::free(block->second.block);
    idle_.erase(block);
}

}  // namespace jax_ane
