// SPDX-License-Identifier: Apache-2.0
// The k largest or smallest elements along an axis. Equal elements come in the order of their
// indices (what the chip does with ties is not published).
#include <algorithm>
#include <numeric>

#include "device/software/kernels/planar.h"
#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

struct TopK {
    int64_t k = 1, axis = 0;
    DType index_type = DType::kInt32;
    bool indices = true;
};

bool ReadTopK(OpContext& c, TopK* t) {
    if (c.Type("x").rank() < 1) return c.Fail(Rule::kShapes, "x must not be a scalar");
    if (!c.Axis("axis", -1, c.Type("x").rank(), &t->axis)) return false;
    const int64_t extent = c.Dims("x")[static_cast<size_t>(t->axis)];
    t->k = c.Int("k", 1);
    if (t->k == -1) t->k = extent;
    if (t->k < 1 || t->k > extent) {
        return c.BadValue(
            "k", std::to_string(t->k) + " is not 1 to the axis's " + std::to_string(extent));
    }
    if (t->k == 3 || t->k == 4) {
        return c.Fail(Rule::kTopK,
                      "k = " + std::to_string(t->k) + " fails on the engine: take 5 and slice");
    }
    t->indices = c.Bool("return_indices", true);
    const std::string type = c.String("output_indices_dtype", "int32");
    if (type != "int32" && type != "uint16") {
        return c.BadValue("output_indices_dtype", "\"" + type + "\" is neither int32 nor uint16");
    }
    if (type == "uint16" && extent > 65536) {
        return c.BadValue("output_indices_dtype", "the axis is too long for uint16");
    }
    t->index_type = type == "int32" ? DType::kInt32 : DType::kUint16;
    return true;
}

bool InferTopK(OpContext& c) {
    if (!c.chip().native_topk) {
        return c.Fail(Rule::kChipTooOld,
                      c.chip().name + " cannot sort (M2 and later can): use the host");
    }
    TopK t;
    if (!ReadTopK(c, &t)) return false;
    std::vector<int64_t> dims = c.Dims("x");
    dims[static_cast<size_t>(t.axis)] = t.k;
    c.results.push_back({DType::kFp16, dims});
    if (t.indices) c.results.push_back({t.index_type, dims});
    return true;
}

Step PlanTopK(PlanContext& p) {
    TopK t;
    ReadTopK(p, &t);
    const std::vector<int64_t>& dims = p.Dims("x");
    const int64_t extent = dims[static_cast<size_t>(t.axis)];
    const int64_t inner = DenseStrides(dims)[static_cast<size_t>(t.axis)];
    const int64_t rows = p.Type("x").elements() / extent;
    const bool ascending = p.Bool("ascending", false), sorted = p.Bool("sort", true);
    const Ref x = p.In("x"), values = p.Out();
    const Ref indices = t.indices ? p.Out(1) : Ref{};
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        ParallelFor(
            pool, rows, std::max<int64_t>(1, 2048 / extent), [&](int64_t begin, int64_t end, int) {
                std::vector<int32_t> order(static_cast<size_t>(extent));
                for (int64_t r = begin; r < end; ++r) {
                    const Half* from = run.At<Half>(x) + r / inner * extent * inner + r % inner;
                    auto before = [&](int32_t a, int32_t b) {
                        const float u = PlanarFloat(from[a * inner]),
                                    v = PlanarFloat(from[b * inner]);
                        return u != v ? (ascending ? u < v : u > v) : a < b;
                    };
                    std::iota(order.begin(), order.end(), 0);
                    std::partial_sort(order.begin(), order.begin() + t.k, order.end(), before);
                    // Unsorted results keep the order of the operand.
                    if (!sorted) std::sort(order.begin(), order.begin() + t.k);
                    const int64_t base = r / inner * t.k * inner + r % inner;
                    for (int64_t i = 0; i < t.k; ++i) {
                        const int32_t at = order[static_cast<size_t>(i)];
                        const int64_t to = base + i * inner;
                        run.At<Half>(values)[to] = from[at * inner];
                        if (!t.indices) continue;
                        if (t.index_type == DType::kInt32) {
                            run.At<int32_t>(indices)[to] = at;
                        } else {
                            run.At<uint16_t>(indices)[to] = static_cast<uint16_t>(at);
                        }
                    }
                }
            });
    };
}

const OpDef kOps[] = {
    {"topk", "x,k:n?!,axis:n?!,ascending:b?!,sort:b?!,return_indices:b?!,output_indices_dtype:s?!",
     NumericClass::kBitExact, kPlain, InferTopK, PlanTopK},
};

}  // namespace

OpTable SortOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
