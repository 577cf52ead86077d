// SPDX-License-Identifier: Apache-2.0
// Reductions: an optional function before, a row kernel, an optional function after.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/software/ops/rows.h"
#include "device/software/unary.h"

namespace jax_ane::software {
namespace {

bool InferReduce(OpContext& c) {
    const auto& dims = c.Dims("x");
    std::vector<int64_t> axes;
    if (!c.Axes("axes", static_cast<int64_t>(dims.size()), &axes)) return false;
    const bool keep = c.Bool("keep_dims", false);
    TensorType out{DType::kFp16, {}};
    for (size_t i = 0; i < dims.size(); ++i) {
        const bool reduced =
            std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
        if (!reduced) out.dims.push_back(dims[i]);
        if (reduced && keep) out.dims.push_back(1);
    }
    c.results.push_back(std::move(out));
    return true;
}

enum class Before { kNothing, kAbs, kSquare, kExp };
enum class After { kNothing, kDivide, kSqrt, kLog };

const Half* Table(PlanContext& p, const char* op, double alpha = 0) {
    if (op == nullptr) return nullptr;
    UnaryParameters parameters;
    parameters.alpha = alpha;
    auto table = GetUnaryTable(op, p.mode(), parameters);
    const Half* entries = table->data();
    p.Keep(std::move(table));
    return entries;
}

// The fast form of everything but the plain kernels: float32 throughout, one rounding.
template <Before kBefore, After kAfter>
Half FastRow(const Half* x, int64_t n) {
    float shift = 0;
    if (kBefore == Before::kExp) {
        shift = -std::numeric_limits<float>::infinity();
        for (int64_t i = 0; i < n; ++i) shift = std::max(shift, HalfToFloat(x[i]));
        if (!std::isfinite(shift)) shift = 0;
    }
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) {
        const float v = HalfToFloat(x[i]);
        switch (kBefore) {
            case Before::kNothing:
                sum += v;
                break;
            case Before::kAbs:
                sum += std::fabs(v);
                break;
            case Before::kSquare:
                sum += v * v;
                break;
            case Before::kExp:
                sum += std::exp(v - shift);
                break;
        }
    }
    switch (kAfter) {
        case After::kNothing:
            break;
        case After::kDivide:
            sum /= static_cast<float>(n);
            break;
        case After::kSqrt:
            sum = std::sqrt(sum);
            break;
        case After::kLog:
            sum = std::log(sum) + shift;
            break;
    }
    return FloatToHalf(sum);
}

template <Before kBefore, After kAfter>
Step PlanFast(PlanContext& p, const RowView& view) {
    const Ref out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* x = view.Load(run);
        Half* to = run.At<Half>(out);
        const int64_t n = view.length();
        ParallelFor(pool, view.rows(), std::max<int64_t>(1, 16384 / n),
                    [&](int64_t begin, int64_t end, int) {
                        for (int64_t r = begin; r < end; ++r) {
                            to[r] = FastRow<kBefore, kAfter>(x + r * n, n);
                        }
                    });
    };
}

template <ReduceOp kOp, Before kBefore, After kAfter>
Step PlanReduce(PlanContext& p) {
    std::vector<int64_t> axes;
    p.Axes("axes", p.Type("x").rank(), &axes);
    const RowView view(p, p.In("x"), p.Dims("x"), axes);
    const int64_t n = view.length();
    if (p.mode() == NumericsMode::kFast &&
        (kBefore != Before::kNothing || kAfter != After::kNothing)) {
        return PlanFast<kBefore, kAfter>(p, view);
    }
    constexpr const char* kBeforeOps[] = {nullptr, "abs", "square", "exp"};
    constexpr const char* kAfterOps[] = {nullptr, "divide_by", "sqrt", "log"};
    const Half* before = Table(p, kBeforeOps[static_cast<int>(kBefore)]);
    const Half* after = Table(p, kAfterOps[static_cast<int>(kAfter)],
                              kAfter == After::kDivide ? static_cast<double>(n) : 0);
    const KernelTable* kernels = &p.kernels();
    const ReduceRowsFn reduce = kernels->reduce_rows[p.mode_index()][static_cast<int>(kOp)];
    const Ref out = p.Out();
    const Ref mapped =
        before == nullptr ? Ref{} : p.Scratch(static_cast<size_t>(n * p.threads()) * sizeof(Half));
    const int64_t long_row = p.chip().long_reduction;
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* x = view.Load(run);
        Half* to = run.At<Half>(out);
        ParallelFor(pool, view.rows(), std::max<int64_t>(1, 8192 / n),
                    [&](int64_t begin, int64_t end, int slot) {
                        if (before == nullptr) {
                            reduce(x + begin * n, end - begin, n, long_row, to + begin);
                        } else {
                            Half* row = run.At<Half>(mapped) + slot * n;
                            for (int64_t r = begin; r < end; ++r) {
                                kernels->lookup(before, x + r * n, row, n);
                                reduce(row, 1, n, long_row, to + r);
                            }
                        }
                        if (after != nullptr) {
                            kernels->lookup(after, to + begin, to + begin, end - begin);
                        }
                    });
    };
}

constexpr NumericClass kBounded = NumericClass::kBounded;
constexpr char kArguments[] = "x,axes:i?!,keep_dims:b?!";
constexpr ReduceOp kSum = ReduceOp::kSum;

const OpDef kOps[] = {
    {"reduce_sum", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kNothing, After::kNothing>},
    {"reduce_mean", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kNothing, After::kDivide>},
    {"reduce_max", kArguments, NumericClass::kBitExact, kPlain, InferReduce,
     PlanReduce<ReduceOp::kMax, Before::kNothing, After::kNothing>},
    {"reduce_min", kArguments, NumericClass::kBitExact, kPlain, InferReduce,
     PlanReduce<ReduceOp::kMin, Before::kNothing, After::kNothing>},
    {"reduce_l1_norm", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kAbs, After::kNothing>},
    {"reduce_l2_norm", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kSquare, After::kSqrt>},
    {"reduce_sum_square", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kSquare, After::kNothing>},
    {"reduce_log_sum", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kNothing, After::kLog>},
    {"reduce_log_sum_exp", kArguments, kBounded, kPlain, InferReduce,
     PlanReduce<kSum, Before::kExp, After::kLog>},
};

}  // namespace

OpTable ReduceOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
