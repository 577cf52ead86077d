// SPDX-License-Identifier: Apache-2.0
// Sampling an image at computed places: affine transforms and grids of coordinates. The texture
// engine's own arithmetic is not published (bounded): places are float64, each sample is rounded
// once.
#include <algorithm>
#include <cmath>

#include "device/software/kernels/planar.h"
#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

enum class Outside { kConstant, kBorder, kReflection, kSymmetric };
enum class Coordinates { kPixels, kMinusOneToOne, kZeroToOne };

struct Sampler {
    int64_t height = 1, width = 1;
    bool nearest = false;
    Outside outside = Outside::kConstant;
    double padding = 0;
    Coordinates coordinates = Coordinates::kMinusOneToOne;
    bool align = true;
};

bool CheckTexture(OpContext& c) {
    return c.chip().texture_engine ||
           c.Fail(Rule::kChipTooOld, c.chip().name +
                                         " has no texture engine (M2 and later have): "
                                         "run it on the host");
}

// The element that stands at index `i` of an axis of `n`, or -1 for the padding value.
int64_t Wrap(Outside outside, int64_t i, int64_t n) {
    if (i >= 0 && i < n) return i;
    switch (outside) {
        case Outside::kConstant:
            return -1;
        case Outside::kBorder:
            return i < 0 ? 0 : n - 1;
        case Outside::kReflection: {
            if (n == 1) return 0;
            const int64_t period = 2 * (n - 1), at = ((i % period) + period) % period;
            return at < n ? at : period - at;
        }
        case Outside::kSymmetric: {
            const int64_t period = 2 * n, at = ((i % period) + period) % period;
            return at < n ? at : period - 1 - at;
        }
    }
    return -1;
}

double ToPixels(const Sampler& s, double v, int64_t extent) {
    const auto n = static_cast<double>(extent);
    double pixel = v;
    if (s.coordinates == Coordinates::kMinusOneToOne) {
        pixel = s.align ? (v + 1) / 2 * (n - 1) : ((v + 1) * n - 1) / 2;
    } else if (s.coordinates == Coordinates::kZeroToOne) {
        pixel = s.align ? v * (n - 1) : v * n - 0.5;
    }
    return std::clamp(pixel == pixel ? pixel : 0.0, -1e9, 1e9);
}

double At(const Sampler& s, const Half* plane, int64_t h, int64_t w) {
    const int64_t row = Wrap(s.outside, h, s.height), column = Wrap(s.outside, w, s.width);
    return row < 0 || column < 0 ? s.padding : PlanarFloat(plane[row * s.width + column]);
}

// The image at pixel coordinates (x, y).
Half Sample(const Sampler& s, const Half* plane, double x, double y) {
    if (s.nearest) {
        return DoubleToHalfAway(At(s, plane, static_cast<int64_t>(std::floor(y + 0.5)),
                                   static_cast<int64_t>(std::floor(x + 0.5))));
    }
    const auto w = static_cast<int64_t>(std::floor(x)), h = static_cast<int64_t>(std::floor(y));
    const double fx = x - static_cast<double>(w), fy = y - static_cast<double>(h);
    auto row = [&](int64_t r) {
        const double a = At(s, plane, r, w);
        return fx == 0 ? a : a + fx * (At(s, plane, r, w + 1) - a);
    };
    const double a = row(h);
    return DoubleToHalfAway(fy == 0 ? a : a + fy * (row(h + 1) - a));
}

bool ReadChoice(OpContext& c, const char* name, std::initializer_list<const char*> choices,
                int* choice) {
    const std::string given = c.String(name, "");
    int i = 0;
    for (const char* text : choices) {
        if (given == text) {
            *choice = i;
            return true;
        }
        ++i;
    }
    return c.BadValue(name, "\"" + given + "\" is none of its values");
}

bool ReadSampler(OpContext& c, Sampler* s) {
    int sampling, outside, coordinates;
    if (!ReadChoice(c, "sampling_mode", {"bilinear", "nearest"}, &sampling) ||
        !ReadChoice(c, "padding_mode", {"constant", "border", "reflection", "symmetric"},
                    &outside) ||
        !ReadChoice(c, "coordinates_mode",
                    {"unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"},
                    &coordinates)) {
        return false;
    }
    s->height = c.Dims("x")[2];
    s->width = c.Dims("x")[3];
    s->nearest = sampling == 1;
    s->outside = static_cast<Outside>(outside);
    s->padding = c.Real("padding_value", 0);
    s->coordinates = static_cast<Coordinates>(coordinates);
    s->align = c.Bool("align_corners", true);
    return true;
}

// Runs `place(batch, h, w, &x, &y)`, which gives pixel coordinates, for every output.
template <typename Place>
Step PlanSamples(PlanContext& p, const Sampler& s, const Place& place) {
    const std::vector<int64_t>& out = p.OutType().dims;
    const int64_t channels = out[1], height = out[2], width = out[3], batch = out[0];
    const Ref x = p.In("x"), to = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* target = run.At<Half>(to);
        ParallelFor(pool, batch * height, 1, [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) {
                const int64_t n = r / height, h = r % height;
                for (int64_t w = 0; w < width; ++w) {
                    double px, py;
                    place(run, n, h, w, &px, &py);
                    for (int64_t c = 0; c < channels; ++c) {
                        const int64_t plane = n * channels + c;
                        target[(plane * height + h) * width + w] =
                            Sample(s, from + plane * s.height * s.width, px, py);
                    }
                }
            }
        });
    };
}

bool InferResample(OpContext& c) {
    if (!CheckTexture(c)) return false;
    const std::vector<int64_t>& x = c.Dims("x");
    const std::vector<int64_t>& at = c.Dims("coordinates");
    if (x.size() != 4 || at.size() != 4 || at[0] != x[0] || at[3] != 2) {
        return c.Fail(Rule::kShapes, "x must be [B, C, H, W] and coordinates [B, H2, W2, 2], not " +
                                         ToString(c.Type("x")) + " and " +
                                         ToString(c.Type("coordinates")));
    }
    Sampler s;
    if (!ReadSampler(c, &s)) return false;
    c.results.push_back({DType::kFp16, {x[0], x[1], at[1], at[2]}});
    return true;
}

Step PlanResample(PlanContext& p) {
    Sampler s;
    ReadSampler(p, &s);
    const Ref coordinates = p.In("coordinates");
    const int64_t height = p.OutType().dims[2], width = p.OutType().dims[3];
    return PlanSamples(
        p, s, [=](const Run& run, int64_t n, int64_t h, int64_t w, double* x, double* y) {
            const Half* at = run.At<Half>(coordinates) + ((n * height + h) * width + w) * 2;
            *x = ToPixels(s, PlanarFloat(at[0]), s.width);
            *y = ToPixels(s, PlanarFloat(at[1]), s.height);
        });
}

bool InferAffine(OpContext& c) {
    if (!CheckTexture(c)) return false;
    const std::vector<int64_t>& x = c.Dims("x");
    const std::vector<int64_t>& m = c.Dims("transform_matrix");
    if (x.size() != 4 || m.size() != 2 || m[1] != 6 || (m[0] != 1 && m[0] != x[0])) {
        return c.Fail(Rule::kShapes,
                      "x must be [B, C, H, W] and transform_matrix [B or 1, 6], not " +
                          ToString(c.Type("x")) + " and " + ToString(c.Type("transform_matrix")));
    }
    Sampler s;
    if (!ReadSampler(c, &s)) return false;
    if (s.nearest || s.outside != Outside::kConstant || s.padding != 0 || !s.align ||
        s.coordinates != Coordinates::kMinusOneToOne) {
        return c.BadValue("sampling_mode",
                          "affine samples bilinear, pads with the constant 0, and aligns corners "
                          "of normalized_minus_one_to_one coordinates");
    }
    const int64_t height = c.Int("output_height", 0), width = c.Int("output_width", 0);
    if (height < 1 || width < 1 || height > 1 << 24 || width > 1 << 24) {
        return c.BadValue("output_height", "the output's size is out of range");
    }
    c.results.push_back({DType::kFp16, {x[0], x[1], height, width}});
    return true;
}

Step PlanAffine(PlanContext& p) {
    Sampler s;
    ReadSampler(p, &s);
    const Ref matrix = p.In("transform_matrix");
    const int64_t row = p.Dims("transform_matrix")[0] == 1 ? 0 : 6;
    const int64_t height = p.OutType().dims[2], width = p.OutType().dims[3];
    auto normal = [](int64_t i, int64_t n) {
        return n == 1 ? 0.0 : 2.0 * static_cast<double>(i) / static_cast<double>(n - 1) - 1;
    };
    return PlanSamples(
        p, s, [=](const Run& run, int64_t n, int64_t h, int64_t w, double* x, double* y) {
            const Half* m = run.At<Half>(matrix) + n * row;
            const double u = normal(w, width), v = normal(h, height);
            auto line = [&](int i) {
                return PlanarFloat(m[i]) * u + PlanarFloat(m[i + 1]) * v + PlanarFloat(m[i + 2]);
            };
            *x = ToPixels(s, line(0), s.width);
            *y = ToPixels(s, line(3), s.height);
        });
}

constexpr NumericClass kUnknown = NumericClass::kUnknown;

const OpDef kOps[] = {
    {"resample",
     "x,coordinates,sampling_mode:s!,padding_mode:s!,padding_value:r!,coordinates_mode:s!,"
     "align_corners:b!",
     kUnknown, kPlain, InferResample, PlanResample},
    {"affine",
     "x,transform_matrix,output_height:n!,output_width:n!,sampling_mode:s!,padding_mode:s!,"
     "padding_value:r!,coordinates_mode:s!,align_corners:b!",
     kUnknown, kPlain, InferAffine, PlanAffine},
};

}  // namespace

OpTable ResampleOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
