// SPDX-License-Identifier: Apache-2.0
// softmax and the normalisations, as the sequences of fp16 operations that they are lowered to
// (bounded: the chip's own composition is not known), or in float32 in the fast mode.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "device/software/ops/rows.h"
#include "device/software/ops/softmax.h"
#include "device/software/unary.h"

namespace jax_ane::software {
namespace {

// Kernels and tables that a row of a normalisation needs in the exact mode.
struct RowMath {
    BinaryFn add, sub, mul;
    ReduceRowsFn sum;
    LookupFn lookup;
    int64_t long_row;
    NormRowsFn fast = nullptr;  // takes the place of all others in the fast mode
    const Half* rsqrt = nullptr;
    const Half* divide = nullptr;  // by the row's length
};

const Half* Table(PlanContext& p, const char* op, double alpha) {
    UnaryParameters parameters;
    parameters.alpha = alpha;
    auto table = GetUnaryTable(op, p.mode(), parameters);
    const Half* entries = table->data();
    p.Keep(std::move(table));
    return entries;
}

RowMath MakeMath(PlanContext& p, int64_t length) {
    const KernelTable& k = p.kernels();
    const int mode = p.mode_index();
    auto binary = [&](BinaryOp op) { return k.binary[mode][static_cast<int>(op)]; };
    auto reduce = [&](ReduceOp op) { return k.reduce_rows[mode][static_cast<int>(op)]; };
    RowMath m{binary(BinaryOp::kAdd),
              binary(BinaryOp::kSub),
              binary(BinaryOp::kMul),
              reduce(ReduceOp::kSum),
              k.lookup,
              p.chip().long_reduction};
    if (p.mode() == NumericsMode::kFast) {
        m.fast = k.norm_rows;
        return m;
    }
    m.rsqrt = Table(p, "rsqrt", 0);
    m.divide = Table(p, "divide_by", static_cast<double>(length));
    return m;
}

// Rows of a chunk of work that is worth waking a thread for, some microseconds.
int64_t RowGrain(int64_t length, int64_t elements) {
    return std::max<int64_t>(1, elements / length);
}
constexpr int64_t kSoftmaxChunk = 12288;
constexpr int64_t kNormChunk = 24576;

// ---- softmax ----

bool InferSoftmax(OpContext& c) {
    int64_t axis;
    if (!c.Axis("axis", -1, c.Type("x").rank(), &axis)) return false;
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanSoftmax(PlanContext& p) {
    int64_t axis = 0;
    p.Axis("axis", -1, p.Type("x").rank(), &axis);
    const RowView view(p, p.In("x"), p.Dims("x"), {axis});
    const int64_t n = view.length();
    const SoftmaxRows softmax(p, n);
    const Ref out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* x = view.Load(run);
        Half* to = view.Target(run, out);
        ParallelFor(pool, view.rows(), RowGrain(n, kSoftmaxChunk),
                    [&](int64_t begin, int64_t end, int slot) {
                        softmax.Apply(run, x + begin * n, to + begin * n, end - begin, slot);
                    });
        view.Store(run, out);
    };
}

// ---- layer, instance and l2 norms ----

// y = (x - mean) / sqrt(mean of squares + epsilon) * gamma + beta, over the rows of a view.
struct NormPlan {
    std::vector<int64_t> axes;
    bool center =
        true;  // l2_norm does not subtract the mean, and sums squares instead of averaging
    double epsilon = 1e-5;
    Ref gamma, beta;
    bool has_gamma = false, has_beta = false;
    bool per_element =
        true;  // else gamma and beta have one value a row, repeating every `channels`
    int64_t channels = 1;
};

struct Affine {
    const Half* gamma;
    const Half* beta;
    int step;
};

// `affine(r)` tells gamma and beta of a row; at most kMostRows rows, `squares` as large as they.
template <typename AffineOf>
void ExactNorm(const RowMath& m, const NormPlan& g, const AffineOf& affine, const Half* x,
               Half* out, Half* squares, int64_t rows, int64_t n) {
    Half mean[kMostRows], variance[kMostRows], scale[kMostRows];
    const Half epsilon = FloatToHalf(static_cast<float>(g.epsilon));
    if (g.center) {
        m.sum(x, rows, n, m.long_row, mean);
        m.lookup(m.divide, mean, mean, rows);
        for (int64_t r = 0; r < rows; ++r) m.sub(x + r * n, 1, mean + r, 0, out + r * n, n);
    } else if (x != out) {
        std::memcpy(out, x, static_cast<size_t>(rows * n) * sizeof(Half));
    }
    m.mul(out, 1, out, 1, squares, rows * n);
    m.sum(squares, rows, n, m.long_row, variance);
    if (g.center) m.lookup(m.divide, variance, variance, rows);
    m.add(variance, 1, &epsilon, 0, variance, rows);
    m.lookup(m.rsqrt, variance, scale, rows);
    for (int64_t r = 0; r < rows; ++r, out += n) {
        const Affine a = affine(r);
        m.mul(out, 1, scale + r, 0, out, n);
        if (a.gamma != nullptr) m.mul(out, 1, a.gamma, a.step, out, n);
        if (a.beta != nullptr) m.add(out, 1, a.beta, a.step, out, n);
    }
}

// One thread's share of the rows.
struct NormWork {
    const Half* x;
    Half* out;
    const Half* gamma;
    const Half* beta;
    Half* squares;
};

void NormRows(const RowMath& m, const NormPlan& g, const NormWork& w, int64_t begin, int64_t end,
              int64_t n) {
    const auto epsilon = static_cast<float>(g.epsilon);
    if (m.fast != nullptr && g.per_element) {
        m.fast({g.center, epsilon, w.gamma, w.beta, 1}, w.x + begin * n, w.out + begin * n,
               end - begin, n);
        return;
    }
    auto affine = [&](int64_t r) {
        const int64_t at = g.per_element ? 0 : r % g.channels;
        return Affine{w.gamma == nullptr ? nullptr : w.gamma + at,
                      w.beta == nullptr ? nullptr : w.beta + at, g.per_element ? 1 : 0};
    };
    if (m.fast != nullptr) {
        for (int64_t r = begin; r < end; ++r) {
            const Affine a = affine(r);
            m.fast({g.center, epsilon, a.gamma, a.beta, a.step}, w.x + r * n, w.out + r * n, 1, n);
        }
        return;
    }
    const int64_t step = RowsAtOnce(n);
    for (int64_t r = begin; r < end; r += step) {
        ExactNorm(
            m, g, [&](int64_t i) { return affine(r + i); }, w.x + r * n, w.out + r * n, w.squares,
            std::min(step, end - r), n);
    }
}

Step PlanNorm(PlanContext& p, const NormPlan& g) {
    const RowView view(p, p.In("x"), p.Dims("x"), g.axes);
    const int64_t n = view.length();
    const RowMath math = MakeMath(p, n);
    const Ref out = p.Out();
    const size_t batch = math.fast == nullptr ? static_cast<size_t>(RowsAtOnce(n) * n) : 0;
    const Ref squares = p.Scratch(batch * static_cast<size_t>(p.threads()) * sizeof(Half));
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        NormWork work{view.Load(run), view.Target(run, out),
                      g.has_gamma ? run.At<Half>(g.gamma) : nullptr,
                      g.has_beta ? run.At<Half>(g.beta) : nullptr, nullptr};
        ParallelFor(pool, view.rows(), RowGrain(n, kNormChunk),
                    [&](int64_t begin, int64_t end, int slot) {
                        NormWork share = work;
                        share.squares = run.At<Half>(squares) + static_cast<size_t>(slot) * batch;
                        NormRows(math, g, share, begin, end, n);
                    });
        view.Store(run, out);
    };
}

void ReadAffine(PlanContext& p, NormPlan* g) {
    g->has_gamma = p.Has("gamma");
    g->has_beta = p.Has("beta");
    if (g->has_gamma) g->gamma = p.In("gamma");
    if (g->has_beta) g->beta = p.In("beta");
}

bool InferLayerNorm(OpContext& c) {
    std::vector<int64_t> axes;
    if (!c.Axes("axes", c.Type("x").rank(), &axes)) return false;
    std::vector<int64_t> wanted;
    for (int64_t axis : axes) wanted.push_back(c.Dims("x")[static_cast<size_t>(axis)]);
    for (const char* name : {"gamma", "beta"}) {
        if (c.Has(name) && c.Dims(name) != wanted) {
            return c.Fail(Rule::kShapes, std::string(name) + " is " + ToString(c.Type(name)) +
                                             ", not shaped like the normalised axes");
        }
    }
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanLayerNorm(PlanContext& p) {
    NormPlan g;
    p.Axes("axes", p.Type("x").rank(), &g.axes);
    g.epsilon = p.Real("epsilon", 1e-5);
    ReadAffine(p, &g);
    return PlanNorm(p, g);
}

bool InferInstanceNorm(OpContext& c) {
    const int rank = c.Type("x").rank();
    if (rank != 3 && rank != 4) return c.Fail(Rule::kShapes, "x must have rank 3 or 4");
    for (const char* name : {"gamma", "beta"}) {
        if (c.Has(name) && c.Dims(name) != std::vector<int64_t>{c.Dims("x")[1]}) {
            return c.Fail(Rule::kShapes, std::string(name) + " needs one value for each channel");
        }
    }
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanInstanceNorm(PlanContext& p) {
    NormPlan g;
    for (int64_t i = 2; i < p.Type("x").rank(); ++i) g.axes.push_back(i);
    g.epsilon = p.Real("epsilon", 1e-5);
    g.per_element = false;
    g.channels = p.Dims("x")[1];
    ReadAffine(p, &g);
    return PlanNorm(p, g);
}

bool InferL2Norm(OpContext& c) {
    if (c.Type("x").rank() < 3) return c.Fail(Rule::kShapes, "x must have rank 3 or more");
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanL2Norm(PlanContext& p) {
    NormPlan g;
    for (int64_t i = p.Type("x").rank() - 3; i < p.Type("x").rank(); ++i) g.axes.push_back(i);
    g.epsilon = p.Real("epsilon", 1e-6);
    g.center = false;
    return PlanNorm(p, g);
}

// ---- batch_norm: one multiplication and one addition with folded constants ----

bool InferBatchNorm(OpContext& c) {
    if (c.Type("x").rank() < 3) return c.Fail(Rule::kShapes, "x must have rank 3 or more");
    for (const char* name : {"mean", "variance", "gamma", "beta"}) {
        if (c.Has(name) && c.Dims(name) != std::vector<int64_t>{c.Dims("x")[1]}) {
            return c.Fail(Rule::kShapes, std::string(name) + " needs one value for each channel");
        }
    }
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanBatchNorm(PlanContext& p) {
    const auto& dims = p.Dims("x");
    const int64_t channels = dims[1];
    const int64_t inner = p.Type("x").elements() / (dims[0] * channels);
    auto values = [&](const char* name) { return static_cast<const Half*>(p.In(name).fixed); };
    auto* scale = reinterpret_cast<Half*>(p.Hold(static_cast<size_t>(channels) * sizeof(Half)));
    auto* shift = reinterpret_cast<Half*>(p.Hold(static_cast<size_t>(channels) * sizeof(Half)));
    for (int64_t i = 0; i < channels; ++i) {
        const double gamma = p.Has("gamma") ? HalfToDouble(values("gamma")[i]) : 1;
        const double beta = p.Has("beta") ? HalfToDouble(values("beta")[i]) : 0;
        const double s =
            gamma / std::sqrt(HalfToDouble(values("variance")[i]) + p.Real("epsilon", 1e-5));
        scale[i] = FloatToHalf(static_cast<float>(s));
        shift[i] = FloatToHalf(static_cast<float>(beta - HalfToDouble(values("mean")[i]) * s));
    }
    const RowMath math = MakeMath(p, 1);
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    const int64_t rows = dims[0] * channels;
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(out);
        ParallelFor(pool, rows, RowGrain(inner, kNormChunk), [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) {
                math.mul(from + r * inner, 1, scale + r % channels, 0, to + r * inner, inner);
                math.add(to + r * inner, 1, shift + r % channels, 0, to + r * inner, inner);
            }
        });
    };
}

constexpr NumericClass kBounded = NumericClass::kBounded;

const OpDef kOps[] = {
    {"softmax", "x,axis:n?!", kBounded, kPlain, InferSoftmax, PlanSoftmax},
    {"layer_norm", "x,axes:i?!,gamma?!,beta?!,epsilon:r?!", kBounded, kPlain, InferLayerNorm,
     PlanLayerNorm},
    {"instance_norm", "x,gamma?!,beta?!,epsilon:r?!", kBounded, kPlain, InferInstanceNorm,
     PlanInstanceNorm},
    {"l2_norm", "x,epsilon:r?!", kBounded, kPlain, InferL2Norm, PlanL2Norm},
    {"batch_norm", "x,mean!,variance!,gamma?!,beta?!,epsilon:r?!", kBounded, kInPlace,
     InferBatchNorm, PlanBatchNorm},
};

}  // namespace

OpTable NormOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
