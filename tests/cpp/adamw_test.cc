// SPDX-License-Identifier: Apache-2.0
// The AdamW kernels of every table against the scalar one, bit for bit.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {
namespace {

constexpr int64_t kLongest = 70;

struct Arrays {
    std::vector<float> values[3];
};

Arrays RandomArrays(uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    Arrays arrays;
    for (auto& values : arrays.values) {
        for (int64_t i = 0; i < kLongest; ++i) values.push_back(normal(random));
    }
    for (float& square : arrays.values[2]) square *= square;
    return arrays;
}

Arrays Run(const KernelTable& table, const AdamWArgs& args, const Arrays& from,
           const float* gradient, const Half* half_gradient, int64_t n, bool in_place) {
    Arrays to = from;
    AdamWRun run;
    for (int i = 0; i < 3; ++i) {
        run.from[i] = in_place ? to.values[i].data() : from.values[i].data();
        run.to[i] = to.values[i].data();
    }
    run.gradient = gradient;
    run.half_gradient = half_gradient;
    run.n = n;
    table.adamw(args, run);
    return to;
}

bool SameBits(const Arrays& a, const Arrays& b) {
    for (int i = 0; i < 3; ++i) {
        const size_t bytes = a.values[i].size() * sizeof(float);
        if (std::memcmp(a.values[i].data(), b.values[i].data(), bytes) != 0) return false;
    }
    return true;
}

TEST_CASE("AdamW equals the scalar kernel at every length, with any gradient") {
    AdamWArgs args;
    args.scale = 0.125f, args.factor = 0.3f;
    args.b1 = 0.9f, args.rest1 = 0.1f, args.b2 = 0.999f, args.rest2 = 0.001f;
    args.inverse1 = 5.3f, args.inverse2 = 500.0f;
    args.eps = 1e-8f, args.decay = 0.1f, args.step = -3e-4f;
    args.sanitizes = true;
    const Arrays from = RandomArrays(1);
    std::vector<float> gradient = RandomArrays(2).values[0];
    gradient[3] = __builtin_inff();
    gradient[5] = __builtin_nanf("");
    std::vector<Half> halves;
    for (float g : gradient) halves.push_back(FloatToHalf(g));
    for (const char* isa : {"avx2", "avx512", "neon", "scalar"}) {
        const KernelTable* table = FindKernels(isa);
        if (table == nullptr) continue;
        for (int64_t n = 1; n <= kLongest; ++n) {
            for (const bool in_place : {false, true}) {
                args.decays = n % 2 == 0;
                const auto run = [&](const KernelTable& kernels, bool half) {
                    return Run(kernels, args, from, half ? nullptr : gradient.data(),
                               half ? halves.data() : nullptr, n, in_place);
                };
                for (const bool half : {false, true}) {
                    REQUIRE(SameBits(run(*table, half), run(ReferenceKernels(), half)));
                }
            }
        }
    }
}

TEST_CASE("what the run does not cover stays as it was") {
    AdamWArgs args;
    args.step = -1;
    const Arrays from = RandomArrays(3);
    const std::vector<float> gradient(kLongest, 1.0f);
    const Arrays to =
        Run(*FindKernels("auto"), args, from, gradient.data(), nullptr, kLongest - 1, true);
    for (int i = 0; i < 3; ++i) CHECK(to.values[i].back() == from.values[i].back());
    CHECK(to.values[0][0] != from.values[0][0]);
}

}  // namespace
}  // namespace jax_ane::software
