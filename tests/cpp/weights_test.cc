// SPDX-License-Identifier: Apache-2.0
// Weights as constants: the right ones for each buffer, whatever lay at its address before.
#include "runtime/weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "device/software/software_device.h"
#include "mil_writer.h"
#include "runtime/images.h"
#include "runtime/program_table.h"

namespace jax_ane {
namespace {

using runtime::BoundProgram;
using runtime::BufferImages;
using runtime::HostArray;
using runtime::HostType;
using runtime::WeightSlot;
using software::MilWriter;

constexpr int64_t kRows = 4, kColumns = 32, kElements = kRows * kColumns;
const std::string kPath = "@model_path/weights/w.bin";

// A blob of zeros as the compiler writes it.
std::shared_ptr<const std::vector<uint8_t>> Zeros() {
    auto blob = std::make_shared<std::vector<uint8_t>>(128 + kElements * 2);
    const auto put = [&](size_t at, auto value) {
        std::memcpy(blob->data() + at, &value, sizeof(value));
    };
    put(0, uint32_t{1});
    put(4, uint32_t{2});
    put(64, uint32_t{0xDEADBEEF});
    put(68, uint32_t{1});
    put(72, uint64_t{kElements * 2});
    put(80, uint64_t{128});
    return blob;
}

// x + w, where w is argument 1 of a call, [columns, rows] there.
std::shared_ptr<BoundProgram> Adding(const std::string& name, std::vector<WeightSlot::Move> moves,
                                     size_t argument = 1) {
    std::shared_ptr<device::Device> device =
        software::MakeSoftwareDevice({}, software::NumericsMode::kExact);
    MilWriter w;
    const std::string x = w.Input({kRows, kColumns});
    const std::string type = "tensor<fp16, [4, 32]>";
    const std::string weight = w.Constant(
        type, type + "(BLOBFILE(path = string(\"" + kPath + "\"), offset = uint64(64)))");
    const std::string y = w.Binary("add", {kRows, kColumns}, x, weight);
    auto compiled = device->Compile(w.Finish({y}), {{kPath, Zeros()}});
    REQUIRE_MESSAGE(compiled.ok(), compiled.status().message());
    auto program = BoundProgram::Create(device, *compiled, {x}, {y}, {}, name);
    REQUIRE(program.ok());
    (*program)->Bake({{argument, kPath, std::move(moves)}});
    return *program;
}

const std::vector<WeightSlot::Move> kTransposed = {{{kColumns, kRows}, {1, 0}}};

// Whether the result of a call is 1000 + 100 * row + column + offset everywhere.
bool IsSum(BoundProgram& program, std::vector<float>& weights, float offset) {
    std::vector<float> in(kElements), out(kElements);
    for (int64_t i = 0; i < kElements; ++i) {
        in[static_cast<size_t>(i)] = 1000.0f + 100.0f * static_cast<float>(i / kColumns);
    }
    const std::vector<HostArray> inputs = {{in.data(), HostType::kFloat32, kElements},
                                           {weights.data(), HostType::kFloat32, kElements}};
    HostArray output{out.data(), HostType::kFloat32, kElements};
    if (!program.Run(inputs, {&output, 1}).ok()) return false;
    for (int64_t i = 0; i < kElements; ++i) {
        const float column = static_cast<float>(i % kColumns);
        const auto at = static_cast<size_t>(i);
        if (out[at] != in[at] + column + offset) return false;
    }
    return true;
}

// [columns, rows]: the column's number plus an offset.
std::vector<float> Columns(float offset) {
    std::vector<float> weights(kElements);
    for (int64_t i = 0; i < kElements; ++i) {
        weights[static_cast<size_t>(i)] = static_cast<float>(i / kRows) + offset;
    }
    return weights;
}

int64_t Donations(const std::string& name) {
    return runtime::ProgramTable::Get().Totals()[name].donations;
}

TEST_CASE("weights that somebody vouches for are loaded once") {
    auto program = Adding("vouched", kTransposed);
    std::vector<float> first = Columns(0), second = Columns(8);
    {
        BufferImages a(first.data(), nullptr), b(second.data(), nullptr);
        for (int i = 0; i < 3; ++i) {
            CHECK(IsSum(*program, first, 0));
            CHECK(IsSum(*program, second, 8));
        }
        CHECK(Donations("vouched") == 2);
    }
    // Another buffer at the same address.
    first = Columns(16);
    BufferImages again(first.data(), nullptr);
    CHECK(IsSum(*program, first, 16));
    CHECK(Donations("vouched") == 3);
}

TEST_CASE("weights that nobody vouches for are looked at") {
    auto program = Adding("unvouched", kTransposed);
    std::vector<float> weights = Columns(0);
    for (int i = 0; i < 3; ++i) CHECK(IsSum(*program, weights, 0));
    CHECK(Donations("unvouched") == 1);
    weights = Columns(24);
    CHECK(IsSum(*program, weights, 24));
    CHECK(Donations("unvouched") == 2);
    // Vouched for from now on: the same load serves.
    BufferImages promise(weights.data(), nullptr);
    CHECK(IsSum(*program, weights, 24));
    CHECK(Donations("unvouched") == 2);
}

TEST_CASE("threads find their own weights") {
    auto program = Adding("threads", kTransposed);
    std::vector<int> good(4, 0);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int round = 0; round < 20; ++round) {
                const auto offset = static_cast<float>(8 * (t + round % 3));
                std::vector<float> weights = Columns(offset);
                BufferImages promise(weights.data(), nullptr);
                good[static_cast<size_t>(t)] +=
                    IsSum(*program, weights, offset) && IsSum(*program, weights, offset);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(std::all_of(good.begin(), good.end(), [](int n) { return n == 20; }));
}

TEST_CASE("moves and arguments that do not fit are errors") {
    std::vector<float> weights = Columns(0);
    for (const WeightSlot::Move& move : std::vector<WeightSlot::Move>{
             {{kColumns, kRows + 1}, {1, 0}}, {{kColumns, kRows}, {1, 1}}, {{kElements}, {}}, {}}) {
        CHECK_FALSE(IsSum(*Adding("misfit", {move}), weights, 0));
    }
    CHECK_FALSE(IsSum(*Adding("outside", kTransposed, 7), weights, 0));
}

}  // namespace
}  // namespace jax_ane
