// SPDX-License-Identifier: Apache-2.0
// A warm evaluation allocates nothing, and many threads may share a program without a lock.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "allocations.h"
#include "device/software/engine.h"
#include "device/software/software_device.h"
#include "mil_writer.h"
#include "runtime/program_table.h"
#include "util/gates.h"
#include "util/slot_pool.h"

namespace jax_ane {
namespace {

using runtime::BoundProgram;
using runtime::HostArray;
using runtime::HostType;
using runtime::ProgramTable;
using software::MilWriter;

std::shared_ptr<device::Device> NewDevice(software::ChipTraits chip = {}) {
    return software::MakeSoftwareDevice(chip, software::NumericsMode::kExact);
}

std::shared_ptr<BoundProgram> Bind(const std::shared_ptr<device::Device>& device,
                                   const std::string& text, std::vector<std::string> inputs,
                                   std::vector<std::string> outputs, const std::string& name) {
    auto compiled = device->Compile(text, {});
    REQUIRE(compiled.ok());
    auto bound = BoundProgram::Create(device, *compiled, inputs, outputs, {}, name);
    REQUIRE(bound.ok());
    return *bound;
}

std::shared_ptr<BoundProgram> Doubling(const std::shared_ptr<device::Device>& device,
                                       const std::string& name) {
    MilWriter w;
    const std::string x = w.Input({4, 32});
    const std::string y = w.Binary("add", {4, 32}, x, x);
    return Bind(device, w.Finish({y}), {x}, {y}, name);
}

Status RunDoubling(BoundProgram& program, float value, float* result) {
    float in[128], out[128];
    std::fill_n(in, 128, value);
    HostArray input{in, HostType::kFloat32, 128}, output{out, HostType::kFloat32, 128};
    const Status status = program.Run({&input, 1}, {&output, 1}).status();
    *result = out[127];
    return status;
}

TEST_CASE("a warm call of a program allocates nothing") {
    auto device = NewDevice();
    const int64_t id = *ProgramTable::Get().Add(Doubling(device, "warm"));
    float result = 0;
    auto call = [&] {
        auto program = ProgramTable::Get().Find(id);
        CHECK(RunDoubling(*program, 3.0f, &result).ok());
    };
    for (int i = 0; i < 3; ++i) call();
    const int64_t before = AllocationCount();
    for (int i = 0; i < 100; ++i) call();
    CHECK(AllocationCount() == before);
    CHECK(result == 6.0f);
    ProgramTable::Get().Remove(id);
    CHECK(ProgramTable::Get().Find(id) == nullptr);
    CHECK(ProgramTable::Get().Find(-1) == nullptr);
    CHECK(ProgramTable::Get().Find(int64_t{1} << 60) == nullptr);
}

TEST_CASE("a program is found by its key, the later of two, without allocating") {
    constexpr int64_t kKey = int64_t{1} << 59;
    auto device = NewDevice();
    ProgramTable& table = ProgramTable::Get();
    CHECK(table.FindKey(kKey) == nullptr);
    const int64_t first = *table.Add(Doubling(device, "first"), kKey);
    CHECK(table.FindKey(kKey)->name() == "first");
    const int64_t before = AllocationCount();
    CHECK(table.FindKey(kKey) == table.Find(first));
    CHECK(AllocationCount() == before);
    table.Remove(first);
    CHECK(table.FindKey(kKey) == nullptr);
    const int64_t second = *table.Add(Doubling(device, "second"), kKey);
    const int64_t third = *table.Add(Doubling(device, "third"), kKey);
    table.Remove(second);  // leaves the key to the later one
    CHECK(table.FindKey(kKey)->name() == "third");
    table.Remove(third);
    CHECK(table.FindKey(kKey) == nullptr);
}

TEST_CASE("a warm evaluation of every kind of step allocates nothing, aliased inputs included") {
    MilWriter w;
    const software::Dims dims = {1, 8, 6, 40};
    const std::string x = w.Input(dims), weights = w.Input({40, 40});
    std::string v = w.Unary("exp", dims, x);
    v = w.Binary("matmul", dims, v, weights);
    v = w.Unary("softmax", dims, v);
    v = w.Op({1, 8, 40, 6}, "transpose(x = " + v + ", perm = " + w.Ints({0, 1, 3, 2}) + ")");
    v = w.Op({1, 8, 240}, "reshape(x = " + v + ", shape = " + w.Ints({1, 8, 240}) + ")");
    v = w.Op({1, 8, 100}, "slice_by_size(x = " + v + ", begin = " + w.Ints({0, 0, 3}) +
                              ", size = " + w.Ints({1, 8, 100}) + ")");
    v = w.Unary("gelu", {1, 8, 100},
                w.Binary("mul", {1, 8, 100}, v, v) + ", mode = " + w.String("EXACT"));
    const std::string sum = w.Op({1, 8, 1}, "reduce_sum(x = " + v + ", axes = " + w.Ints({2}) +
                                                ", keep_dims = " + w.Bool(true) + ")");
    const std::string y = w.Binary("add", {1, 8, 100}, v, sum);
    auto device = NewDevice();
    auto compiled = device->Compile(w.Finish({y}), {});
    REQUIRE(compiled.ok());
    auto loaded = device->Load(*compiled);
    REQUIRE(loaded.ok());
    alignas(64) static uint8_t a[8 * 6 * 128], b[40 * 128], out[8 * 256];
    const device::Surface inputs[] = {{a, sizeof a}, {b, sizeof b}};
    for (const device::Surface& output : {device::Surface{out, sizeof out}, {a, sizeof a}}) {
        CHECK((*loaded)->Evaluate(inputs, {&output, 1}).ok());
        const int64_t before = AllocationCount();
        for (int i = 0; i < 10; ++i) {
            if (!(*loaded)->Evaluate(inputs, {&output, 1}).ok()) FAIL("evaluation failed");
        }
        CHECK(AllocationCount() == before);
    }
}

TEST_CASE("fp16 arrays in the engine's layout are its surfaces") {
    auto device = NewDevice();
    auto program = Doubling(device, "direct");
    alignas(64) static Half in[128], out[128], crooked[129];
    std::fill_n(in, 128, Half{0x3C00});
    HostArray input{in, HostType::kFloat16, 128}, output{out, HostType::kFloat16, 128};
    REQUIRE(program->Run({&input, 1}, {&output, 1}).ok());
    CHECK(out[0] == 0x4000);
    CHECK(out[127] == 0x4000);
    CHECK(program->surface_bytes() == 0);
    // Where the memory is not aligned, surfaces stand in.
    std::fill_n(crooked, 129, Half{0x4000});
    input.data = crooked + 1;
    REQUIRE(program->Run({&input, 1}, {&output, 1}).ok());
    CHECK(out[127] == 0x4400);
    CHECK(program->surface_bytes() == 256);
    // In place.
    input.data = output.data = in;
    REQUIRE(program->Run({&input, 1}, {&output, 1}).ok());
    CHECK(in[5] == 0x4000);
}

TEST_CASE("large surfaces go back to the pool after a call") {
    constexpr int64_t kElements = int64_t{1} << 20;
    auto device = NewDevice();
    MilWriter w;
    const std::string x = w.Input({1024, 1024});
    const std::string y = w.Binary("add", {1024, 1024}, x, x);
    auto program = Bind(device, w.Finish({y}), {x}, {y}, "large");
    std::vector<float> in(kElements, 1.5f), out(kElements);
    HostArray input{in.data(), HostType::kFloat32, kElements};
    HostArray output{out.data(), HostType::kFloat32, kElements};
    for (int i = 0; i < 3; ++i) REQUIRE(program->Run({&input, 1}, {&output, 1}).ok());
    CHECK(out[77] == 3.0f);
    CHECK(program->surface_bytes() == 0);
}

TEST_CASE("calls from many threads, an unloader and a remover never disturb each other") {
    auto device = NewDevice();
    auto program = Doubling(device, "shared");
    const int64_t id = *ProgramTable::Get().Add(program);
    std::atomic<bool> stop{false};
    std::atomic<int64_t> wrong{0}, calls{0};
    std::thread unloader([&] {
        while (!stop.load()) {
            program->Unload();
            std::this_thread::yield();
        }
    });
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t) {
        callers.emplace_back([&, t] {
            for (int i = 0; i < 300; ++i) {
                auto found = ProgramTable::Get().Find(id);
                if (found == nullptr) return;
                float result = 0;
                const float value = static_cast<float>(t + i % 7);
                if (!RunDoubling(*found, value, &result).ok() || result != 2 * value) ++wrong;
                ++calls;
            }
        });
    }
    std::thread remover([&] {
        while (calls.load() < 600) std::this_thread::yield();
        ProgramTable::Get().Remove(id);
    });
    for (auto& caller : callers) caller.join();
    remover.join();
    stop = true;
    unloader.join();
    CHECK(wrong == 0);
    CHECK(calls >= 600);
}

TEST_CASE("the slot pool hands each object to one taker and drops what does not fit") {
    SlotPool<std::atomic<int>, 2> pool;
    CHECK(pool.Take() == nullptr);
    for (int i = 0; i < 3; ++i) pool.Return(std::make_unique<std::atomic<int>>(0));
    auto first = pool.Take(), second = pool.Take();
    CHECK(first != nullptr);
    CHECK(second != nullptr);
    CHECK(pool.Take() == nullptr);
    pool.Return(std::move(first));
    pool.Return(std::move(second));
    std::atomic<int> shared{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 2000; ++i) {
                auto taken = pool.Take();
                if (taken == nullptr) continue;
                if (taken->fetch_add(1) != 0) ++shared;
                taken->fetch_sub(1);
                pool.Return(std::move(taken));
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(shared == 0);
}

TEST_CASE("the request queue lets its depth in and makes one more wait") {
    RequestQueue queue(3);
    std::atomic<int> inside{0}, most{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 300; ++i) {
                queue.Enter();
                const int now = inside.fetch_add(1) + 1;
                int seen = most.load();
                while (seen < now && !most.compare_exchange_weak(seen, now)) continue;
                std::this_thread::yield();
                inside.fetch_sub(1);
                queue.Leave();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(most <= 3);
    CHECK(most >= 1);
    // One that finds no room waits until somebody leaves.
    RequestQueue narrow(1);
    narrow.Enter();
    std::atomic<bool> entered{false};
    std::thread waiter([&] {
        narrow.Enter();
        entered = true;
        narrow.Leave();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(!entered);
    narrow.Leave();
    waiter.join();
    CHECK(entered);
}

TEST_CASE("a gate closes only when nobody is inside") {
    UseGate gate;
    CHECK(!gate.Enter());
    gate.Open();
    CHECK(gate.Enter());
    CHECK(!gate.TryClose());
    gate.Leave();
    CHECK(gate.TryClose());
    CHECK(!gate.Enter());
    CHECK(!gate.TryClose());
}

TEST_CASE("what an evaluation of one tiny operation costs") {
    MilWriter w;
    const std::string y = w.Unary("relu", {1, 32}, w.Input({1, 32}));
    auto device = NewDevice();
    auto loaded = device->Load(*device->Compile(w.Finish({y}), {}));
    REQUIRE(loaded.ok());
    alignas(64) uint8_t in[64] = {}, out[64];
    const device::Surface input{in, 64}, output{out, 64};
    double best = 1e9;
    for (int round = 0; round < 20; ++round) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < 500; ++i) {
            if (!(*loaded)->Evaluate({&input, 1}, {&output, 1}).ok()) FAIL("evaluation failed");
        }
        const std::chrono::duration<double, std::micro> spent =
            std::chrono::steady_clock::now() - start;
        best = std::min(best, spent.count() / 500);
    }
    MESSAGE("microseconds: " << best);
    CHECK(best > 0);
}

}  // namespace
}  // namespace jax_ane
