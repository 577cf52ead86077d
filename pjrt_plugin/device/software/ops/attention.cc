// SPDX-License-Identifier: Apache-2.0
// Products with a fixed pattern: the one einsum that the chip has, and attention as the chip's
// decomposed form (matmul, scale, mask, softmax, matmul).
#include <cmath>

#include "device/software/ops/broadcast.h"
#include "device/software/ops/gemm_step.h"
#include "device/software/ops/softmax.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

// ---- einsum nchw,nwhu->nchu ----

const TensorType& Operand(const OpContext& c, size_t i) {
    return c.graph().values[static_cast<size_t>(c.Indices("values")[i])].type;
}

bool InferEinsum(OpContext& c) {
    std::string equation;
    for (char letter : c.String("equation", "")) {
        if (letter != ' ') equation += letter;
    }
    // Letters stand for themselves: the first four name the axes of x, the eighth is new.
    const std::string pattern = "nchw,nwhu->nchu";
    bool same = equation.size() == pattern.size() && c.Indices("values").size() == 2;
    std::string renamed = equation;
    for (size_t i = 0; same && i < pattern.size(); ++i) {
        for (size_t j = 0; j < pattern.size(); ++j) {
            same = same && (pattern[i] == pattern[j]) == (renamed[i] == renamed[j]);
        }
        const bool letter = pattern[i] >= 'a' && pattern[i] <= 'z';
        same = same && (letter ? renamed[i] >= 'a' && renamed[i] <= 'z' : renamed[i] == pattern[i]);
    }
    if (!same) {
        return c.Fail(Rule::kEinsum, "\"" + equation +
                                         "\" has no lowering: only nchw,nwhu->nchu has, so use "
                                         "transpose and matmul");
    }
    const Dims& x = Operand(c, 0).dims;
    const Dims& y = Operand(c, 1).dims;
    if (x.size() != 4 || y.size() != 4 || x[0] != y[0] || x[3] != y[1] || x[2] != y[2]) {
        return c.Fail(Rule::kShapes, ToString(Operand(c, 0)) + " and " + ToString(Operand(c, 1)) +
                                         " do not fit the equation");
    }
    if (x[3] > c.chip().max_matmul_inner) {
        return c.Fail(Rule::kMatmulInner,
                      "the inner dimension " + std::to_string(x[3]) + " is too long");
    }
    c.results.push_back({DType::kFp16, {x[0], x[1], x[2], y[3]}});
    return true;
}

Step PlanEinsum(PlanContext& p) {
    const Dims& out = p.OutType().dims;
    const int64_t n = out[0], c = out[1], h = out[2], u = out[3], w = Operand(p, 0).dims[3];
    GemmPlan g;
    g.m = c;
    g.n = u;
    g.k = w;
    g.a = p.In("values", 0);
    g.b = p.In("values", 1);
    g.c = p.Scratch(static_cast<size_t>(n * h * c * u) * sizeof(Half));
    g.a_row_stride = h * w;
    g.a_column_stride = 1;
    g.b_row_stride = h * u;
    g.b_column_stride = 1;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < h; ++j) {
            g.a_offsets.push_back(i * c * h * w + j * w);
            g.b_offsets.push_back(i * w * h * u + j * u);
        }
    }
    const Step product = PlanGemm(p, g);
    // [n, h, c, u] to [n, c, h, u].
    const StridedCopy copy(2, out, {h * c * u, u, c * u, 1}, DenseStrides(out));
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref from = g.c, to = p.Out();
    return [=](const Run& run) {
        product(run);
        copy.Run(*kernels, pool, run.At<uint8_t>(from), run.At<uint8_t>(to));
    };
}

// ---- scaled_dot_product_attention ----

bool InferAttention(OpContext& c) {
    const Dims& q = c.Dims("query");
    const Dims& k = c.Dims("key");
    const Dims& v = c.Dims("value");
    const size_t rank = q.size();
    bool fits = rank >= 3 && k.size() == rank && v.size() == rank;
    for (size_t i = 0; fits && i + 2 < rank; ++i) fits = q[i] == k[i] && q[i] == v[i];
    fits = fits && q[rank - 1] == k[rank - 1] && k[rank - 2] == v[rank - 2];
    if (!fits) {
        return c.Fail(Rule::kShapes,
                      "query, key and value must be [B, ..., L, E], [B, ..., S, E] "
                      "and [B, ..., S, EV], not " +
                          ToString(c.Type("query")) + ", " + ToString(c.Type("key")) + " and " +
                          ToString(c.Type("value")));
    }
    if (static_cast<int64_t>(rank) > c.chip().max_matmul_rank) {
        return c.Fail(Rule::kMatmulRank, "rank " + std::to_string(rank) + " is above " +
                                             std::to_string(c.chip().max_matmul_rank));
    }
    Dims scores = q;
    scores.back() = k[rank - 2];
    if (c.Has("attn_mask")) {
        const TensorType& mask = c.Type("attn_mask");
        if (mask.dtype != DType::kFp16 && mask.dtype != DType::kBool) {
            return c.Fail(Rule::kArgumentType, "attn_mask must be bool or fp16");
        }
        Dims both;
        if (!BroadcastDims(mask.dims, scores, &both) || both != scores) {
            return c.Fail(Rule::kShapes,
                          "attn_mask " + ToString(mask) + " does not broadcast to [B, ..., L, S]");
        }
    }
    Dims out = q;
    out.back() = v.back();
    c.results.push_back({DType::kFp16, out});
    return true;
}

GemmPlan Product(Ref a, Ref b, Ref c, int64_t batches, int64_t m, int64_t n, int64_t k,
                 bool transposed) {
    GemmPlan g;
    g.m = m;
    g.n = n;
    g.k = k;
    g.a = a;
    g.b = b;
    g.c = c;
    g.a_row_stride = k;
    g.a_column_stride = 1;
    g.b_row_stride = transposed ? 1 : n;
    g.b_column_stride = transposed ? k : 1;
    for (int64_t i = 0; i < batches; ++i) {
        g.a_offsets.push_back(i * m * k);
        g.b_offsets.push_back(i * n * k);
    }
    return g;
}

// Adds an fp16 mask to elements of the scores, or sets those whose bool mask is false to the lowest
// number.
RangeStep PlanMask(PlanContext& p, const Dims& dims, Ref scores) {
    const bool choose = p.Type("attn_mask").dtype == DType::kBool;
    const BroadcastLoop loop(dims, {{&dims}, {&p.Dims("attn_mask")}});
    const BinaryFn add = p.kernels().binary[p.mode_index()][static_cast<int>(BinaryOp::kAdd)];
    const SelectFn select = p.kernels().select;
    const Ref mask = p.In("attn_mask");
    return [=](const Run& run, int64_t begin, int64_t end) {
        constexpr Half kLowest = 0xFBFF;
        Half* to = run.At<Half>(scores);
        loop.Run(begin, end, [&](const auto& at, int64_t o, int64_t count) {
            if (choose) {
                select(run.At<uint8_t>(mask) + at[1], loop.step(1), to + at[0], loop.step(0),
                       &kLowest, 0, to + o, count);
            } else {
                add(to + at[0], loop.step(0), run.At<Half>(mask) + at[1], loop.step(1), to + o,
                    count);
            }
        });
    };
}

Step PlanAttention(PlanContext& p) {
    const Dims& q = p.Dims("query");
    const Dims& v = p.Dims("value");
    const size_t rank = q.size();
    const int64_t l = q[rank - 2], e = q[rank - 1], s = v[rank - 2], ev = v[rank - 1];
    const int64_t batches = p.Type("query").elements() / (l * e), rows = batches * l;
    Dims dims = q;
    dims.back() = s;
    const Ref scores = p.Scratch(static_cast<size_t>(rows * s) * sizeof(Half));
    const Step first =
        PlanGemm(p, Product(p.In("query"), p.In("key"), scores, batches, l, s, e, true));
    const Step second =
        PlanGemm(p, Product(scores, p.In("value"), p.Out(), batches, l, ev, s, false));
    const Half scale = FloatToHalf(1 / std::sqrt(static_cast<float>(e)));
    const BinaryFn mul = p.kernels().binary[p.mode_index()][static_cast<int>(BinaryOp::kMul)];
    const RangeStep mask = p.Has("attn_mask") ? PlanMask(p, dims, scores) : RangeStep();
    const SoftmaxRows softmax(p, s);
    const int64_t grain = std::max<int64_t>(1, 8192 / s);
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        first(run);
        // All three of a piece while it is in the cache.
        ParallelFor(pool, rows, grain, [&](int64_t begin, int64_t end, int slot) {
            Half* piece = run.At<Half>(scores) + begin * s;
            mul(piece, 1, &scale, 0, piece, (end - begin) * s);
            if (mask) mask(run, begin * s, end * s);
            softmax.Apply(run, piece, piece, end - begin, slot);
        });
        second(run);
    };
}

const OpDef kOps[] = {
    {"einsum", "values*,equation:s!", NumericClass::kBitExact, kPlain, InferEinsum, PlanEinsum},
    {"scaled_dot_product_attention", "query,key,value,attn_mask:a?", NumericClass::kBounded, kPlain,
     InferAttention, PlanAttention},
};

}  // namespace

OpTable AttentionOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
