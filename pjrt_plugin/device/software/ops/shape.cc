// SPDX-License-Identifier: Apache-2.0
// Operations that move elements by a fixed pattern: transpose, concat, split, stack, tile,
// reverse, and the depth/space shuffles.
#include <algorithm>
#include <cstring>

#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

size_t Bytes(const TensorType& type) { return static_cast<size_t>(mil::DTypeBits(type.dtype) / 8); }

// One copy as a step.
Step CopyStep(PlanContext& p, StridedCopy copy, Ref from, Ref to) {
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        copy.Run(*kernels, pool, run.At<uint8_t>(from), run.At<uint8_t>(to));
    };
}

// ---- Transpose, reverse, tile ----

bool InferTranspose(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    const Dims& dims = c.Dims("x");
    const auto rank = static_cast<int64_t>(dims.size());
    Dims perm = c.Ints("perm"), sorted, out;
    for (int64_t& axis : perm) {
        if (axis < 0) axis += rank;
    }
    sorted = perm;
    std::sort(sorted.begin(), sorted.end());
    bool good = static_cast<int64_t>(perm.size()) == rank;
    for (size_t i = 0; good && i < sorted.size(); ++i) good = sorted[i] == static_cast<int64_t>(i);
    if (!good) return c.BadValue("perm", "it must name each axis of x once");
    for (int64_t axis : perm) out.push_back(dims[static_cast<size_t>(axis)]);
    c.results.push_back({c.Type("x").dtype, std::move(out)});
    return true;
}

bool ViewTranspose(OpContext& c, StridedView* view) {
    const Dims strides = view->strides;
    view->strides.clear();
    for (int64_t axis : c.Ints("perm")) {
        const int64_t from = axis < 0 ? axis + c.Type("x").rank() : axis;
        view->strides.push_back(strides[static_cast<size_t>(from)]);
    }
    return true;
}

Step PlanTranspose(PlanContext& p) {
    StridedView view = p.LayoutOf("x");
    ViewTranspose(p, &view);
    const Dims& out = p.OutType().dims;
    return CopyStep(
        p, StridedCopy(Bytes(p.OutType()), out, view.strides, DenseStrides(out), view.offset),
        p.In("x"), p.Out());
}

bool InferReverse(OpContext& c) {
    std::vector<int64_t> axes;
    if (!MovableType(c, c.Type("x")) || !c.Axes("axes", c.Type("x").rank(), &axes)) return false;
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanReverse(PlanContext& p) {
    const Dims& dims = p.Dims("x");
    Dims from = DenseStrides(dims);
    const Dims to = from;
    int64_t offset = 0;
    std::vector<int64_t> axes;
    p.Axes("axes", p.Type("x").rank(), &axes);
    for (int64_t axis : axes) {
        const auto i = static_cast<size_t>(axis);
        offset += (dims[i] - 1) * from[i];
        from[i] = -from[i];
    }
    return CopyStep(p, StridedCopy(Bytes(p.OutType()), dims, from, to, offset), p.In("x"), p.Out());
}

bool InferTile(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    Dims out = c.Dims("x");
    const Dims reps = c.Ints("reps");
    if (reps.size() != out.size()) return c.BadValue("reps", "it needs one number for each axis");
    for (size_t i = 0; i < out.size(); ++i) {
        if (reps[i] < 1 || reps[i] > (int64_t{1} << 31) / out[i]) {
            return c.BadValue("reps", std::to_string(reps[i]) + " is out of range");
        }
        int64_t rest = reps[i];
        while (rest % 2 == 0) rest /= 2;
        while (rest % 3 == 0) rest /= 3;
        if (rest != 1) {
            return c.Fail(Rule::kTileFactor, "argument reps: " + std::to_string(reps[i]) +
                                                 " is no product of 2, 3, 4 and 8: broadcast, or "
                                                 "concat the parts");
        }
        out[i] *= reps[i];
    }
    c.results.push_back({c.Type("x").dtype, std::move(out)});
    return true;
}

Step PlanTile(PlanContext& p) {
    const Dims& dims = p.Dims("x");
    const Dims from = DenseStrides(dims), to = DenseStrides(p.OutType().dims);
    Dims all, f, t;
    for (size_t i = 0; i < dims.size(); ++i) {
        all.insert(all.end(), {p.Ints("reps")[i], dims[i]});
        f.insert(f.end(), {0, from[i]});
        t.insert(t.end(), {to[i] * dims[i], to[i]});
    }
    return CopyStep(p, StridedCopy(Bytes(p.OutType()), all, f, t), p.In("x"), p.Out());
}

// ---- Concat, split, stack ----

bool InferConcat(OpContext& c) {
    const auto& values = c.Indices("values");
    auto type = [&](size_t i) -> const TensorType& {
        return c.graph().values[static_cast<size_t>(values[i])].type;
    };
    TensorType out = type(0);
    int64_t axis;
    if (!c.Has("interleave")) {
        return c.Fail(Rule::kConcatInterleave,
                      "without interleave the compiler fails: pass a named bool const");
    }
    if (!MovableType(c, out) || !c.Axis("axis", 0, out.rank(), &axis)) return false;
    const auto a = static_cast<size_t>(axis);
    for (size_t i = 1; i < values.size(); ++i) {
        TensorType same = type(i);
        const bool ranks = same.rank() == out.rank();
        const int64_t extent = ranks ? same.dims[a] : 0;
        if (ranks && c.Bool("interleave", false) && extent != type(0).dims[a]) {
            return c.Fail(Rule::kShapes, "with interleave all values need the same shape");
        }
        if (ranks) same.dims[a] = out.dims[a];
        if (!(same == out) || !ranks) {
            return c.Fail(Rule::kShapes, "the values' types differ elsewhere than on the axis: " +
                                             ToString(type(0)) + " and " + ToString(type(i)));
        }
        out.dims[a] += extent;
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanConcat(PlanContext& p) {
    int64_t axis = 0;
    p.Axis("axis", 0, p.OutType().rank(), &axis);
    Dims to = DenseStrides(p.OutType().dims);
    const int64_t axis_stride = to[static_cast<size_t>(axis)];
    // Interleaved values take turns on the axis.
    const bool interleave = p.Bool("interleave", false);
    const size_t count = p.Indices("values").size();
    if (interleave) to[static_cast<size_t>(axis)] *= static_cast<int64_t>(count);
    std::vector<std::pair<StridedCopy, Ref>> parts;
    int64_t at = 0;
    for (size_t i = 0; i < count; ++i) {
        const Dims& dims = p.InType("values", i).dims;
        const StridedView* view = p.StridedViewOf("values", i);
        parts.emplace_back(StridedCopy(Bytes(p.OutType()), dims,
                                       view != nullptr ? view->strides : DenseStrides(dims), to,
                                       view != nullptr ? view->offset : 0, at * axis_stride),
                           p.In("values", i));
        at += interleave ? 1 : dims[static_cast<size_t>(axis)];
    }
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref out = p.Out();
    // Many small parts are shared out whole; a few large ones are split inside.
    const bool whole = static_cast<int>(parts.size()) >= 2 * p.threads();
    const int64_t grain = p.OutType().elements() < 32768 ? static_cast<int64_t>(parts.size()) : 1;
    return [=](const Run& run) {
        auto* to = run.At<uint8_t>(out);
        if (!whole) {
            for (const auto& [copy, from] : parts) {
                copy.Run(*kernels, pool, run.At<uint8_t>(from), to);
            }
            return;
        }
        ParallelFor(pool, static_cast<int64_t>(parts.size()), grain,
                    [&](int64_t begin, int64_t end, int) {
                        for (int64_t i = begin; i < end; ++i) {
                            const auto& [copy, from] = parts[static_cast<size_t>(i)];
                            copy.Run(*kernels, nullptr, run.At<uint8_t>(from), to);
                        }
                    });
    };
}

bool InferStack(OpContext& c) {
    const auto& values = c.Indices("values");
    const TensorType& first = c.graph().values[static_cast<size_t>(values[0])].type;
    for (int v : values) {
        if (c.graph().values[static_cast<size_t>(v)].type == first) continue;
        return c.Fail(Rule::kShapes, "the values' types differ");
    }
    int64_t axis;
    if (!MovableType(c, first) || !c.Axis("axis", 0, first.rank() + 1, &axis)) return false;
    TensorType out = first;
    out.dims.insert(out.dims.begin() + axis, static_cast<int64_t>(values.size()));
    c.results.push_back(std::move(out));
    return true;
}

Step PlanStack(PlanContext& p) {
    int64_t axis = 0;
    p.Axis("axis", 0, p.OutType().rank(), &axis);
    const Dims to = DenseStrides(p.OutType().dims);
    Dims to_strides = to;
    to_strides.erase(to_strides.begin() + axis);
    std::vector<std::pair<StridedCopy, Ref>> parts;
    for (size_t i = 0; i < p.Indices("values").size(); ++i) {
        const Dims& dims = p.InType("values", i).dims;
        parts.emplace_back(StridedCopy(Bytes(p.OutType()), dims, DenseStrides(dims), to_strides, 0,
                                       static_cast<int64_t>(i) * to[static_cast<size_t>(axis)]),
                           p.In("values", i));
    }
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref out = p.Out();
    return [=](const Run& run) {
        for (const auto& [copy, from] : parts) {
            copy.Run(*kernels, pool, run.At<uint8_t>(from), run.At<uint8_t>(out));
        }
    };
}

bool InferSplit(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    int64_t axis;
    if (!c.Axis("axis", 0, c.Type("x").rank(), &axis)) return false;
    const int64_t extent = c.Dims("x")[static_cast<size_t>(axis)];
    Dims sizes = c.Ints("split_sizes");
    if (sizes.empty()) {
        const int64_t count = c.Int("num_splits", 0);
        if (count < 1 || count > extent || extent % count != 0) {
            return c.BadValue("num_splits", "it must divide the axis's " + std::to_string(extent));
        }
        sizes.assign(static_cast<size_t>(count), extent / count);
    }
    int64_t total = 0;
    for (int64_t size : sizes) {
        if (size < 1 || size > extent) return c.BadValue("split_sizes", "sizes out of range");
        total += size;
    }
    if (total != extent) return c.BadValue("split_sizes", "the sizes do not add up to the axis");
    for (int64_t size : sizes) {
        c.results.push_back(c.Type("x"));
        c.results.back().dims[static_cast<size_t>(axis)] = size;
    }
    return true;
}

Step PlanSplit(PlanContext& p) {
    int64_t axis = 0;
    p.Axis("axis", 0, p.Type("x").rank(), &axis);
    const Dims from = DenseStrides(p.Dims("x"));
    std::vector<std::pair<StridedCopy, Ref>> parts;
    int64_t at = 0;
    for (size_t i = 0; i < p.node().results.size(); ++i) {
        const Dims& dims = p.OutType(i).dims;
        parts.emplace_back(StridedCopy(Bytes(p.OutType(i)), dims, from, DenseStrides(dims),
                                       at * from[static_cast<size_t>(axis)]),
                           p.Out(i));
        at += dims[static_cast<size_t>(axis)];
    }
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref x = p.In("x");
    return [=](const Run& run) {
        for (const auto& [copy, to] : parts) {
            copy.Run(*kernels, pool, run.At<uint8_t>(x), run.At<uint8_t>(to));
        }
    };
}

// ---- Depth and space ----

bool InferShuffle(OpContext& c, const char* argument, bool to_space) {
    TensorType out = c.Type("x");
    const int64_t block = c.Int(argument, 0);
    if (out.rank() != 4) return c.Fail(Rule::kShapes, "x must have rank 4 [N, C, H, W]");
    if (block < 1 || block > 1024) return c.BadValue(argument, "it must be 1 to 1024");
    if (!CheckBlock(c, argument, block)) return false;
    Dims& d = out.dims;
    const bool fits =
        to_space ? d[1] % (block * block) == 0 : d[2] % block == 0 && d[3] % block == 0;
    if (!fits) return c.BadValue(argument, "it does not divide the axes of " + ToString(out));
    d[1] = to_space ? d[1] / (block * block) : d[1] * block * block;
    d[2] = to_space ? d[2] * block : d[2] / block;
    d[3] = to_space ? d[3] * block : d[3] / block;
    c.results.push_back(std::move(out));
    return true;
}
bool InferDepthToSpace(OpContext& c) { return InferShuffle(c, "block_size", true); }
bool InferSpaceToDepth(OpContext& c) { return InferShuffle(c, "block_size", false); }
bool InferPixelShuffle(OpContext& c) { return InferShuffle(c, "upscale_factor", true); }
bool InferPixelUnshuffle(OpContext& c) { return InferShuffle(c, "downscale_factor", false); }

// Both directions walk [N, c, bi, bj, h, w], where c, h, w are extents of the deep side without the
// blocks. In depth_to_space the block indices lead the channels (DCR); in pixel_shuffle they follow
// (CRD).
Step PlanShuffle(PlanContext& p, int64_t b, bool to_space, bool block_leads) {
    const TensorType& deep = to_space ? p.Type("x") : p.OutType();
    const TensorType& flat = to_space ? p.OutType() : p.Type("x");
    const Dims ds = DenseStrides(deep.dims), fs = DenseStrides(flat.dims);
    const int64_t c = deep.dims[1] / (b * b);
    const Dims walk{deep.dims[0], c, b, b, deep.dims[2], deep.dims[3]};
    const Dims deep_strides = block_leads
                                  ? Dims{ds[0], ds[1], ds[1] * b * c, ds[1] * c, ds[2], ds[3]}
                                  : Dims{ds[0], ds[1] * b * b, ds[1] * b, ds[1], ds[2], ds[3]};
    const Dims flat_strides{fs[0], fs[1], fs[2], fs[3], fs[2] * b, fs[3] * b};
    return CopyStep(p,
                    to_space ? StridedCopy(2, walk, deep_strides, flat_strides)
                             : StridedCopy(2, walk, flat_strides, deep_strides),
                    p.In("x"), p.Out());
}
Step PlanDepthToSpace(PlanContext& p) { return PlanShuffle(p, p.Int("block_size", 1), true, true); }
Step PlanSpaceToDepth(PlanContext& p) {
    return PlanShuffle(p, p.Int("block_size", 1), false, true);
}
Step PlanPixelShuffle(PlanContext& p) {
    return PlanShuffle(p, p.Int("upscale_factor", 1), true, false);
}
Step PlanPixelUnshuffle(PlanContext& p) {
    return PlanShuffle(p, p.Int("downscale_factor", 1), false, false);
}

constexpr NumericClass kExact = NumericClass::kBitExact;

const OpDef kOps[] = {
    {"transpose", "x:a,perm:i!", kExact, kJoins, InferTranspose, PlanTranspose, ViewTranspose},
    {"reverse", "x:a,axes:i?!", kExact, kPlain, InferReverse, PlanReverse},
    {"tile", "x:a,reps:i!", kExact, kPlain, InferTile, PlanTile},
    {"concat", "values*:a,axis:n!,interleave:b?!", kExact, kJoins, InferConcat, PlanConcat},
    {"stack", "values*:a,axis:n!", kExact, kPlain, InferStack, PlanStack},
    {"split", "x:a,num_splits:n?!,split_sizes:i?!,axis:n!", kExact, kPlain, InferSplit, PlanSplit},
    {"depth_to_space", "x,block_size:n!", kExact, kPlain, InferDepthToSpace, PlanDepthToSpace},
    {"space_to_depth", "x,block_size:n!", kExact, kPlain, InferSpaceToDepth, PlanSpaceToDepth},
    {"pixel_shuffle", "x,upscale_factor:n!", kExact, kPlain, InferPixelShuffle, PlanPixelShuffle},
    {"pixel_unshuffle", "x,downscale_factor:n!", kExact, kPlain, InferPixelUnshuffle,
     PlanPixelUnshuffle},
};

}  // namespace

OpTable ShapeOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
