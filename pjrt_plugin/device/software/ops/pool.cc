// SPDX-License-Identifier: Apache-2.0
// Pooling: max exact, average and l2 as fp16 sums in row-major order of the window (bounded).
#include <cmath>
#include <cstring>

#include "device/software/kernels/planar.h"
#include "device/software/ops/window.h"
#include "device/software/unary.h"

namespace jax_ane::software {
namespace {

enum class Pool { kMax, kAverage, kL2 };

bool ReadPool(OpContext& c, Window* window) {
    const int rank = c.Type("x").rank();
    const std::vector<int64_t> kernel = c.Ints("kernel_sizes");
    if ((rank != 3 && rank != 4) || static_cast<int>(kernel.size()) != rank - 2) {
        return c.Fail(Rule::kShapes,
                      "x must be [N, C, H, W] with two kernel_sizes, or [N, C, W] "
                      "with one");
    }
    for (int64_t size : kernel) {
        if (size < 1) return c.BadValue("kernel_sizes", "a window of " + std::to_string(size));
        if (size > c.chip().max_pool_window) {
            return c.Fail(Rule::kPoolWindow, "the window is " + std::to_string(size) + " long, " +
                                                 c.chip().name + " takes " +
                                                 std::to_string(c.chip().max_pool_window));
        }
    }
    if (c.node().name == "max_pool" && kernel.back() > c.chip().max_max_pool_width) {
        return c.Fail(Rule::kPoolWindow, "the window is " + std::to_string(kernel.back()) +
                                             " wide, max_pool of " + c.chip().name + " takes " +
                                             std::to_string(c.chip().max_max_pool_width));
    }
    return ReadWindow(c, kernel, "valid", window);
}

bool InferPool(OpContext& c) {
    Window w;
    if (!ReadPool(c, &w)) return false;
    TensorType out = c.Type("x");
    out.dims.back() = w.out[1];
    if (out.rank() == 4) out.dims[2] = w.out[0];
    c.results.push_back(std::move(out));
    return true;
}

struct PoolPlan {
    Window w;
    bool exclude_padding = false;
    bool exact = true;
    const Half* square = nullptr;
    const Half* root = nullptr;
};

// One output. Padding counts 0 for averages and nothing for maxima.
template <Pool kPool>
Half PoolOne(const PoolPlan& g, const Half* plane, int64_t oh, int64_t ow) {
    const Window& w = g.w;
    Half best = kHalfNegInf, sum = 0;
    float fast = 0;
    int64_t inside = 0;
    for (int64_t kh = 0; kh < w.kernel[0]; ++kh) {
        const int64_t h = oh * w.stride[0] - w.before[0] + kh;
        if (h < 0 || h >= w.in[0]) continue;
        for (int64_t kw = 0; kw < w.kernel[1]; ++kw) {
            const int64_t x = ow * w.stride[1] - w.before[1] + kw;
            if (x < 0 || x >= w.in[1]) continue;
            const Half v = plane[h * w.in[1] + x];
            ++inside;
            if (kPool == Pool::kMax) {
                best = PlanarMax(best, v);
            } else if (g.exact) {
                sum = PlanarAdd(sum, kPool == Pool::kL2 ? g.square[v] : v);
            } else {
                const float f = HalfToFloat(v);
                fast += kPool == Pool::kL2 ? f * f : f;
            }
        }
    }
    if (kPool == Pool::kMax) return best;
    if (kPool == Pool::kL2) {
        return g.exact ? g.root[sum] : FloatToHalf(std::sqrt(fast));
    }
    const int64_t count =
        g.exclude_padding ? std::max<int64_t>(inside, 1) : w.kernel[0] * w.kernel[1];
    return g.exact ? DoubleToHalfAway(HalfToDouble(sum) / static_cast<double>(count))
                   : FloatToHalf(fast / static_cast<float>(count));
}

template <Pool kPool>
Step PlanPool(PlanContext& p) {
    PoolPlan g;
    ReadPool(p, &g.w);
    g.exclude_padding = p.Bool("exclude_padding_from_average", false);
    g.exact = p.mode() == NumericsMode::kExact;
    auto square = GetUnaryTable("square", p.mode(), {});
    auto root = GetUnaryTable("sqrt", p.mode(), {});
    g.square = square->data();
    g.root = root->data();
    p.Keep(std::move(square));
    p.Keep(std::move(root));
    const int64_t planes = p.Dims("x")[0] * p.Dims("x")[1];
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(out);
        const int64_t in_plane = g.w.in[0] * g.w.in[1];
        const int64_t rows = planes * g.w.out[0];
        ParallelFor(pool, rows, std::max<int64_t>(1, 2048 / g.w.out[1]),
                    [&](int64_t begin, int64_t end, int) {
                        for (int64_t r = begin; r < end; ++r) {
                            const Half* plane = from + r / g.w.out[0] * in_plane;
                            for (int64_t ow = 0; ow < g.w.out[1]; ++ow) {
                                to[r * g.w.out[1] + ow] =
                                    PoolOne<kPool>(g, plane, r % g.w.out[0], ow);
                            }
                        }
                    });
    };
}

constexpr char kArguments[] = "x,kernel_sizes:i!,strides:i?!,pad_type:s!,pad:i?!,ceil_mode:b?!";

const OpDef kOps[] = {
    {"max_pool", kArguments, NumericClass::kBitExact, kPlain, InferPool, PlanPool<Pool::kMax>},
    {"avg_pool",
     "x,kernel_sizes:i!,strides:i?!,pad_type:s!,pad:i?!,ceil_mode:b?!,"
     "exclude_padding_from_average:b?!",
     NumericClass::kBounded, kPlain, InferPool, PlanPool<Pool::kAverage>},
    {"l2_pool", kArguments, NumericClass::kBounded, kPlain, InferPool, PlanPool<Pool::kL2>},
};

}  // namespace

OpTable PoolOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
