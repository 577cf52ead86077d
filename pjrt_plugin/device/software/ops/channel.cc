// SPDX-License-Identifier: Apache-2.0
// Functions with parameters for each channel (axis 1): prelu, parametric softplus, and
// normalisation over neighbouring channels.
#include <algorithm>
#include <cmath>

#include "device/software/kernels/planar.h"
#include "device/software/ops/op.h"
#include "device/software/unary.h"

namespace jax_ane::software {
namespace {

bool InferChannel(OpContext& c) {
    if (c.Type("x").rank() < 3) return c.Fail(Rule::kShapes, "x must have rank 3 or more");
    for (const char* name : {"alpha", "beta"}) {
        if (c.Has(name) && c.Dims(name) != std::vector<int64_t>{c.Dims("x")[1]}) {
            return c.BadValue(name, "it needs one value for each of the " +
                                        std::to_string(c.Dims("x")[1]) + " channels");
        }
    }
    c.results.push_back(c.Type("x"));
    return true;
}

const Half* Table(PlanContext& p, const char* op, const UnaryParameters& parameters) {
    auto table = GetUnaryTable(op, p.mode(), parameters);
    const Half* entries = table->data();
    p.Keep(std::move(table));
    return entries;
}

// Runs `row(channel, from, to, n)` on each channel of each batch.
template <typename Row>
Step PlanChannels(PlanContext& p, const Row& row) {
    const int64_t channels = p.Dims("x")[1], rows = p.Dims("x")[0] * channels;
    const int64_t inner = p.Type("x").elements() / rows;
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(out);
        const int64_t grain = std::max<int64_t>(1, 16384 / inner);
        ParallelFor(pool, rows, grain, [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) {
                row(run, r % channels, from + r * inner, to + r * inner, inner);
            }
        });
    };
}

Step PlanPrelu(PlanContext& p) {
    const Ref alpha = p.In("alpha");
    const BinaryFn mul = p.kernels().binary[p.mode_index()][static_cast<int>(BinaryOp::kMul)];
    return PlanChannels(
        p, [=](const Run& run, int64_t channel, const Half* from, Half* to, int64_t n) {
            const Half slope = run.At<Half>(alpha)[channel];
            for (int64_t i = 0; i < n; ++i) {
                if (HalfToFloat(from[i]) < 0) {
                    mul(from + i, 1, &slope, 1, to + i, 1);
                } else {
                    to[i] = PlanarMax(from[i], from[i]);
                }
            }
        });
}

// alpha * log(1 + exp(beta * x)), by the softplus of the chip.
Step PlanSoftplus(PlanContext& p) {
    const Ref alpha = p.In("alpha"), beta = p.In("beta");
    UnaryParameters parameters;
    parameters.late_softplus = p.chip().late_softplus;
    const Half* softplus = Table(p, "softplus", parameters);
    const LookupFn lookup = p.kernels().lookup;
    const BinaryFn mul = p.kernels().binary[p.mode_index()][static_cast<int>(BinaryOp::kMul)];
    return PlanChannels(
        p, [=](const Run& run, int64_t channel, const Half* from, Half* to, int64_t n) {
            mul(from, 1, run.At<Half>(beta) + channel, 0, to, n);
            lookup(softplus, to, to, n);
            mul(to, 1, run.At<Half>(alpha) + channel, 0, to, n);
        });
}

// ---- local_response_norm ----

bool InferResponse(OpContext& c) {
    const int rank = c.Type("x").rank();
    if (rank != 3 && rank != 4) return c.Fail(Rule::kShapes, "x must have rank 3 or 4");
    const int64_t size = c.Int("size", 0);
    if (size < 1 || size > 1 << 16) return c.BadValue("size", "it must be 1 to 65536");
    c.results.push_back(c.Type("x"));
    return true;
}

// One channel: x * (k + alpha / size * sum of squares of the neighbours)^-beta, each operation
// rounded.
Step PlanResponse(PlanContext& p) {
    const int64_t size = p.Int("size", 1), channels = p.Dims("x")[1];
    const int64_t inner = p.Type("x").elements() / (p.Dims("x")[0] * channels);
    const Half share =
        FloatToHalf(static_cast<float>(p.Real("alpha", 1e-4) / static_cast<double>(size)));
    const Half k = FloatToHalf(static_cast<float>(p.Real("k", 1)));
    UnaryParameters power;
    power.alpha = -p.Real("beta", 0.75);
    const Half* root = Table(p, "pow_scalar", power);
    const KernelTable* kernels = &p.kernels();
    const int mode = p.mode_index();
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    const int64_t rows = p.Dims("x")[0] * channels;
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(out);
        const BinaryFn add = kernels->binary[mode][static_cast<int>(BinaryOp::kAdd)];
        const BinaryFn mul = kernels->binary[mode][static_cast<int>(BinaryOp::kMul)];
        ParallelFor(pool, rows, 1, [&](int64_t begin, int64_t end, int) {
            std::vector<Half> square(static_cast<size_t>(inner));
            for (int64_t r = begin; r < end; ++r) {
                const int64_t channel = r % channels;
                const int64_t first = std::max<int64_t>(0, channel - (size - 1) / 2);
                const int64_t last = std::min(channels - 1, channel + size / 2);
                Half* sum = to + r * inner;
                std::fill(sum, sum + inner, Half{0});
                for (int64_t c = first; c <= last; ++c) {
                    const Half* other = from + (r - channel + c) * inner;
                    mul(other, 1, other, 1, square.data(), inner);
                    add(sum, 1, square.data(), 1, sum, inner);
                }
                mul(sum, 1, &share, 0, sum, inner);
                add(sum, 1, &k, 0, sum, inner);
                kernels->lookup(root, sum, sum, inner);
                mul(from + r * inner, 1, sum, 1, sum, inner);
            }
        });
    };
}

constexpr NumericClass kBounded = NumericClass::kBounded;

const OpDef kOps[] = {
    {"prelu", "x,alpha!", NumericClass::kBitExact, kPlain, InferChannel, PlanPrelu},
    {"softplus_parametric", "x,alpha!,beta!", kBounded, kPlain, InferChannel, PlanSoftplus},
    {"local_response_norm", "x,size:n!,alpha:r?!,beta:r?!,k:r?!", kBounded, kPlain, InferResponse,
     PlanResponse},
};

}  // namespace

OpTable ChannelOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
