// SPDX-License-Identifier: Apache-2.0
// The fuzz targets' seeds and grammar reach what they are meant to reach: programs that evaluate.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "harness.h"

namespace jax_ane::fuzz {
namespace {

std::vector<std::string> Seeds(const std::string& folder) {
    std::vector<std::string> seeds;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(JAX_ANE_CORPUS) + "/" + folder)) {
        std::ifstream file(entry.path(), std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return seeds;
}

TEST_CASE("most MIL seeds evaluate") {
    const auto seeds = Seeds("mil");
    size_t evaluated = 0;
    for (const std::string& text : seeds) evaluated += RunProgram(text, {}, true);
    MESSAGE(evaluated << " of " << seeds.size());
    CHECK(seeds.size() >= 40);
    CHECK(evaluated * 2 > seeds.size());
}

TEST_CASE("the blob seed is read by every decompression") {
    for (const std::string& bytes : Seeds("blob")) {
        const auto file = std::make_shared<const std::vector<uint8_t>>(bytes.begin(), bytes.end());
        CHECK(RunProgram(BlobProgram(), {{"@model_path/weights/w.bin", file}}, true));
    }
}

TEST_CASE("a good part of the grammar's programs evaluates") {
    std::mt19937 random(7);
    size_t evaluated = 0;
    constexpr size_t kPrograms = 60;
    for (size_t i = 0; i < kPrograms; ++i) {
        std::vector<uint8_t> bytes(40 + random() % 200);
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
        evaluated += RunProgram(WriteProgram(bytes.data(), bytes.size()), {}, i % 2 == 0);
    }
    for (const std::string& bytes : Seeds("program")) {
        const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
        RunProgram(WriteProgram(data, bytes.size()), {}, true);
    }
    MESSAGE(evaluated << " of " << kPrograms);
    CHECK(evaluated * 3 > kPrograms);  // the others are refused by a constraint
}

}  // namespace
}  // namespace jax_ane::fuzz
