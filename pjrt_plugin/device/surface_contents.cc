// SPDX-License-Identifier: Apache-2.0
// A list that only grows: readers walk it while writers put new nodes before the first.
#include "device/surface_contents.h"

namespace jax_ane::device {

SurfaceContents::~SurfaceContents() {
    int64_t bytes = 0;
    for (Node* node = first_.load(std::memory_order_acquire); node != nullptr;) {
        bytes += static_cast<int64_t>(node->bytes);
        Node* next = node->next;
        delete node;
        node = next;
    }
    if (account_ && bytes > 0) account_(-bytes);
}

const void* SurfaceContents::Find(const DerivedKey& key) const {
    for (const Node* node = first_.load(std::memory_order_acquire); node != nullptr;
         node = node->next) {
        if (node->key == key) return node->value.get();
    }
    return nullptr;
}

const void* SurfaceContents::Insert(const DerivedKey& key, std::shared_ptr<const void> value,
                                    size_t bytes) {
    const void* kept = value.get();
    auto node = std::make_unique<Node>(Node{key, std::move(value), bytes, nullptr});
    Node* first = first_.load(std::memory_order_acquire);
    do {
        for (const Node* other = first; other != nullptr; other = other->next) {
            if (other->key == key) return other->value.get();
        }
        node->next = first;
    } while (!first_.compare_exchange_weak(first, node.get(), std::memory_order_acq_rel));
    node.release();
    if (account_) account_(static_cast<int64_t>(bytes));
    return kept;
}

}  // namespace jax_ane::device
