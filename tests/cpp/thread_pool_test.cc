// SPDX-License-Identifier: Apache-2.0
#include "util/thread_pool.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

namespace jax_ane {
namespace {

TEST_CASE("every index is visited once and slots do not collide") {
    ThreadPool pool(4);
    CHECK(pool.size() == 4);
    for (int64_t n : {0, 1, 7, 1000}) {
        for (int64_t grain : {1, 3, 2000}) {
            std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
            std::vector<std::atomic<int>> busy(4);
            std::atomic<bool> collided = false;
            pool.ParallelFor(n, grain, [&](int64_t begin, int64_t end, int slot) {
                if (busy[static_cast<size_t>(slot)].fetch_add(1) != 0) collided = true;
                for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
                busy[static_cast<size_t>(slot)].fetch_sub(1);
            });
            CHECK(!collided);
            for (auto& count : seen) CHECK(count == 1);
        }
    }
}

TEST_CASE("several threads may use one pool at once, nested calls too") {
    ThreadPool pool(3);
    std::atomic<int64_t> total = 0;
    std::vector<std::thread> callers;
    for (int c = 0; c < 4; ++c) {
        callers.emplace_back([&] {
            for (int round = 0; round < 50; ++round) {
                pool.ParallelFor(20, 1, [&](int64_t begin, int64_t end, int) {
                    pool.ParallelFor(5, 1, [&](int64_t b, int64_t e, int) { total += e - b; });
                    total += end - begin;
                });
            }
        });
    }
    for (auto& caller : callers) caller.join();
    CHECK(total == 4 * 50 * 20 * 6);
}

TEST_CASE("no pool runs inline") {
    int64_t covered = 0;
    ParallelFor(nullptr, 10, 3, [&](int64_t begin, int64_t end, int slot) {
        CHECK(slot == 0);
        covered += end - begin;
    });
    CHECK(covered == 10);
}

}  // namespace
}  // namespace jax_ane
