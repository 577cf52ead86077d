// SPDX-License-Identifier: Apache-2.0
// Every table this machine has against the scalar reference, bit for bit in the exact mode.
#include "device/software/kernels/kernels.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "device/software/kernels/mac.h"
#include "device/software/kernels/planar.h"

namespace jax_ane::software {
namespace {

constexpr NumericsMode kExact = NumericsMode::kExact;

std::vector<Half> RandomBits(size_t n, uint32_t seed, Half mask) {
    std::mt19937 random(seed);
    std::vector<Half> values(n);
    for (Half& h : values) h = static_cast<Half>(random()) & mask;
    return values;
}

using Memory = std::unique_ptr<void, decltype(&std::free)>;

Memory Allocate(size_t bytes) {
    return {std::aligned_alloc(64, (bytes + 64) / 64 * 64), std::free};
}

enum class Packed { kNo, kAhead };

std::vector<Half> Gemm(const KernelTable& table, NumericsMode mode, const GemmArgs& base,
                       int threads, Packed packed) {
    ThreadPool pool(threads);
    GemmArgs args = base;
    std::vector<Half> c(static_cast<size_t>(args.m * args.n));
    const GemmKernel& kernel = table.gemm[static_cast<int>(mode)];
    const Memory scratch = Allocate(kernel.scratch_bytes(args.m, args.n, args.k, threads));
    args.c = c.data();
    args.c_row_stride = args.n;
    args.scratch = scratch.get();
    args.pool = threads == 1 ? nullptr : &pool;
    const size_t packed_bytes = kernel.packed_b_bytes(args.n, args.k);
    const Memory panels = Allocate(packed_bytes);
    if (packed == Packed::kAhead && packed_bytes > 0) {
        kernel.pack_b(args.b, args.n, args.k, panels.get(), args.pool);
        args.packed_b = panels.get();
    }
    kernel.run(args);
    return c;
}

std::vector<const KernelTable*> AllTables() {
    std::vector<const KernelTable*> tables;
    for (const char* isa : {"scalar", "avx2", "avx512", "amx", "neon"}) {
        if (const KernelTable* table = FindKernels(isa)) tables.push_back(table);
    }
    return tables;
}

// Section 1 of the numerics, one output at a time.
std::vector<Half> Oracle(const GemmArgs& g) {
    std::vector<Half> c;
    for (int64_t i = 0; i < g.m; ++i) {
        for (int64_t j = 0; j < g.n; ++j) {
            const Half bias = g.bias_kind == BiasKind::kNone     ? 0
                              : g.bias_kind == BiasKind::kPerRow ? g.bias[i]
                                                                 : g.bias[j];
            MacAccumulator sum(MacStart(bias));
            for (int64_t k = 0; k < g.k; ++k) {
                sum.Add(
                    MacProduct(DecodeMac(g.a.data[i * g.a.row_stride + k * g.a.column_stride]),
                               DecodeMac(g.b.data[k * g.b.row_stride + j * g.b.column_stride])));
            }
            c.push_back(sum.ToHalf());
        }
    }
    return c;
}

TEST_CASE("exact gemm equals the rule") {
    // Masks: moderate values, tiny ones (drops and ties), everything (overflow, exponent 31).
    for (Half mask : {Half{0xB7FF}, Half{0x9FFF}, Half{0xC3FF}, Half{0xFFFF}}) {
        for (int64_t k : {1, 5, 64, 300}) {
            GemmArgs g;
            g.m = 19;
            g.n = 70;
            g.k = k;
            const auto a = RandomBits(static_cast<size_t>(g.m * k), 1, mask);
            const auto b = RandomBits(static_cast<size_t>(k * g.n), 2, mask);
            const auto bias = RandomBits(128, 3, mask);
            g.bias = bias.data();
            for (int variant = 0; variant < 4; ++variant) {
                g.bias_kind = static_cast<BiasKind>(variant % 3);
                g.a = variant % 2 == 0 ? MatrixView{a.data(), k, 1} : MatrixView{a.data(), 1, g.m};
                g.b = variant < 2 ? MatrixView{b.data(), g.n, 1} : MatrixView{b.data(), 1, k};
                const auto expected = Oracle(g);
                for (const KernelTable* table : AllTables()) {
                    for (Packed packed : {Packed::kNo, Packed::kAhead}) {
                        CHECK(Gemm(*table, kExact, g, 1, packed) == expected);
                        CHECK(Gemm(*table, kExact, g, 3, packed) == expected);
                    }
                }
            }
        }
    }
}

TEST_CASE("exact products of few rows equal the rule") {
    for (Half mask : {Half{0xBFFF}, Half{0xB7FF}, Half{0x9FFF}, Half{0xC3FF}, Half{0xFFFF}}) {
        for (int64_t m = 1; m <= 6; ++m) {
            GemmArgs g;
            g.m = m;
            g.n = m % 2 == 0 ? 33 : 450;
            g.k = 70 + m;
            const auto a = RandomBits(static_cast<size_t>(g.m * g.k), 7, mask);
            const auto b = RandomBits(static_cast<size_t>(g.k * g.n), 8, mask);
            const auto bias = RandomBits(512, 9, mask);
            g.a = {a.data(), g.k, 1};
            g.b = {b.data(), g.n, 1};
            g.bias = bias.data();
            g.bias_kind = static_cast<BiasKind>(m % 3);
            const auto expected = Oracle(g);
            for (const KernelTable* table : AllTables()) {
                CHECK(Gemm(*table, kExact, g, 2, Packed::kAhead) == expected);
            }
        }
    }
}

TEST_CASE("fast products are within float32's rounding") {
    for (int64_t m : {1, 2, 3, 8, 13, 29, 40}) {
        GemmArgs g;
        g.m = m;
        g.n = 101;
        g.k = 333;
        const auto a = RandomBits(static_cast<size_t>(g.m * g.k), 10, 0xBBFF);
        const auto b = RandomBits(static_cast<size_t>(g.k * g.n), 11, 0xBBFF);
        g.a = {a.data(), g.k, 1};
        g.b = {b.data(), g.n, 1};
        for (const KernelTable* table : AllTables()) {
            for (Packed packed : {Packed::kNo, Packed::kAhead}) {
                const auto c = Gemm(*table, NumericsMode::kFast, g, 2, packed);
                for (int64_t i = 0; i < g.m * g.n; ++i) {
                    double sum = 0, magnitude = 0;
                    for (int64_t k = 0; k < g.k; ++k) {
                        const double product =
                            HalfToDouble(a[static_cast<size_t>(i / g.n * g.k + k)]) *
                            HalfToDouble(b[static_cast<size_t>(k * g.n + i % g.n)]);
                        sum += product;
                        magnitude += std::fabs(product);
                    }
                    const double error = std::fabs(HalfToDouble(c[static_cast<size_t>(i)]) - sum);
                    REQUIRE(error <= std::fabs(sum) * 0x1p-11 + magnitude * 0x1p-20);
                }
            }
        }
    }
}

// Sizes beyond one block in every direction, and operands that are not finite here and there: what
// they touch is as in the reference, infinity by infinity and NaN by NaN.
TEST_CASE("fast products in many blocks agree with the reference, also where not finite") {
    for (bool finite : {true, false}) {
        GemmArgs g;
        g.m = 275;
        g.n = 301;
        g.k = 1057;
        auto a = RandomBits(static_cast<size_t>(g.m * g.k), 12, 0xB7FF);
        auto b = RandomBits(static_cast<size_t>(g.k * g.n), 13, 0xB7FF);
        if (!finite) {
            a[static_cast<size_t>(3 * g.k + 700)] = kHalfInf;
            a[static_cast<size_t>(270 * g.k + 1)] = 0x7E00;
            b[static_cast<size_t>(40 * g.n + 299)] = kHalfNegInf;
        }
        const auto bias = RandomBits(512, 14, 0xB7FF);
        g.bias = bias.data();
        g.bias_kind = BiasKind::kPerColumn;
        g.a = {a.data(), g.k, 1};
        for (bool turned : {false, true}) {
            std::vector<Half> other(b.size());
            for (int64_t k = 0; k < g.k; ++k) {
                for (int64_t j = 0; j < g.n; ++j) {
                    other[static_cast<size_t>(j * g.k + k)] = b[static_cast<size_t>(k * g.n + j)];
                }
            }
            g.b = turned ? MatrixView{other.data(), 1, g.k} : MatrixView{b.data(), g.n, 1};
            const auto expected = Gemm(ReferenceKernels(), NumericsMode::kFast, g, 1, Packed::kNo);
            for (const KernelTable* table : AllTables()) {
                for (Packed packed : {Packed::kNo, Packed::kAhead}) {
                    const auto c = Gemm(*table, NumericsMode::kFast, g, 2, packed);
                    for (size_t i = 0; i < c.size(); ++i) {
                        const double want = HalfToDouble(expected[i]), got = HalfToDouble(c[i]);
                        if (std::isnan(want)) {
                            REQUIRE(std::isnan(got));
                        } else if (std::isinf(want)) {
                            REQUIRE(got == want);
                        } else {
                            // Sums of random signs: float32's rounding errors, then fp16's.
                            REQUIRE(std::fabs(got - want) <= std::fabs(want) * 0x1p-10 + 0x1p-12);
                        }
                    }
                }
            }
        }
    }
}

// Taps at several offsets, some of them odd, and every length of tail.
TEST_CASE("sums over taps equal the rule and float32's") {
    constexpr int64_t kTaps = 12, kReach = 90;
    // Masks as above; the last ones leave the quick range by size, by overflow, by exponent 31.
    for (Half mask : {Half{0xB7FF}, Half{0x9FFF}, Half{0xC3FF}, Half{0xDFFF}, Half{0xFFFF}}) {
        const auto weights = RandomBits(kTaps, 4, mask);
        std::vector<int64_t> offsets;
        for (int64_t t = 0; t < kTaps; ++t) offsets.push_back(t * 7 % kReach);
        for (int64_t n : {1, 2, 7, 8, 15, 16, 31, 33, 63, 64, 65, 130, 257}) {
            const auto x = RandomBits(static_cast<size_t>(n + kReach + kTapSlack), 5, mask);
            TapSumArgs g;
            g.x = x.data();
            for (Half h : x) g.max_bits = std::max<uint16_t>(g.max_bits, h & 0x7FFF);
            g.offsets = offsets.data();
            g.weights = weights.data();
            g.taps = kTaps;
            g.bias = RandomBits(1, 6, mask)[0];
            g.n = n;
            std::vector<Half> expected;
            for (int64_t i = 0; i < n; ++i) {
                MacAccumulator sum(MacStart(g.bias));
                for (int64_t t = 0; t < kTaps; ++t) {
                    sum.Add(MacProduct(DecodeMac(weights[static_cast<size_t>(t)]),
                                       DecodeMac(g.x[offsets[static_cast<size_t>(t)] + i])));
                }
                expected.push_back(sum.ToHalf());
            }
            for (const KernelTable* table : AllTables()) {
                std::vector<Half> out(static_cast<size_t>(n) + 1, Half{0x1234});
                g.out = out.data();
                table->tap_sum[static_cast<int>(kExact)](g);
                CHECK(out.back() == 0x1234);
                out.pop_back();
                CHECK(out == expected);
                if (mask == 0xFFFF) continue;  // infinities and NaN, which float32 means otherwise
                g.out = out.data();
                table->tap_sum[static_cast<int>(NumericsMode::kFast)](g);
                for (int64_t i = 0; i < n; ++i) {
                    double sum = HalfToDouble(g.bias), size = std::fabs(sum);
                    for (int64_t t = 0; t < kTaps; ++t) {
                        const double term = HalfToDouble(weights[static_cast<size_t>(t)]) *
                                            HalfToDouble(g.x[offsets[static_cast<size_t>(t)] + i]);
                        sum += term;
                        size += std::fabs(term);
                    }
                    const double got = HalfToDouble(out[static_cast<size_t>(i)]);
                    const double bound =
                        std::fabs(sum) * 0x1p-11 + 0x1p-25 + size * kTaps * 0x1p-24;
                    CHECK((std::fabs(got - sum) <= bound || std::fabs(sum) > 65000));
                }
            }
        }
    }
}

TEST_CASE("planar addition rounds the exact sum, ties away") {
    const auto a = RandomBits(200000, 4, 0xFBFF), b = RandomBits(200000, 5, 0xFBFF);
    for (size_t i = 0; i < a.size(); ++i) {
        const Half x = a[i], y = i % 2 == 0 ? b[i] : static_cast<Half>(a[i] ^ (b[i] & 0x1FFF));
        if ((x & 0x7C00) == 0x7C00 || (y & 0x7C00) == 0x7C00) continue;
        const double sum = HalfToDouble(x) + HalfToDouble(y);
        REQUIRE(HalfToDouble(PlanarAdd(x, y)) == HalfToDouble(DoubleToHalfAway(sum)));
        const double product = HalfToDouble(x) * HalfToDouble(y);
        REQUIRE(HalfToDouble(PlanarMul(x, y)) == HalfToDouble(DoubleToHalfAway(product)));
    }
}

TEST_CASE("unknown instruction sets are not found") { CHECK(FindKernels("mmx") == nullptr); }

}  // namespace
}  // namespace jax_ane::software
