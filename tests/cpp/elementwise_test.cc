// SPDX-License-Identifier: Apache-2.0
// Comparisons, selection, conversions and transposes of every table against the scalar reference.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {
namespace {

constexpr int64_t kLongest = 130;

std::vector<Half> RandomBits(size_t n, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<Half> values(n);
    for (Half& h : values) h = static_cast<Half>(random());
    return values;
}

std::vector<const KernelTable*> VectorTables() {
    std::vector<const KernelTable*> tables;
    for (const char* isa : {"avx2", "avx512", "neon"}) {
        if (const KernelTable* table = FindKernels(isa)) tables.push_back(table);
    }
    return tables;
}

TEST_CASE("comparisons equal the reference at every length, offset and step") {
    constexpr size_t kSize = kLongest + 8;
    const auto a = RandomBits(kSize, 1);
    auto b = RandomBits(kSize, 2);
    for (size_t i = 0; i < kSize; i += 3) b[i + (i + 2 < kSize ? 2 : 0)] = a[i];
    for (const KernelTable* table : VectorTables()) {
        for (int op = 0; op < kCompareOps; ++op) {
            for (int64_t n = 1; n <= kLongest; ++n) {
                const int64_t offset = n % 5;
                const int a_step = n % 4 == 1 ? 0 : 1, b_step = n % 4 == 2 ? 0 : 1;
                std::vector<uint8_t> got(kSize, 7), expected = got;
                table->compare[op](a.data() + offset, a_step, b.data() + 2, b_step,
                                   got.data() + offset, n);
                ReferenceKernels().compare[op](a.data() + offset, a_step, b.data() + 2, b_step,
                                               expected.data() + offset, n);
                REQUIRE(got == expected);
            }
        }
    }
}

TEST_CASE("selection equals the reference at every length, offset and step") {
    constexpr size_t kSize = kLongest + 8;
    const auto a = RandomBits(kSize, 3), b = RandomBits(kSize, 4);
    std::vector<uint8_t> condition(kSize);
    for (size_t i = 0; i < kSize; ++i) condition[i] = static_cast<uint8_t>(a[i] % 3);
    for (const KernelTable* table : VectorTables()) {
        for (int64_t n = 1; n <= kLongest; ++n) {
            for (int steps = 0; steps < 8; ++steps) {
                const int64_t offset = n % 5;
                std::vector<Half> got(kSize, 7), expected = got;
                table->select(condition.data() + offset, steps & 1, a.data() + offset,
                              steps >> 1 & 1, b.data() + 3, steps >> 2, got.data() + offset, n);
                ReferenceKernels().select(condition.data() + offset, steps & 1, a.data() + offset,
                                          steps >> 1 & 1, b.data() + 3, steps >> 2,
                                          expected.data() + offset, n);
                REQUIRE(got == expected);
            }
        }
    }
}

TEST_CASE("conversions are NumPy's, of all halves and of floats between them") {
    std::vector<Half> halves(65536), back(65536);
    std::vector<float> floats(65536), between(65536);
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<Half>(i);
    std::mt19937 random(5);
    for (size_t i = 0; i < halves.size(); ++i) {
        // A half, the middle to the next one, and that a step off.
        uint32_t bits = std::bit_cast<uint32_t>(HalfToFloat(halves[i]));
        if (i % 2 != 0) bits += 0x1000u;
        bits += static_cast<uint32_t>(random() % 3) - 1u;
        between[i] = std::bit_cast<float>(bits);
    }
    for (const KernelTable* table : VectorTables()) {
        table->half_to_float(halves.data(), floats.data(), 65536, 1);
        for (size_t i = 0; i < halves.size(); ++i) {
            const float expected = HalfToFloat(halves[i]);
            const bool same = std::isnan(expected) ? std::isnan(floats[i])
                                                   : std::bit_cast<uint32_t>(floats[i]) ==
                                                         std::bit_cast<uint32_t>(expected);
            REQUIRE(same);
        }
        for (int64_t n : {int64_t{65536}, kLongest, int64_t{3}}) {
            table->float_to_half(between.data() + 1, back.data(), n - 1, 1);
            for (int64_t i = 0; i < n - 1; ++i) {
                const Half expected = FloatToHalf(between[static_cast<size_t>(i) + 1]);
                const Half got = back[static_cast<size_t>(i)];
                REQUIRE((got == expected || (HalfIsNan(got) && HalfIsNan(expected))));
            }
        }
    }
}

TEST_CASE("scaled conversions and largest magnitudes equal the reference") {
    std::mt19937 random(6);
    std::vector<Half> halves(3000);
    std::vector<float> floats(halves.size());
    for (size_t i = 0; i < halves.size(); ++i) {
        halves[i] = static_cast<Half>(random() & 0xBFFF);
        floats[i] = std::ldexp(static_cast<float>(random()) - 2e9f, -static_cast<int>(i % 50));
    }
    const KernelTable& reference = ReferenceKernels();
    for (const KernelTable* table : VectorTables()) {
        for (int64_t n : {1, 15, 16, 33, 64, 1000, 2999}) {
            const auto size = static_cast<size_t>(n);
            std::vector<float> wide(size), wide_expected(size);
            std::vector<Half> narrow(size), narrow_expected(size);
            table->half_to_float(halves.data() + 1, wide.data(), n, 0x1p-7f);
            reference.half_to_float(halves.data() + 1, wide_expected.data(), n, 0x1p-7f);
            table->float_to_half(floats.data() + 1, narrow.data(), n, 0x1p-20f);
            reference.float_to_half(floats.data() + 1, narrow_expected.data(), n, 0x1p-20f);
            CHECK(wide == wide_expected);
            CHECK(narrow == narrow_expected);
            CHECK(table->largest_half(halves.data() + 1, n) ==
                  reference.largest_half(halves.data() + 1, n));
            CHECK(table->largest_float(floats.data() + 1, n) ==
                  reference.largest_float(floats.data() + 1, n));
        }
        const Half special[] = {0x3C00, 0xFC00, 0x7BFF}, nan[] = {0x7C01, 0x0000};
        CHECK(table->largest_half(special, 3) == 0x7C00);
        CHECK(table->largest_half(nan, 2) == 0x7C01);
    }
}

TEST_CASE("transposes equal the reference at every size") {
    const auto x = RandomBits(80 * 80, 6);
    for (const KernelTable* table : VectorTables()) {
        for (int64_t rows = 1; rows <= 75; rows += rows < 20 ? 1 : 11) {
            for (int64_t columns = 1; columns <= 75; columns += columns < 20 ? 1 : 11) {
                std::vector<Half> got(80 * 80, 7), expected = got;
                table->transpose16(x.data(), 80, got.data(), 77, rows, columns);
                ReferenceKernels().transpose16(x.data(), 80, expected.data(), 77, rows, columns);
                REQUIRE(got == expected);
            }
        }
    }
}

}  // namespace
}  // namespace jax_ane::software
