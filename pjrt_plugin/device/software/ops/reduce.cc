// SPDX-License-Identifier: Apache-2.0
// Reductions: an optional function before, a row kernel, an optional function after.
#include <algorithm>

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

// The fast mode's kernel: float32 throughout, one rounding.
template <ReduceOp kOp, Before kBefore, After kAfter>
ReduceRowsFn FastKernel(const KernelTable& k) {
    auto compound = [&](FloatReduceOp op) { return k.float_reduce_rows[static_cast<int>(op)]; };
    if (kBefore == Before::kExp) return compound(FloatReduceOp::kLogSumExp);
    if (kBefore == Before::kAbs) return compound(FloatReduceOp::kL1Norm);
    if (kAfter == After::kSqrt) return compound(FloatReduceOp::kL2Norm);
    if (kBefore == Before::kSquare) return compound(FloatReduceOp::kSumSquare);
    if (kAfter == After::kDivide) return compound(FloatReduceOp::kMean);
    if (kAfter == After::kLog) return compound(FloatReduceOp::kLogSum);
    return k.reduce_rows[static_cast<int>(NumericsMode::kFast)][static_cast<int>(kOp)];
}

// Elements of a chunk of work that is worth waking a thread for.
constexpr int64_t kChunk = 24576;

Step PlanFast(PlanContext& p, const RowView& view, ReduceRowsFn reduce) {
    const Ref out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* x = view.Load(run);
        Half* to = run.At<Half>(out);
        const int64_t n = view.length();
        ParallelFor(pool, view.rows(), std::max<int64_t>(1, kChunk / n),
                    [&](int64_t begin, int64_t end, int) {
                        reduce(x + begin * n, end - begin, n, 0, to + begin);
                    });
    };
}

template <ReduceOp kOp, Before kBefore, After kAfter>
Step PlanReduce(PlanContext& p) {
    std::vector<int64_t> axes;
    p.Axes("axes", p.Type("x").rank(), &axes);
    const RowView view(p, p.In("x"), p.Dims("x"), axes);
    const int64_t n = view.length();
    if (p.mode() == NumericsMode::kFast) {
        return PlanFast(p, view, FastKernel<kOp, kBefore, kAfter>(p.kernels()));
    }
    constexpr const char* kBeforeOps[] = {nullptr, "abs", nullptr, "exp"};
    constexpr const char* kAfterOps[] = {nullptr, "divide_by", "sqrt", "log"};
    const Half* before = Table(p, kBeforeOps[static_cast<int>(kBefore)]);
    const Half* after = Table(p, kAfterOps[static_cast<int>(kAfter)],
                              kAfter == After::kDivide ? static_cast<double>(n) : 0);
    const KernelTable* kernels = &p.kernels();
    const ReduceRowsFn reduce =
        kernels->reduce_rows[static_cast<int>(NumericsMode::kExact)][static_cast<int>(kOp)];
    const BinaryFn square =
        kernels->binary[static_cast<int>(NumericsMode::kExact)][static_cast<int>(BinaryOp::kMul)];
    const Ref out = p.Out();
    const int64_t batch = RowsAtOnce(n);
    const Ref mapped = kBefore == Before::kNothing
                           ? Ref{}
                           : p.Scratch(static_cast<size_t>(batch * n * p.threads()) * sizeof(Half));
    const int64_t long_row = p.chip().long_reduction;
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* x = view.Load(run);
        Half* to = run.At<Half>(out);
        ParallelFor(pool, view.rows(), std::max<int64_t>(1, kChunk / n),
                    [&](int64_t begin, int64_t end, int slot) {
                        if (kBefore == Before::kNothing) {
                            reduce(x + begin * n, end - begin, n, long_row, to + begin);
                        } else {
                            Half* some = run.At<Half>(mapped) + slot * batch * n;
                            for (int64_t r = begin; r < end; r += batch) {
                                const int64_t rows = std::min(batch, end - r);
                                const Half* from = x + r * n;
                                if (kBefore == Before::kSquare) {
                                    square(from, 1, from, 1, some, rows * n);
                                } else {
                                    kernels->lookup(before, from, some, rows * n);
                                }
                                reduce(some, rows, n, long_row, to + r);
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
