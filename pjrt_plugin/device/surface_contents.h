// SPDX-License-Identifier: Apache-2.0
// What an engine has derived from a surface's bytes, kept for as long as the bytes stay the same.
// The owner of memory that it promises not to change makes one and destroys it with the memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace jax_ane::device {

// Names a derived value: who made it (any address that lives as long as the process) and the
// numbers that it depends on.
struct DerivedKey {
    const void* maker = nullptr;
    std::array<int64_t, 6> numbers{};
    bool operator==(const DerivedKey&) const = default;
};

class SurfaceContents {
  public:
    // `account` is told the bytes that come (positive) and go (negative); may be empty.
    explicit SurfaceContents(std::function<void(int64_t)> account = {})
        : account_(std::move(account)) {}
    ~SurfaceContents();
    SurfaceContents(const SurfaceContents&) = delete;
    SurfaceContents& operator=(const SurfaceContents&) = delete;

    // The value under `key`, or null. Takes no lock and allocates nothing.
    const void* Find(const DerivedKey& key) const;
    // Keeps a value of `bytes` bytes unless another thread was first; returns the kept one.
    const void* Insert(const DerivedKey& key, std::shared_ptr<const void> value, size_t bytes);

  private:
    struct Node {
        DerivedKey key;
        std::shared_ptr<const void> value;
        size_t bytes;
        Node* next;
    };
    std::atomic<Node*> first_{nullptr};
    std::function<void(int64_t)> account_;
};

}  // namespace jax_ane::device
