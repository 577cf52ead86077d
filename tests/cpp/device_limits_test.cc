// SPDX-License-Identifier: Apache-2.0
// What the device keeps count of: loaded programs and weights, engines and their power states,
// requests in flight, weights bound at load, and loads with other weights.
#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "device/faults.h"
#include "device/software/engine_queues.h"
#include "device/software/software_device.h"
#include "mil_writer.h"
#include "util/sanitized.h"

namespace jax_ane::software {
namespace {

using device::PowerState;
using device::Surface;
constexpr int64_t kMillisecond = 1'000'000;

// A blob file of one fp16 record [1, n], all elements `bits`.
std::shared_ptr<std::vector<uint8_t>> BlobOf(size_t n, uint16_t bits) {
    auto file = std::make_shared<std::vector<uint8_t>>(128 + n * 2);
    const uint32_t header[] = {1, 2}, record[] = {0xDEADBEEF, 1};
    const uint64_t layout[] = {n * 2, 128};
    std::memcpy(file->data(), header, sizeof header);
    std::memcpy(file->data() + 64, record, sizeof record);
    std::memcpy(file->data() + 72, layout, sizeof layout);
    for (size_t i = 0; i < n; ++i) std::memcpy(file->data() + 128 + i * 2, &bits, 2);
    return file;
}

const char kPath[] = "@model_path/weights/w.bin";

std::string WeightProgram(size_t n) {
    const std::string type = "tensor<fp16, [1, " + std::to_string(n) + "]>";
    return "program(1.3)\n{\nfunc main<ios18>(" + type + " x) {\n" + type +
           " w = const()[val = " + type + "(BLOBFILE(path = string(\"" + kPath +
           "\"), offset = uint64(64)))];\n" + type + " y = add(x = x, y = w)[];\n} -> (y);\n}\n";
}

uint16_t FirstOutput(device::LoadedProgram& program) {
    alignas(64) static uint8_t in[64 * 1024] = {}, out[64 * 1024];
    const Surface input{in, sizeof in}, output{out, sizeof out};
    CHECK(program.Evaluate({&input, 1}, {&output, 1}).ok());
    uint16_t bits;
    std::memcpy(&bits, out, 2);
    return bits;
}

TEST_CASE("loads beyond the address window are refused with the bytes, until one is unloaded") {
    ChipTraits chip;
    chip.max_weight_bytes = 48 * 1024;
    auto device = MakeSoftwareDevice(chip, NumericsMode::kExact);
    auto compiled = device->Compile(WeightProgram(10'000), {{kPath, BlobOf(10'000, 0x3C00)}});
    REQUIRE(compiled.ok());
    auto first = device->Load(*compiled);
    REQUIRE(first.ok());
    CHECK(device->stats().weight_bytes == 32 * 1024);  // 20,000 bytes in whole pages of 16 KiB
    const Status refused = device->Load(*compiled).status();
    CHECK(refused.code() == StatusCode::kResourceExhausted);
    CHECK(refused.message().find("ANE040") != std::string::npos);
    CHECK(refused.message().find("need 32768 bytes and 16384 of the 49152") != std::string::npos);
    *first = nullptr;
    CHECK(device->stats().weight_bytes == 0);
    CHECK(device->Load(*compiled).ok());
    CHECK(device->stats().loads == 2);
    CHECK(device->stats().compiles == 1);
}

TEST_CASE("weights are bound at load; other weights are another program, not compiled again") {
    auto device = MakeSoftwareDevice(ChipTraits(), NumericsMode::kExact);
    auto blob = BlobOf(8, 0x3C00);
    auto compiled = device->Compile(WeightProgram(8), {{kPath, blob}});
    auto old_program = device->Load(*compiled);
    REQUIRE(old_program.ok());
    CHECK(FirstOutput(**old_program) == 0x3C00);
    std::memset(blob->data(), 0xFF, blob->size());  // overwritten in place: nothing happens
    CHECK(FirstOutput(**old_program) == 0x3C00);
    auto donated = device->LoadWithWeights(*compiled, {{kPath, BlobOf(8, 0x4000)}});
    REQUIRE(donated.ok());
    CHECK(FirstOutput(**donated) == 0x4000);
    CHECK(FirstOutput(**old_program) == 0x3C00);
    CHECK(device->stats().compiles == 1);
    CHECK(device->stats().loads == 2);
    const Status missing = device->LoadWithWeights(*compiled, {}).status();
    CHECK(missing.message().find("ANE118") != std::string::npos);
    const Status shorter = device->LoadWithWeights(*compiled, {{kPath, BlobOf(4, 0)}}).status();
    CHECK(shorter.message().find("ANE120") != std::string::npos);
    CHECK(device->LoadWithWeights(nullptr, {}).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("an engine naps, powers off and wakes by the chip's numbers, and nothing waits for it") {
    ChipTraits chip;
    chip.engines = 2;
    chip.nap_after_ms = 100;
    chip.nap_call_us = 6000;
    chip.power_off_after_ms = 5680;
    chip.power_off_call_us = 53500;
    EngineQueues queues(chip);
    CHECK(queues.States(0)[0].power == PowerState::kOff);
    CHECK(queues.States(0)[0].next_call_us == 53500);
    queues.Begin(0, 0);
    CHECK(queues.States(0)[0].power == PowerState::kAwake);
    CHECK(queues.LeastBusy() == 1);
    queues.Begin(1, 0);
    CHECK(queues.LeastBusy() == 0);
    queues.End(0, kMillisecond);
    queues.End(1, kMillisecond);
    CHECK(queues.States(50 * kMillisecond)[0].power == PowerState::kAwake);
    CHECK(queues.States(101 * kMillisecond)[0].power == PowerState::kNapping);
    CHECK(queues.States(101 * kMillisecond)[0].next_call_us == 6000);
    queues.Begin(0, 500 * kMillisecond);
    queues.End(0, 501 * kMillisecond);
    const auto states = queues.States(502 * kMillisecond);
    CHECK(states[0].evaluations == 2);
    CHECK(states[0].wake_ups == 2);
    CHECK(states[0].wake_up_us == 59500);
    CHECK(states[1].evaluations == 1);
    EngineQueues unknown{ChipTraits()};
    unknown.Begin(0, 0);
    unknown.End(0, 1);
    CHECK(unknown.States(3'600'000 * kMillisecond)[0].power == PowerState::kUnknown);
    CHECK(unknown.States(0)[0].wake_ups == 0);
}

TEST_CASE("evaluations are spread over the engines and counted on each") {
    ChipTraits chip;
    chip.engines = 2;
    auto device = MakeSoftwareDevice(chip, NumericsMode::kExact);
    MilWriter w;
    const std::string y = w.Unary("exp", {64, 512}, w.Input({64, 512}));
    auto compiled = device->Compile(w.Finish({y}), {});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            auto loaded = *device->Load(*compiled);
            std::vector<uint8_t> memory(3 * 64 * 1024 + 64);
            auto* base = reinterpret_cast<uint8_t*>(
                (reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
            const Surface in{base, 64 * 1024}, out{base + 64 * 1024, 64 * 1024};
            for (int i = 0; i < 50; ++i) CHECK(loaded->Evaluate({&in, 1}, {&out, 1}).ok());
        });
    }
    for (auto& thread : threads) thread.join();
    const auto engines = device->stats().engines;
    REQUIRE(engines.size() == 2);
    CHECK(engines[0].evaluations + engines[1].evaluations == 200);
    CHECK(engines[0].running + engines[1].running == 0);
    CHECK(engines[0].evaluations > 0);
}

TEST_CASE("more callers than the queue is deep all get through") {
    ChipTraits chip;
    chip.queue_depth = 2;
    auto device = MakeSoftwareDevice(chip, NumericsMode::kExact);
    auto compiled = device->Compile(WeightProgram(64), {{kPath, BlobOf(64, 0x3C00)}});
    auto loaded = *device->Load(*compiled);
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int t = 0; t < 12; ++t) {
        threads.emplace_back([&] {
            alignas(64) uint8_t in[128] = {}, out[128];
            const Surface input{in, 128}, output{out, 128};
            for (int i = 0; i < 100; ++i) good += loaded->Evaluate({&input, 1}, {&output, 1}).ok();
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(good == 1200);
}

TEST_CASE("sizes that overflow or exceed memory are refused, dims of 0 too") {
    auto device = MakeSoftwareDevice(ChipTraits(), NumericsMode::kExact);
    for (const char* dims : {"0", "1, 0", "9223372036854775807", "65536, 65536, 65536, 65536",
                             "2147483648", "-1", "4294967296, 4294967296"}) {
        const std::string type = std::string("tensor<fp16, [") + dims + "]>";
        const std::string text = "program(1.3)\n{\nfunc main<ios18>(" + type + " x) {\n" + type +
                                 " y = exp(x = x)[];\n} -> (y);\n}\n";
        const Status status = device->Compile(text, {}).status();
        INFO(dims);
        CHECK(status.code() == StatusCode::kInvalidArgument);
        CHECK(status.message().find("InvalidMILProgram: ANE") == 0);
    }
}

// Resident bytes of this process.
int64_t Resident() {
    int64_t total = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * 4096;
}

void LoadAndUnload(device::Device& device, int count) {
    const auto blob = BlobOf(4096, 0x3C00);
    for (int i = 0; i < count; ++i) {
        auto compiled = device.Compile(WeightProgram(4096), {{kPath, blob}});
        auto loaded = device.Load(*compiled);
        REQUIRE(loaded.ok());
        if (i % 8 == 0) CHECK(FirstOutput(**loaded) == 0x3C00);
    }
}

TEST_CASE("programs loaded and unloaded by the thousand leave nothing behind") {
    auto device = MakeSoftwareDevice(ChipTraits(), NumericsMode::kExact);
    const int count = std::getenv("JAX_ANE_TEST_SLOW") != nullptr ? 10'000 : 1'000;
    LoadAndUnload(*device, count / 4);
    const int64_t before = Resident();
    LoadAndUnload(*device, count);
    MESSAGE(count << " programs, resident bytes more: " << Resident() - before);
#if !defined(JAX_ANE_ADDRESS_SANITIZER)
    CHECK(Resident() - before < 2 << 20);
#endif
    CHECK(device->stats().loaded_programs == 0);
    CHECK(device->stats().weight_bytes == 0);
}

TEST_CASE("a fault plan strikes the calls it names and no others") {
    auto plan = device::FaultPlan::Parse("evaluate:2=fail(0x16);load:*=late(1ms)");
    REQUIRE(plan.ok());
    auto device = device::WithFaults(MakeSoftwareDevice(ChipTraits(), NumericsMode::kExact), *plan);
    auto compiled = device->Compile(WeightProgram(32), {{kPath, BlobOf(32, 0x3C00)}});
    auto loaded = device->Load(*compiled);
    REQUIRE(loaded.ok());
    alignas(64) uint8_t in[64] = {}, out[64] = {};
    const Surface input{in, 64}, output{out, 64};
    const auto evaluate = [&] { return (*loaded)->Evaluate({&input, 1}, {&output, 1}); };
    CHECK(evaluate().ok());
    std::memset(out, 7, sizeof out);
    const Status failed = evaluate();
    CHECK(failed.message().find("status=0x16 : statusType=0x9") != std::string::npos);
    CHECK(out[0] == 7);
    CHECK(evaluate().ok());
    CHECK(out[1] == 0x3C);
}

}  // namespace
}  // namespace jax_ane::software
