// SPDX-License-Identifier: Apache-2.0
// gather_along_axis and gather_nd by constant indices: the pattern of copies is worked out at load.
#include <cstring>

#include "device/software/argument_spec.h"
#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

bool CheckIndices(OpContext& c) {
    const GraphValue& indices = c.Value("indices");
    if (!indices.constant || indices.is_deferred) {
        return c.Fail(Rule::kGatherIndices,
                      "run-time indices have no path on the engine: use a one-hot matmul or the "
                      "host");
    }
    if (!IsInteger(indices.type.dtype) || mil::DTypeBits(indices.type.dtype) < 8) {
        return c.Fail(Rule::kArgumentType, "indices must be integers");
    }
    return true;
}

bool CheckRange(OpContext& c, int64_t index, int64_t extent) {
    return (index >= -extent && index < extent) ||
           c.BadValue("indices",
                      std::to_string(index) + " leaves the axis of " + std::to_string(extent));
}

// Copies runs of `bytes` bytes; run i comes from element offset sources[i].
Step PlanRuns(PlanContext& p, Dims sources, int64_t run_elements) {
    const int64_t element = mil::DTypeBits(p.OutType().dtype) / 8, bytes = run_elements * element;
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    return [=, sources = std::move(sources)](const Run& run) {
        const uint8_t* from = run.At<uint8_t>(x);
        uint8_t* to = run.At<uint8_t>(out);
        const int64_t grain = std::max<int64_t>(1, 65536 / bytes);
        const auto count = static_cast<int64_t>(sources.size());
        ParallelFor(pool, count, grain, [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin; i < end; ++i) {
                std::memcpy(to + i * bytes, from + sources[static_cast<size_t>(i)] * element,
                            static_cast<size_t>(bytes));
            }
        });
    };
}

bool InferAlong(OpContext& c) {
    const Dims& x = c.Dims("x");
    const Dims& indices = c.Dims("indices");
    int64_t axis;
    if (!MovableType(c, c.Type("x")) || !CheckIndices(c) ||
        !c.Axis("axis", 0, c.Type("x").rank(), &axis)) {
        return false;
    }
    bool fits = x.size() == indices.size();
    for (size_t i = 0; fits && i < x.size(); ++i) {
        fits = static_cast<int64_t>(i) == axis || x[i] == indices[i];
    }
    if (!fits)
        return c.Fail(Rule::kShapes, "indices must have x's shape elsewhere than on the axis");
    for (int64_t index : c.Ints("indices")) {
        if (!CheckRange(c, index, x[static_cast<size_t>(axis)])) return false;
    }
    c.results.push_back({c.Type("x").dtype, indices});
    return true;
}

Step PlanAlong(PlanContext& p) {
    int64_t axis = 0;
    p.Axis("axis", 0, p.Type("x").rank(), &axis);
    const Dims& x = p.Dims("x");
    const int64_t extent = x[static_cast<size_t>(axis)];
    const int64_t inner = DenseStrides(x)[static_cast<size_t>(axis)];
    const int64_t picked = p.Dims("indices")[static_cast<size_t>(axis)];
    Dims sources = p.Ints("indices");
    for (size_t i = 0; i < sources.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        const int64_t index = sources[i] < 0 ? sources[i] + extent : sources[i];
        sources[i] = (at / (inner * picked) * extent + index) * inner + at % inner;
    }
    return PlanRuns(p, std::move(sources), 1);
}

bool InferNd(OpContext& c) {
    const Dims& x = c.Dims("x");
    const Dims& indices = c.Dims("indices");
    if (!MovableType(c, c.Type("x")) || !CheckIndices(c)) return false;
    if (c.Int("batch_dims", 0) != 0) return c.BadValue("batch_dims", "only 0 has a lowering");
    if (x.empty() || indices.empty() || indices.back() > static_cast<int64_t>(x.size())) {
        return c.Fail(Rule::kShapes, "the last axis of indices must be 1 to x's rank");
    }
    const auto depth = static_cast<size_t>(indices.back());
    const Dims all = c.Ints("indices");
    for (size_t i = 0; i < all.size(); ++i) {
        if (!CheckRange(c, all[i], x[i % depth])) return false;
    }
    TensorType out{c.Type("x").dtype, Dims(indices.begin(), indices.end() - 1)};
    out.dims.insert(out.dims.end(), x.begin() + indices.back(), x.end());
    if (out.dims.size() > 16) return c.Fail(Rule::kRank, "the result has too many axes");
    c.results.push_back(std::move(out));
    return true;
}

Step PlanNd(PlanContext& p) {
    const Dims& x = p.Dims("x");
    const Dims strides = DenseStrides(x), all = p.Ints("indices");
    const auto depth = static_cast<size_t>(p.Dims("indices").back());
    Dims sources(all.size() / depth, 0);
    for (size_t i = 0; i < all.size(); ++i) {
        const int64_t index = all[i] < 0 ? all[i] + x[i % depth] : all[i];
        sources[i / depth] += index * strides[i % depth];
    }
    return PlanRuns(p, std::move(sources), strides[depth - 1]);
}

constexpr NumericClass kExact = NumericClass::kBitExact;

const OpDef kOps[] = {
    {"gather_along_axis", "x:a,indices:a,axis:n?!,validate_indices:b?!", kExact, kPlain, InferAlong,
     PlanAlong},
    {"gather_nd", "x:a,indices:a,batch_dims:n?!,validate_indices:b?!", kExact, kPlain, InferNd,
     PlanNd},
};

}  // namespace

OpTable GatherOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
