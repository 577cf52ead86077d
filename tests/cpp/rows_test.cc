// SPDX-License-Identifier: Apache-2.0
// Elementwise, unary and row kernels of every table this machine has: bit for bit the scalar
// reference's in the exact mode, within fp16's rounding of float64 in the fast mode.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "device/software/kernels/kernels.h"
#include "device/software/unary.h"

namespace jax_ane::software {
namespace {

constexpr int kExact = static_cast<int>(NumericsMode::kExact);
constexpr int kFast = static_cast<int>(NumericsMode::kFast);
constexpr Half kFinite = 0xFBFF;  // masks of random bits: no infinity and no NaN
constexpr Half kModerate = 0xBFFF;

std::vector<Half> RandomBits(size_t n, uint32_t seed, Half mask) {
    std::mt19937 random(seed);
    std::vector<Half> values(n);
    for (Half& h : values) h = static_cast<Half>(random()) & mask;
    return values;
}

std::vector<Half> Normal(size_t n, uint32_t seed, float scale) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    std::vector<Half> values(n);
    for (Half& h : values) h = FloatToHalf(normal(random));
    return values;
}

std::vector<const KernelTable*> VectorTables() {
    std::vector<const KernelTable*> tables;
    for (const char* isa : {"avx2", "avx512", "neon"}) {
        if (const KernelTable* table = FindKernels(isa)) tables.push_back(table);
    }
    return tables;
}

// Distance in units of the last place; one NaN is as good as another, and so is one zero.
int Ulps(Half a, Half b) {
    if (HalfIsNan(a) || HalfIsNan(b)) return HalfIsNan(a) && HalfIsNan(b) ? 0 : 65536;
    auto place = [](Half h) { return (h & 0x8000) != 0 ? -(h & 0x7FFF) : h & 0x7FFF; };
    return std::abs(place(a) - place(b));
}

TEST_CASE("exact binary kernels equal the reference at every length, offset and step") {
    constexpr size_t kSize = 130 + 8;
    for (Half mask : {kModerate, kFinite, Half{0xFFFF}}) {
        const auto a = RandomBits(kSize, 1, mask), b = RandomBits(kSize, 2, mask);
        for (const KernelTable* table : VectorTables()) {
            for (int op = 0; op < kBinaryOps; ++op) {
                for (int64_t n = 1; n <= 130; ++n) {
                    const int64_t offset = n % 5;
                    const int a_step = n % 3 == 1 ? 0 : 1, b_step = n % 3 == 2 ? 0 : 1;
                    std::vector<Half> got(kSize, 0x1234), expected = got;
                    table->binary[kExact][op](a.data() + offset, a_step, b.data() + 1, b_step,
                                              got.data() + offset, n);
                    ReferenceKernels().binary[kExact][op](a.data() + offset, a_step, b.data() + 1,
                                                          b_step, expected.data() + offset, n);
                    REQUIRE(got == expected);
                }
            }
        }
    }
}

TEST_CASE("exact arithmetic equals the reference on close operands, ties and specials") {
    constexpr size_t kSize = 1 << 18;
    const auto a = RandomBits(kSize, 3, 0xFFFF);
    auto b = RandomBits(kSize, 4, 0xFFFF);
    for (size_t i = 0; i < kSize; i += 2) b[i] = static_cast<Half>(a[i] ^ (b[i] & 0x9FFF));
    const int64_t n = static_cast<int64_t>(kSize);
    for (const KernelTable* table : VectorTables()) {
        for (int op = 0; op < kBinaryOps; ++op) {
            std::vector<Half> got(kSize), expected(kSize);
            table->binary[kExact][op](a.data(), 1, b.data(), 1, got.data(), n);
            ReferenceKernels().binary[kExact][op](a.data(), 1, b.data(), 1, expected.data(), n);
            CHECK(got == expected);
        }
    }
}

std::vector<Half> AllHalves() {
    std::vector<Half> all(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Half>(i);
    return all;
}

TEST_CASE("relu and square by arithmetic are what their exact tables hold") {
    const auto all = AllHalves();
    const Half zero = 0;
    for (const char* isa : {"scalar", "avx2", "avx512", "neon"}) {
        const KernelTable* table = FindKernels(isa);
        if (table == nullptr) continue;
        std::vector<Half> relu(65536), square(65536);
        table->binary[kExact][static_cast<int>(BinaryOp::kMaximum)](&zero, 0, all.data(), 1,
                                                                    relu.data(), 65536);
        table->binary[kExact][static_cast<int>(BinaryOp::kMul)](all.data(), 1, all.data(), 1,
                                                                square.data(), 65536);
        const auto relu_table = GetUnaryTable("relu", NumericsMode::kExact, {});
        const auto square_table = GetUnaryTable("square", NumericsMode::kExact, {});
        CHECK(std::equal(relu.begin(), relu.end(), relu_table->begin()));
        CHECK(std::equal(square.begin(), square.end(), square_table->begin()));
    }
}

TEST_CASE("fast unary kernels are the float64 functions on all 65,536 values") {
    struct Case {
        const char* op;
        double alpha, beta;
    };
    const Case cases[] = {{"abs", 0, 0},          {"clip", -1.5, 2.3},   {"clip", 0.1, 0.2},
                          {"erf", 0, 0},          {"exp", 0, 0},         {"exp2", 0, 0},
                          {"gelu", 0, 0},         {"inverse", 1e-4, 0},  {"inverse", 0, 0},
                          {"leaky_relu", 0.1, 0}, {"leaky_relu", -2, 0}, {"relu", 0, 0},
                          {"relu6", 0, 0},        {"rsqrt", 1e-12, 0},   {"rsqrt", 1e-3, 0},
                          {"sigmoid", 0, 0},      {"silu", 0, 0},        {"sqrt", 0, 0},
                          {"square", 0, 0},       {"tanh", 0, 0},        {"threshold", 0.3, 0}};
    const auto all = AllHalves();
    for (const KernelTable* table : VectorTables()) {
        for (const Case& c : cases) {
            UnaryParameters parameters;
            parameters.alpha = c.alpha;
            parameters.beta = c.beta;
            const DirectUnary direct = FindDirectUnary(c.op, parameters, *table);
            const bool found = direct.kernel != nullptr;
            REQUIRE(found);
            std::vector<Half> got(65536);
            direct.kernel(all.data(), got.data(), 65536, direct.a, direct.b);
            const UnaryFunction function = FindUnary(c.op, NumericsMode::kFast);
            int different = 0;
            for (size_t i = 0; i < all.size(); ++i) {
                const int ulps = Ulps(got[i], function(all[i], parameters));
                INFO(table->isa << " " << c.op << " " << HalfToFloat(all[i]) << ": "
                                << HalfToFloat(got[i]));
                REQUIRE(ulps <= 1);
                different += ulps;
            }
            INFO(table->isa << " " << c.op);
            CHECK(different < 200);
        }
    }
}

TEST_CASE("fast unary kernels write their elements and no others") {
    const auto x = RandomBits(140, 5, kFinite);
    for (const KernelTable* table : VectorTables()) {
        for (int op = 0; op < kUnaryOps; ++op) {
            std::vector<Half> whole(140);
            table->unary[op](x.data(), whole.data(), 140, 0.5f, 0.75f);
            for (int64_t n = 1; n <= 130; ++n) {
                std::vector<Half> got(140, 0x1234);
                table->unary[op](x.data() + n % 5, got.data() + n % 7, n, 0.5f, 0.75f);
                std::vector<Half> expected(140, 0x1234);
                std::copy_n(whole.begin() + n % 5, n, expected.begin() + n % 7);
                REQUIRE(got == expected);
            }
        }
    }
}

// Rows of n elements: values of one size, of every size, and with infinities and NaN among them.
std::vector<std::vector<Half>> RowCases(int64_t rows, int64_t n) {
    const auto size = static_cast<size_t>(rows * n);
    const auto seed = static_cast<uint32_t>(n);
    std::vector<std::vector<Half>> cases = {
        Normal(size, seed, 1.0f), RandomBits(size, seed, kModerate),
        RandomBits(size, seed, kFinite), std::vector<Half>(size, 0x8000)};
    // Sums that overflow on the way, and zeros of both signs beside negative values.
    cases.push_back(RandomBits(size, seed, 0x03FF));
    for (Half& h : cases.back()) h |= 0x7800;
    cases.push_back(RandomBits(size, seed + 1, 0x8000));
    cases.push_back(RandomBits(size, seed + 2, 0xFFFF));
    return cases;
}

TEST_CASE("exact row reductions equal the reference at every length") {
    std::vector<int64_t> lengths = {192, 255, 256, 383, 384, 385, 768, 1000, 3072, 4099};
    for (int64_t n = 1; n <= 130; ++n) lengths.push_back(n);
    for (int64_t n : lengths) {
        const int64_t rows = 1 + n % 19;
        for (const auto& x : RowCases(rows, n)) {
            for (const KernelTable* table : VectorTables()) {
                for (int op = 0; op < kReduceOps; ++op) {
                    for (int64_t long_row : {1, 100, 384}) {
                        std::vector<Half> got(static_cast<size_t>(rows)), expected = got;
                        table->reduce_rows[kExact][op](x.data(), rows, n, long_row, got.data());
                        ReferenceKernels().reduce_rows[kExact][op](x.data(), rows, n, long_row,
                                                                   expected.data());
                        REQUIRE(got == expected);
                    }
                }
            }
        }
    }
}

TEST_CASE("exact sums of very long rows equal the reference") {
    for (int64_t n : {8192, 8196, 16384, 16385, 49153, 70000, 262148}) {
        for (Half mask : {kModerate, Half{0xAFFF}}) {
            const auto x = RandomBits(static_cast<size_t>(n), 6, mask);
            for (const KernelTable* table : VectorTables()) {
                for (int64_t long_row : {int64_t{384}, n + 1}) {
                    Half got = 0, expected = 1;
                    table->reduce_rows[kExact][0](x.data(), 1, n, long_row, &got);
                    ReferenceKernels().reduce_rows[kExact][0](x.data(), 1, n, long_row, &expected);
                    CHECK(got == expected);
                }
            }
        }
    }
}

constexpr int64_t kRows = 3;
const int64_t kLengths[] = {1, 2, 3, 7, 15, 16, 17, 33, 64, 65, 100, 768, 1001, 4096, 5000};

void CheckNear(const std::vector<Half>& got, size_t i, double expected, double slack) {
    INFO("got " << HalfToDouble(got[i]) << ", not " << expected);
    REQUIRE(std::fabs(HalfToDouble(got[i]) - expected) <=
            std::fabs(expected) * 0x1.02p-11 + 0x1.02p-25 + slack);
}

std::vector<const KernelTable*> AllTables() {
    auto tables = VectorTables();
    tables.push_back(&ReferenceKernels());
    return tables;
}

TEST_CASE("fast softmax is softmax, in place too") {
    for (int64_t n : kLengths) {
        auto x = Normal(static_cast<size_t>(kRows * n), static_cast<uint32_t>(n), 3.0f);
        if (n > 2) x[1] = kHalfNegInf;  // a mask
        for (const KernelTable* table : AllTables()) {
            std::vector<float> scratch(static_cast<size_t>(n + 15) / 16 * 16);
            auto got = x;
            table->softmax_rows(got.data(), got.data(), kRows, n, scratch.data());
            for (int64_t r = 0; r < kRows; ++r) {
                const Half* row = x.data() + r * n;
                double total = 0;
                for (int64_t i = 0; i < n; ++i) total += std::exp(HalfToDouble(row[i]));
                for (int64_t i = 0; i < n; ++i) {
                    CheckNear(got, static_cast<size_t>(r * n + i),
                              std::exp(HalfToDouble(row[i])) / total, 0);
                }
            }
        }
    }
}

TEST_CASE("a NaN or an infinity makes a fast softmax NaN") {
    for (Half bad : {Half{0x7E00}, Half{0xFE00}, kHalfInf}) {
        for (int64_t at = 0; at < 40; at += 13) {
            auto x = Normal(40, 7, 1.0f);
            x[static_cast<size_t>(at)] = bad;
            for (const KernelTable* table : AllTables()) {
                std::vector<float> scratch(48);
                std::vector<Half> got(40);
                table->softmax_rows(x.data(), got.data(), 1, 40, scratch.data());
                CHECK(std::all_of(got.begin(), got.end(), HalfIsNan));
            }
        }
    }
}

TEST_CASE("fast norms are the norms, for rows far from zero too") {
    for (int64_t n : kLengths) {
        auto x = Normal(static_cast<size_t>(kRows * n), static_cast<uint32_t>(n), 1.0f);
        for (int64_t i = 0; i < n; ++i) {
            x[static_cast<size_t>(i)] = FloatToHalf(HalfToFloat(x[static_cast<size_t>(i)]) + 50);
        }
        const auto gamma = Normal(static_cast<size_t>(n), 8, 1.0f);
        const auto beta = Normal(static_cast<size_t>(n), 9, 1.0f);
        for (int variant = 0; variant < 16; ++variant) {
            NormArgs args;
            args.center = variant % 2 == 0;
            args.epsilon = 1e-3f;
            args.gamma = variant & 2 ? gamma.data() : nullptr;
            args.beta = variant & 4 ? beta.data() : nullptr;
            args.affine_step = variant & 8 ? 0 : 1;
            for (const KernelTable* table : AllTables()) {
                auto got = x;
                table->norm_rows(args, got.data(), got.data(), kRows, n);
                for (int64_t r = 0; r < kRows; ++r) {
                    const Half* row = x.data() + r * n;
                    double mean = 0, squares = 0;
                    for (int64_t i = 0; i < n; ++i) mean += HalfToDouble(row[i]) / double(n);
                    if (!args.center) mean = 0;
                    for (int64_t i = 0; i < n; ++i) {
                        squares += std::pow(HalfToDouble(row[i]) - mean, 2);
                    }
                    if (args.center) squares /= static_cast<double>(n);
                    const double scale = 1 / std::sqrt(squares + double{args.epsilon});
                    for (int64_t i = 0; i < n; ++i) {
                        double y = (HalfToDouble(row[i]) - mean) * scale;
                        if (args.gamma) y *= HalfToDouble(gamma[args.affine_step ? i : 0]);
                        const double shift =
                            args.beta ? HalfToDouble(beta[args.affine_step ? i : 0]) : 0;
                        CheckNear(got, static_cast<size_t>(r * n + i), y + shift,
                                  1e-4 * (1 + std::fabs(y)));
                    }
                }
            }
        }
    }
}

double FloatReduction(FloatReduceOp op, const Half* x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
        const double v = HalfToDouble(x[i]);
        sum += op == FloatReduceOp::kL1Norm                                      ? std::fabs(v)
               : op == FloatReduceOp::kLogSumExp                                 ? std::exp(v)
               : op == FloatReduceOp::kL2Norm || op == FloatReduceOp::kSumSquare ? v * v
                                                                                 : v;
    }
    if (op == FloatReduceOp::kMean) return sum / static_cast<double>(n);
    if (op == FloatReduceOp::kL2Norm) return std::sqrt(sum);
    const bool log = op == FloatReduceOp::kLogSum || op == FloatReduceOp::kLogSumExp;
    return log ? std::log(sum) : sum;
}

TEST_CASE("fast reductions are within float32's rounding") {
    for (int64_t n : kLengths) {
        auto x = Normal(static_cast<size_t>(kRows * n), static_cast<uint32_t>(n), 1.0f);
        for (Half& h : x) h &= 0x7FFF;  // so that a sum has a logarithm
        for (const KernelTable* table : AllTables()) {
            std::vector<Half> got(kRows);
            for (int op = 0; op < kFloatReduceOps; ++op) {
                table->float_reduce_rows[op](x.data(), kRows, n, 0, got.data());
                for (int64_t r = 0; r < kRows; ++r) {
                    CheckNear(got, static_cast<size_t>(r),
                              FloatReduction(static_cast<FloatReduceOp>(op), x.data() + r * n, n),
                              1e-5);
                }
            }
            table->reduce_rows[kFast][static_cast<int>(ReduceOp::kSum)](x.data(), kRows, n, 0,
                                                                        got.data());
            for (int64_t r = 0; r < kRows; ++r) {
                double sum = 0;
                for (int64_t i = 0; i < n; ++i)
                    sum += HalfToDouble(x[static_cast<size_t>(r * n + i)]);
                CheckNear(got, static_cast<size_t>(r), sum, 0);
            }
        }
    }
}

TEST_CASE("fast maxima and minima are the values', and NaN where there is one") {
    for (int64_t n : kLengths) {
        for (const auto& x : RowCases(kRows, n)) {
            for (const KernelTable* table : VectorTables()) {
                for (ReduceOp op : {ReduceOp::kMax, ReduceOp::kMin}) {
                    std::vector<Half> got(kRows), expected(kRows);
                    const int row = static_cast<int>(op);
                    table->reduce_rows[kFast][row](x.data(), kRows, n, 0, got.data());
                    ReferenceKernels().reduce_rows[kFast][row](x.data(), kRows, n, 0,
                                                               expected.data());
                    for (size_t r = 0; r < kRows; ++r) CHECK(Ulps(got[r], expected[r]) == 0);
                }
            }
        }
    }
}

}  // namespace
}  // namespace jax_ane::software
