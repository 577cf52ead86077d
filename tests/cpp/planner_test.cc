// SPDX-License-Identifier: Apache-2.0
// Aliasing in the planner: views share memory, dying operands are overwritten, the arena is reused.
#include "device/software/planner.h"

#include <doctest/doctest.h>

#include <cstring>

#include "device/software/mil/parser.h"
#include "device/software/software_device.h"

namespace jax_ane::software {
namespace {

std::string Program(const std::string& body, const std::string& outputs) {
    return "program(1.3)\n{\nfunc main<ios18>(tensor<fp16, [4, 64]> x, tensor<fp16, [4, 5]> z) "
           "{\n" +
           body + "} -> (" + outputs + ");\n}\n";
}

struct Planned {
    Graph graph;
    Plan plan;
    Ref Of(const std::string& name) const {
        for (size_t i = 0; i < graph.values.size(); ++i) {
            if (graph.values[i].name == name) return plan.refs[i];
        }
        FAIL("no value " << name);
        return {};
    }
    bool Shares(const std::string& a, const std::string& b) const {
        const Ref x = Of(a), y = Of(b);
        return x.fixed == y.fixed && x.base == y.base && x.offset == y.offset;
    }
};

Planned MakePlanned(const std::string& text) {
    Findings findings;
    const auto program = mil::Parse(text, &findings);
    REQUIRE(program.has_value());
    auto graph = BuildGraph(*program, {}, ChipTraits(), &findings);
    for (const Finding& f : findings) MESSAGE(f.message);
    REQUIRE(graph.has_value());
    auto plan = MakePlan(*graph, MakeAttributes(*graph), ChipTraits(), NumericsMode::kExact,
                         CurrentEngine());
    REQUIRE(plan.ok());
    return {std::move(*graph), *std::move(plan)};
}

const char kBody[] =
    "tensor<int32, [1]> s = const()[val = tensor<int32, [1]>([256])];\n"
    "tensor<fp16, [4, 64]> a = exp(x = x)[];\n"
    "tensor<fp16, [256]> b = reshape(shape = s, x = a)[];\n"
    "tensor<fp16, [256]> c = tanh(x = b)[];\n"
    "tensor<fp16, [256]> d = exp(x = c)[];\n"
    "tensor<fp16, [256]> e = add(x = c, y = d)[];\n"
    "tensor<fp16, [256]> y = relu(x = e)[];\n";

TEST_CASE("views alias, elementwise results overwrite operands that die") {
    const Planned p = MakePlanned(Program(kBody, "y"));
    CHECK(p.Shares("a", "b"));
    CHECK(p.Shares("b", "c"));   // b dies in tanh
    CHECK(!p.Shares("c", "d"));  // c lives on
    CHECK(p.Shares("c", "e"));
    CHECK(p.plan.arena_bytes == 2 * 256 * 2);
    CHECK(p.Of("x").base == 1);  // dense rows: the surface itself
    CHECK(p.Of("y").base == 3);
    CHECK(p.plan.steps.size() == 1);  // five operations, run piece by piece
}

TEST_CASE("an operand that is returned is not overwritten") {
    const Planned p = MakePlanned(Program(kBody, "y, b"));
    CHECK(p.Shares("a", "b"));
    CHECK(!p.Shares("b", "c"));
}

TEST_CASE("a broadcast operand is not overwritten through a view of itself") {
    const Planned p = MakePlanned(
        Program("tensor<int32, [2]> s = const()[val = tensor<int32, [2]>([1, 5])];\n"
                "tensor<int32, [2]> t = const()[val = tensor<int32, [2]>([5, 1])];\n"
                "tensor<int32, [2]> b0 = const()[val = tensor<int32, [2]>([0, 0])];\n"
                "tensor<fp16, [1, 5]> a = slice_by_size(x = z, begin = b0, size = s)[];\n"
                "tensor<fp16, [5, 1]> v = reshape(x = a, shape = t)[];\n"
                "tensor<fp16, [5, 5]> m = add(x = a, y = v)[];\n"
                "tensor<fp16, [5, 5]> y = relu(x = m)[];\n",
                "y"));
    CHECK(p.Shares("a", "v"));
    CHECK(!p.Shares("a", "m"));
}

TEST_CASE("loads beyond the chip's limit are refused until one is unloaded") {
    ChipTraits chip;
    chip.max_loaded_programs = 2;
    auto device = MakeSoftwareDevice(chip, NumericsMode::kExact);
    CHECK(device->kind() == "Software ANE (M4)");
    auto compiled = device->Compile(Program("tensor<fp16, [4, 64]> y = exp(x = x)[];\n", "y"), {});
    REQUIRE(compiled.ok());
    auto first = device->Load(*compiled);
    auto second = device->Load(*compiled);
    REQUIRE(second.ok());
    auto third = device->Load(*compiled);
    CHECK(third.status().code() == StatusCode::kResourceExhausted);
    CHECK(third.status().message().find("GetANEFModel: must re-compile") == 0);
    *first = nullptr;
    CHECK(device->Load(*compiled).ok());
}

TEST_CASE("surfaces too small, too few or misaligned are the inference error and change nothing") {
    auto device = MakeSoftwareDevice(ChipTraits(), NumericsMode::kExact);
    auto compiled = device->Compile(Program("tensor<fp16, [4, 5]> y = exp(x = z)[];\n", "y"), {});
    REQUIRE(compiled.ok());
    auto loaded = device->Load(*compiled);
    REQUIRE(loaded.ok());
    alignas(64) uint8_t x[512] = {}, z[256] = {}, y[320];
    std::memset(y, 7, sizeof y);
    using S = device::Surface;
    const auto status = [&](S a, S b, S out) {
        const S in[] = {a, b};
        const S outs[] = {out};
        return (*loaded)->Evaluate(in, outs);
    };
    CHECK(status({x, 512}, {z, 256}, {y, 256}).ok());
    CHECK(y[0] == 0);
    CHECK(y[1] == 0x3C);  // exp(0) = 1
    std::memset(y, 7, sizeof y);
    for (const Status& s :
         {status({x, 511}, {z, 256}, {y, 256}), status({x, 512}, {z, 40}, {y, 256}),
          status({x, 512}, {z, 256}, {y, 255}), status({x, 512}, {z, 256}, {y + 2, 300}),
          status({nullptr, 512}, {z, 256}, {y, 256})}) {
        CHECK(!s.ok());
        CHECK(s.message().find("ANEProgramProcessRequestDirect() Failed with status=0x1d : "
                               "statusType=0x9: Program Inference error") == 0);
    }
    CHECK(y[0] == 7);
    // An output over its input's own memory is still right.
    alignas(64) uint8_t both[512] = {};
    CHECK(status({both, 512}, {z, 256}, {both, 256}).ok());
}

}  // namespace
}  // namespace jax_ane::software
