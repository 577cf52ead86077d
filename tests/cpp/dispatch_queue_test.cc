// SPDX-License-Identifier: Apache-2.0
#include "runtime/dispatch_queue.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace jax_ane::runtime {
namespace {

// Runs `depth` tasks, each of which waits for the next.
void Nest(int depth) {
    if (depth == 0) return;
    auto done = std::make_shared<std::promise<void>>();
    DispatchQueue::Get().Run([depth, done] {
        Nest(depth - 1);
        done->set_value();
    });
    done->get_future().wait();
}

TEST_CASE("tasks that wait for tasks do not lock each other out, however deep") { Nest(200); }

TEST_CASE("tasks of several callers all run, and each once") {
    std::atomic<int> count = 0;
    std::vector<std::thread> callers;
    for (int c = 0; c < 4; ++c) {
        callers.emplace_back([&] {
            for (int i = 0; i < 500; ++i) DispatchQueue::Get().Run([&] { ++count; });
        });
    }
    for (auto& caller : callers) caller.join();
    while (count < 2000) std::this_thread::yield();
    CHECK(count == 2000);
}

TEST_CASE("a child process, which has no such threads, runs tasks itself") {
    Nest(1);
    const pid_t child = fork();
    if (child == 0) {
        bool ran = false;
        DispatchQueue::Get().Run([&] { ran = true; });
        _exit(ran ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace jax_ane::runtime
