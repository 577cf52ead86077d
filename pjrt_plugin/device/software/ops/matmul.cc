// SPDX-License-Identifier: Apache-2.0
// matmul and linear: batches of GEMM on strided operands, so that no transpose is ever copied.
#include <optional>

#include "device/software/ops/fast_winograd.h"
#include "device/software/ops/gemm_step.h"
#include "device/software/ops/int8_step.h"

namespace jax_ane::software {
namespace {

// Batch dims, rows and columns of one operand; a vector has been given its missing axis.
struct Operand {
    std::vector<int64_t> batch;
    int64_t rows = 1;
    int64_t columns = 1;
};

Operand Split(const std::vector<int64_t>& dims) {
    Operand o;
    o.batch.assign(dims.begin(), dims.end() - 2);
    o.rows = dims[dims.size() - 2];
    o.columns = dims[dims.size() - 1];
    return o;
}

bool InferMatmul(OpContext& c) {
    const auto& x = c.Dims("x");
    const auto& y = c.Dims("y");
    if (x.size() < 2 || y.size() < 2) {
        return c.Fail(Rule::kShapes, "both operands need rank 2 or more: reshape the vector");
    }
    const int64_t rank = static_cast<int64_t>(std::max(x.size(), y.size()));
    if (rank > c.chip().max_matmul_rank) {
        return c.Fail(Rule::kMatmulRank, "rank " + std::to_string(rank) + " is above " +
                                             std::to_string(c.chip().max_matmul_rank) + " on " +
                                             c.chip().name + ": merge batch axes");
    }
    Operand a = Split(x), b = Split(y);
    if (c.Bool("transpose_x", false)) std::swap(a.rows, a.columns);
    if (c.Bool("transpose_y", false)) std::swap(b.rows, b.columns);
    TensorType type{DType::kFp16, {}};
    if (a.columns != b.rows || !BroadcastDims(a.batch, b.batch, &type.dims)) {
        return c.Fail(Rule::kShapes, "x is " + ToString(c.Type("x")) + " and y is " +
                                         ToString(c.Type("y")) + ": they do not multiply");
    }
    if (a.columns > c.chip().max_matmul_inner) {
        return c.Fail(Rule::kMatmulInner,
                      "the inner dimension " + std::to_string(a.columns) + " is above " +
                          std::to_string(c.chip().max_matmul_inner) + ": split it and add");
    }
    type.dims.push_back(a.rows);
    type.dims.push_back(b.columns);
    c.results.push_back(std::move(type));
    return true;
}

// Element offset of each batch of an operand that lies as `view` says.
std::vector<int64_t> BatchOffsets(const std::vector<int64_t>& out, const Operand& o,
                                  const StridedView& view) {
    std::vector<int64_t> offsets{view.offset};
    const size_t missing = out.size() - o.batch.size();
    for (size_t i = 0; i < out.size(); ++i) {
        const bool given = i >= missing && o.batch[i - missing] != 1;
        const int64_t stride = given ? view.strides[i - missing] : 0;
        std::vector<int64_t> next;
        for (int64_t base : offsets) {
            for (int64_t j = 0; j < out[i]; ++j) next.push_back(base + j * stride);
        }
        offsets = std::move(next);
    }
    return offsets;
}

// Whether the batches of x are more rows of one matrix: `*stride` apart like the rows inside each.
bool AreRows(const std::vector<int64_t>& dims, const StridedView& view, int64_t* stride) {
    std::vector<int64_t> merged{1, dims.back()};
    for (size_t i = 0; i + 1 < dims.size(); ++i) merged[0] *= dims[i];
    const std::optional<StridedView> rows = Reshape(view, dims, merged);
    if (!rows) return false;
    *stride = rows->strides[0];
    return true;
}

Step PlanMatmul(PlanContext& p) {
    if (Step step = PlanInt8(p)) return step;
    const bool tx = p.Bool("transpose_x", false), ty = p.Bool("transpose_y", false);
    const Operand a = Split(p.Dims("x")), b = Split(p.Dims("y"));
    const StridedView x = p.LayoutOf("x"), y = p.LayoutOf("y");
    const auto& out = p.OutType().dims;
    const std::vector<int64_t> batch(out.begin(), out.end() - 2);
    GemmPlan g;
    g.m = out[out.size() - 2];
    g.n = out[out.size() - 1];
    g.k = tx ? a.rows : a.columns;
    g.a = p.In("x");
    g.b = p.In("y");
    g.c = p.Out();
    g.b_row_stride = y.strides[y.strides.size() - (ty ? 1 : 2)];
    g.b_column_stride = y.strides[y.strides.size() - (ty ? 2 : 1)];
    int64_t b_batches = 1;
    for (int64_t d : b.batch) b_batches *= d;
    if (x.rows != nullptr) {
        g.m = x.rows->rows();
        g.a_rows = x.rows;
        g.a_offsets = {x.offset};
        g.b_offsets = {y.offset};
        Step plain = PlanGemm(p, g);
        const auto windows = FindWindows(*x.rows, g.n);
        if (p.mode() == NumericsMode::kExact || !windows || !p.kernels().winograd_input) {
            return plain;
        }
        return PlanFastWinograd(p, g, *windows, std::move(plain));
    }
    g.a_row_stride = x.strides[x.strides.size() - (tx ? 1 : 2)];
    g.a_column_stride = x.strides[x.strides.size() - (tx ? 2 : 1)];
    if (b_batches == 1 && !tx && AreRows(p.Dims("x"), x, &g.a_row_stride)) {
        // One right-hand side for all batches: they are rows of one product.
        for (int64_t d : batch) g.m *= d;
        g.a_offsets = {x.offset};
        g.b_offsets = {y.offset};
    } else {
        g.a_offsets = BatchOffsets(batch, a, x);
        g.b_offsets = BatchOffsets(batch, b, y);
    }
    return PlanGemm(p, g);
}

bool InferLinear(OpContext& c) {
    const auto& x = c.Dims("x");
    const auto& w = c.Dims("weight");
    if (x.empty() || x.size() > 3 || w.size() != 2 || x.back() != w[1]) {
        return c.Fail(Rule::kShapes, "x " + ToString(c.Type("x")) + " (rank 1 to 3) and weight " +
                                         ToString(c.Type("weight")) + " (out, in) do not multiply");
    }
    if (c.Has("bias") && c.Dims("bias") != std::vector<int64_t>{w[0]}) {
        return c.Fail(Rule::kShapes, "bias is " + ToString(c.Type("bias")) + ", not [" +
                                         std::to_string(w[0]) + "]");
    }
    if (w[1] > c.chip().max_matmul_inner) {
        return c.Fail(Rule::kMatmulInner, "the inner dimension " + std::to_string(w[1]) +
                                              " is above " +
                                              std::to_string(c.chip().max_matmul_inner));
    }
    TensorType type{DType::kFp16, x};
    type.dims.back() = w[0];
    c.results.push_back(std::move(type));
    return true;
}

Step PlanLinear(PlanContext& p) {
    if (Step step = PlanInt8(p)) return step;
    const auto& w = p.Dims("weight");
    GemmPlan g;
    g.m = p.Type("x").elements() / w[1];
    g.n = w[0];
    g.k = w[1];
    g.a = p.In("x");
    g.b = p.In("weight");
    g.c = p.Out();
    g.a_row_stride = w[1];
    g.a_column_stride = 1;
    g.b_row_stride = 1;
    g.b_column_stride = w[1];
    g.a_offsets = g.b_offsets = {0};
    if (p.Has("bias")) {
        g.bias_kind = BiasKind::kPerColumn;
        g.bias = p.In("bias");
    }
    return PlanGemm(p, g);
}

const OpDef kOps[] = {
    {"matmul", "x,y,transpose_x:b?!,transpose_y:b?!", NumericClass::kBitExact, kMultiplies,
     InferMatmul, PlanMatmul},
    {"linear", "x,weight!,bias?!", NumericClass::kBitExact, kPlain, InferLinear, PlanLinear},
};

}  // namespace

OpTable MatmulOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
