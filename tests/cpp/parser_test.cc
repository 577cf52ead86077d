// SPDX-License-Identifier: Apache-2.0
// The parser on bytes that Python could not hand over, and on every prefix of a program.
#include "device/software/mil/parser.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "device/software/mil/blob.h"
#include "device/software/software_device.h"

namespace jax_ane::software {
namespace {

const std::string kText =
    "program(1.3)\n[buildInfo = dict<string, string>({{\"a\", \"b\"}, {\"c\", \"\"}})]\n{\n"
    "  func main<ios18>(tensor<fp16, [1, 4]> x) {\n"
    "    fp16 h = const()[name = string(\"h\"), val = fp16(0x1p-1)];\n"
    "    tensor<fp16, [1, 4]> y = mul(x = x, y = h)[name = string(\"y\")];\n  } -> (y);\n}\n";

TEST_CASE("a program parses to its parts") {
    Findings findings;
    const auto program = mil::Parse(kText, &findings);
    REQUIRE(program.has_value());
    CHECK(program->opset == "ios18");
    CHECK(program->inputs.size() == 1);
    REQUIRE(program->operations.size() == 2);
    CHECK(program->operations[1].op == "mul");
    CHECK(program->operations[1].position.line == 6);
    CHECK(program->operations[1].position.column == 30);
    CHECK(program->operations[0].attributes[1].value.scalars[0].real == 0.5);
}

TEST_CASE("every proper prefix is refused") {
    for (size_t n = 0; n + 2 < kText.size(); ++n) {
        Findings findings;
        CHECK(!mil::Parse(kText.substr(0, n), &findings).has_value());
        CHECK(findings.size() == 1);
    }
}

TEST_CASE("random bytes in the text never crash") {
    std::mt19937 random(1);
    for (int round = 0; round < 20000; ++round) {
        std::string text = kText;
        for (uint32_t i = 0; i < 1 + random() % 4; ++i) {
            text[random() % text.size()] = static_cast<char>(random());
        }
        CheckProgram(text, {}, ChipTraits());
    }
}

TEST_CASE("random bytes in a blob file never crash") {
    std::mt19937 random(2);
    for (int round = 0; round < 20000; ++round) {
        std::vector<uint8_t> file(128 + random() % 100);
        const uint32_t sentinel = 0xDEADBEEF;
        std::memcpy(file.data() + 64, &sentinel, 4);
        file[68] = 1;
        for (size_t i = 72; i < 92; ++i) file[i] = random() % 3 == 0 ? random() & 255 : 0;
        const auto found =
            mil::ReadBlob(file, 64, {mil::DType::kFp16, {1 + static_cast<int64_t>(random() % 40)}});
        if (found.ok)
            CHECK(found.payload.data() + found.payload.size() <= file.data() + file.size());
    }
}

}  // namespace
}  // namespace jax_ane::software
