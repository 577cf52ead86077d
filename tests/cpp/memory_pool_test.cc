// SPDX-License-Identifier: Apache-2.0
// Large blocks are used again, never two owners at a time, and never more of them than were needed.
#include "util/memory_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "util/aligned_memory.h"

namespace jax_ane {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

TEST_CASE("a block that was given back serves the next request of about its size") {
    MemoryPool pool;
    void* first = pool.Take(10 * kMegabyte);
    REQUIRE(first != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
    std::memset(first, 1, 10 * kMegabyte);
    pool.Give(first);
    CHECK((pool.idle_bytes() >= 10 * kMegabyte) == MemoryPool::kKeepsIdle);
    void* larger = pool.Take(11 * kMegabyte);
    void* second = pool.Take(9 * kMegabyte);
    if (MemoryPool::kKeepsIdle) CHECK(second == first);
    CHECK(larger != second);
    void* third = pool.Take(9 * kMegabyte);
    CHECK(third != second);
    for (void* block : {larger, second, third}) pool.Give(block);
    pool.Clear();
    CHECK(pool.idle_bytes() == 0);
}

TEST_CASE("a block much larger than asked for stays where it is") {
    MemoryPool pool;
    void* large = pool.Take(64 * kMegabyte);
    pool.Give(large);
    void* small = pool.Take(2 * kMegabyte);
    CHECK(small != large);
    pool.Give(small);
    pool.Clear();
}

TEST_CASE("never more is held than was once in use") {
    MemoryPool pool;
    for (size_t size = 4; size <= 40; size += 3) pool.Give(pool.Take(size * kMegabyte));
    CHECK(pool.idle_bytes() <= 42 * kMegabyte);
    pool.Clear();
}

TEST_CASE("threads get blocks of their own") {
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 50; ++i) {
                const size_t bytes = (1 + static_cast<size_t>(i % 3)) * kMegabyte;
                const AlignedMemory memory = AllocateAligned(bytes);
                auto* data = static_cast<volatile int*>(memory.get());
                data[0] = t;
                data[bytes / sizeof(int) - 1] = t;
                std::this_thread::yield();
                if (data[0] != t || data[bytes / sizeof(int) - 1] != t) ++wrong;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong.load() == 0);
}

}  // namespace
}  // namespace jax_ane
