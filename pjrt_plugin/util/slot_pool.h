// SPDX-License-Identifier: Apache-2.0
// Idle objects for reuse, taken and returned by several threads without a lock: each slot holds one
// pointer, and whoever exchanges it for null owns the object.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

namespace jax_ane {

template <typename T, size_t kSlots>
class SlotPool {
  public:
    SlotPool() = default;
    ~SlotPool() { Clear(); }
    SlotPool(const SlotPool&) = delete;
    SlotPool& operator=(const SlotPool&) = delete;

    // Null when no object is idle.
    std::unique_ptr<T> Take() {
        for (std::atomic<T*>& slot : slots_) {
            if (slot.load(std::memory_order_relaxed) == nullptr) continue;
            if (T* object = slot.exchange(nullptr, std::memory_order_acquire)) {
                return std::unique_ptr<T>(object);
            }
        }
        return nullptr;
    }

    // Destroys the object when all slots are full.
    void Return(std::unique_ptr<T> object) {
        for (std::atomic<T*>& slot : slots_) {
            T* empty = nullptr;
            if (slot.load(std::memory_order_relaxed) == nullptr &&
                slot.compare_exchange_strong(empty, object.get(), std::memory_order_release,
                                             std::memory_order_relaxed)) {
                (void)object.release();
                return;
            }
        }
    }

    void Clear() {
        while (Take() != nullptr) continue;
    }

  private:
    std::array<std::atomic<T*>, kSlots> slots_{};
};

}  // namespace jax_ane
