// SPDX-License-Identifier: Apache-2.0
// Resizing of the last two axes: nearest and bilinear, by factors or to target sizes. Where samples
// lie follows MIL's documentation; the chip's own interpolation is not published (bounded), so a
// bilinear sample is exact and rounded once.
#include <algorithm>
#include <cmath>

#include "device/software/kernels/planar.h"
#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

// The samples of one axis: a blend of two elements each.
struct Grid {
    std::vector<int64_t> low, high;
    std::vector<double> fraction;
};

enum class Sampling { kDefault, kStrictAlign, kAlign, kOffset, kUnalign };

constexpr const char* kSamplingNames[] = {"DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS",
                                          "OFFSET_CORNERS", "UNALIGN_CORNERS"};

bool ReadSampling(OpContext& c, Sampling* sampling) {
    const std::string mode = c.String("sampling_mode", "DEFAULT");
    for (int i = 0; i < 5; ++i) {
        if (mode != kSamplingNames[i]) continue;
        *sampling = static_cast<Sampling>(i);
        return true;
    }
    return c.BadValue("sampling_mode", "\"" + mode + "\" is no sampling mode");
}

// Where sample `i` of `out` lies in an axis of `in` elements.
double GridPoint(Sampling sampling, int64_t i, int64_t in, int64_t out) {
    const double n = static_cast<double>(in), m = static_cast<double>(out);
    const double at = static_cast<double>(i);
    switch (sampling) {
        case Sampling::kDefault:
            return at * n / m;
        case Sampling::kStrictAlign:
            return out == 1 ? 0 : at * (n - 1) / (m - 1);
        case Sampling::kAlign:
            return out == 1 ? (n - 1) / 2 : at * (n - 1) / (m - 1);
        case Sampling::kOffset:
            return (at + 0.5) * std::max(1.0, n - 1) / m;
        case Sampling::kUnalign:
            return (at + 0.5) * n / m - 0.5;
    }
    return 0;
}

Grid MakeGrid(Sampling sampling, bool nearest, int64_t in, int64_t out) {
    Grid grid;
    for (int64_t i = 0; i < out; ++i) {
        const double last = static_cast<double>(in - 1);
        double point = std::clamp(GridPoint(sampling, i, in, out), 0.0, last);
        if (nearest) point = std::floor(sampling == Sampling::kDefault ? point : point + 0.5);
        const auto low = std::min(static_cast<int64_t>(point), in - 1);
        grid.low.push_back(low);
        grid.high.push_back(std::min(low + 1, in - 1));
        grid.fraction.push_back(point - static_cast<double>(low));
    }
    return grid;
}

double Blend(double a, double b, double fraction) {
    return fraction == 0 ? a : a + fraction * (b - a);
}

Step PlanGrids(PlanContext& p, Sampling sampling, bool nearest) {
    const std::vector<int64_t>& in = p.Dims("x");
    const std::vector<int64_t>& out = p.OutType().dims;
    const size_t h = in.size() - 2, w = in.size() - 1;
    const Grid rows = MakeGrid(sampling, nearest, in[h], out[h]);
    const Grid columns = MakeGrid(sampling, nearest, in[w], out[w]);
    const int64_t in_h = in[h], in_w = in[w], out_h = out[h], out_w = out[w];
    const int64_t planes = p.Type("x").elements() / (in_h * in_w);
    const Ref x = p.In("x"), result = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(result);
        const int64_t grain = std::max<int64_t>(1, 4096 / out_w);
        ParallelFor(pool, planes * out_h, grain, [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) {
                const auto i = static_cast<size_t>(r % out_h);
                const Half* top = from + (r / out_h * in_h + rows.low[i]) * in_w;
                const Half* bottom = from + (r / out_h * in_h + rows.high[i]) * in_w;
                for (int64_t j = 0; j < out_w; ++j) {
                    const auto c = static_cast<size_t>(j);
                    const int64_t low = columns.low[c], high = columns.high[c];
                    const double fw = columns.fraction[c], fh = rows.fraction[i];
                    if (fw == 0 && fh == 0) {
                        to[r * out_w + j] = top[low];
                        continue;
                    }
                    const double a = Blend(PlanarFloat(top[low]), PlanarFloat(top[high]), fw);
                    const double b = Blend(PlanarFloat(bottom[low]), PlanarFloat(bottom[high]), fw);
                    to[r * out_w + j] = DoubleToHalfAway(Blend(a, b, fh));
                }
            }
        });
    };
}

bool CheckRank(OpContext& c) {
    return c.Type("x").rank() >= 3 || c.Fail(Rule::kShapes, "x must have rank 3 or more");
}

// ---- by factors ----

bool InferScaled(OpContext& c) {
    if (!CheckRank(c)) return false;
    TensorType out = c.Type("x");
    for (size_t i = 0; i < 2; ++i) {
        const char* name = i == 0 ? "scale_factor_height" : "scale_factor_width";
        if (c.Has(name) && (!c.Value(name).constant || c.Type(name).elements() != 1 ||
                            c.Type(name).dtype == DType::kString)) {
            return c.BadValue(name, "it must be a number");
        }
        const double scale = c.Real(name, 1);
        int64_t& dim = out.dims[out.dims.size() - 2 + i];
        const double extent = std::floor(scale * static_cast<double>(dim));
        if (!(extent >= 1 && extent <= 1 << 24)) {
            return c.BadValue(name, std::to_string(scale) + " is out of range");
        }
        dim = static_cast<int64_t>(extent);
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanUpsampleNearest(PlanContext& p) {
    const std::vector<int64_t>& out = p.OutType().dims;
    const std::vector<int64_t>& in = p.Dims("x");
    const size_t rank = in.size();
    const int64_t h = in[rank - 2], w = in[rank - 1];
    if (out[rank - 2] % h != 0 || out[rank - 1] % w != 0) {
        return PlanGrids(p, Sampling::kDefault, true);
    }
    const int64_t sh = out[rank - 2] / h, sw = out[rank - 1] / w;
    const int64_t planes = p.Type("x").elements() / (h * w);
    const StridedCopy copy(2, {planes, h, sh, w, sw}, {h * w, w, 0, 1, 0},
                           {h * w * sh * sw, sh * w * sw, w * sw, sw, 1});
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref x = p.In("x"), to = p.Out();
    return
        [=](const Run& run) { copy.Run(*kernels, pool, run.At<uint8_t>(x), run.At<uint8_t>(to)); };
}

bool InferUpsampleBilinear(OpContext& c) {
    if (c.Bool("align_corners", true) && c.Bool("half_pixel_centers", false)) {
        return c.BadValue("half_pixel_centers", "it excludes align_corners");
    }
    return InferScaled(c);
}

Step PlanUpsampleBilinear(PlanContext& p) {
    const bool align = p.Bool("align_corners", true);
    if (align) return PlanGrids(p, Sampling::kStrictAlign, false);
    const bool half = p.Bool("half_pixel_centers", true);
    return PlanGrids(p, half ? Sampling::kUnalign : Sampling::kDefault, false);
}

// ---- to sizes ----

bool InferTarget(OpContext& c) {
    if (!CheckRank(c)) return false;
    TensorType out = c.Type("x");
    for (size_t i = 0; i < 2; ++i) {
        const char* name = i == 0 ? "target_size_height" : "target_size_width";
        const int64_t size = c.Int(name, 1);
        if (size < 1 || size > 1 << 24) {
            return c.BadValue(name, std::to_string(size) + " is out of range");
        }
        out.dims[out.dims.size() - 2 + i] = size;
    }
    c.results.push_back(std::move(out));
    return true;
}

bool InferBilinear(OpContext& c) {
    Sampling sampling;
    return ReadSampling(c, &sampling) && InferTarget(c);
}

Step PlanNearest(PlanContext& p) { return PlanGrids(p, Sampling::kDefault, true); }

Step PlanBilinear(PlanContext& p) {
    Sampling sampling = Sampling::kDefault;
    ReadSampling(p, &sampling);
    return PlanGrids(p, sampling, false);
}

// The last `resized_dims` numbers of `shape` are the new sizes; 0 keeps the operand's.
bool InferResize(OpContext& c) {
    Sampling sampling;
    if (!CheckRank(c) || !ReadSampling(c, &sampling)) return false;
    const std::string mode = c.String("interpolation_mode", "LINEAR");
    if (mode != "LINEAR" && mode != "NEAREST_NEIGHBOR") {
        return c.BadValue("interpolation_mode", "\"" + mode + "\" is no interpolation mode");
    }
    TensorType out = c.Type("x");
    const std::vector<int64_t> shape = c.Ints("shape");
    const int64_t count = c.Int("resized_dims", 0), rank = out.rank();
    const auto given = static_cast<int64_t>(shape.size());
    if (count < 1 || count > given || given > rank) {
        return c.BadValue("resized_dims",
                          "it must be 1 to the length of shape, and shape no "
                          "longer than x's rank");
    }
    for (int64_t i = 0; i < count; ++i) {
        const int64_t size = shape[static_cast<size_t>(given - count + i)];
        int64_t& dim = out.dims[static_cast<size_t>(rank - count + i)];
        if (size == 0 || size == dim) continue;
        if (size < 0 || size > 1 << 24) {
            return c.BadValue("shape", std::to_string(size) + " is out of range");
        }
        if (rank - count + i < rank - 2) {
            return c.BadValue("shape", "only the last two axes can be resized");
        }
        dim = size;
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanResize(PlanContext& p) {
    Sampling sampling = Sampling::kDefault;
    ReadSampling(p, &sampling);
    return PlanGrids(p, sampling, p.String("interpolation_mode", "LINEAR") != "LINEAR");
}

constexpr NumericClass kExact = NumericClass::kBitExact;
constexpr NumericClass kBounded = NumericClass::kBounded;

const OpDef kOps[] = {
    {"upsample_nearest_neighbor", "x,scale_factor_height:a?!,scale_factor_width:a?!", kExact,
     kPlain, InferScaled, PlanUpsampleNearest},
    {"upsample_bilinear",
     "x,scale_factor_height:a?!,scale_factor_width:a?!,align_corners:b?!,half_pixel_centers:b?!",
     kBounded, kPlain, InferUpsampleBilinear, PlanUpsampleBilinear},
    {"resize_nearest_neighbor", "x,target_size_height:n!,target_size_width:n!", kExact, kPlain,
     InferTarget, PlanNearest},
    {"resize_bilinear", "x,target_size_height:n?!,target_size_width:n?!,sampling_mode:s?!",
     kBounded, kPlain, InferBilinear, PlanBilinear},
    {"resize", "x,shape:i!,resized_dims:n!,interpolation_mode:s?!,sampling_mode:s?!", kBounded,
     kPlain, InferResize, PlanResize},
};

}  // namespace

OpTable ResizeOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
