// SPDX-License-Identifier: Apache-2.0
// A channel is copied into a padded plane, so that every tap of all its outputs lies at one offset:
// output i, counted along the padded rows, is the sum of plane[offsets[t] + i]. What is computed
// for the padding between two rows is left behind. With a stride the plane is kept as one plane for
// each remainder of row and column, in which neighbours are a stride apart.
#include "device/software/ops/depthwise.h"

#include <algorithm>
#include <cstring>

namespace jax_ane::software {
namespace {

class PaddedPlane {
  public:
    explicit PaddedPlane(const Window& w) : window_(w) {
        for (int axis : {0, 1}) {
            const int64_t needed = (w.out[axis] - 1) * w.stride[axis] + w.span(axis);
            extent_[axis] = (needed + w.stride[axis] - 1) / w.stride[axis];
        }
    }

    int64_t row_length() const { return extent_[1]; }
    // Elements of the outputs with the padding between their rows.
    int64_t outputs() const { return (window_.out[0] - 1) * extent_[1] + window_.out[1]; }
    int64_t elements() const {
        return window_.stride[0] * window_.stride[1] * extent_[0] * extent_[1] + kTapSlack;
    }

    std::vector<int64_t> TapOffsets() const {
        std::vector<int64_t> offsets;
        for (int64_t i = 0; i < window_.kernel[0]; ++i) {
            for (int64_t j = 0; j < window_.kernel[1]; ++j) {
                offsets.push_back(At(i * window_.dilation[0], j * window_.dilation[1]));
            }
        }
        return offsets;
    }

    // Fills `plane`, whose padding is zero already; returns the largest magnitude's bits.
    uint16_t Fill(const Half* x, Half* plane) const {
        const int64_t last = extent_[0] * window_.stride[0] - window_.before[0];
        const int64_t rows = std::min(window_.in[0], last);
        for (int64_t h = std::max<int64_t>(0, -window_.before[0]); h < rows; ++h) {
            FillRow(x + h * window_.in[1], h, plane);
        }
        int16_t largest = 0;
        for (int64_t i = 0; i < window_.in[0] * window_.in[1]; ++i) {
            largest = std::max(largest, static_cast<int16_t>(x[i] & 0x7FFF));
        }
        return static_cast<uint16_t>(largest);
    }

  private:
    // Where an element of the padded input lies.
    int64_t At(int64_t row, int64_t column) const {
        const int64_t* s = window_.stride;
        const int64_t part = row % s[0] * s[1] + column % s[1];
        return (part * extent_[0] + row / s[0]) * extent_[1] + column / s[1];
    }

    void FillRow(const Half* from, int64_t h, Half* plane) const {
        const int64_t stride = window_.stride[1], before = window_.before[1];
        const int64_t end = std::min(window_.in[1], extent_[1] * stride - before);
        for (int64_t part = 0; part < stride; ++part) {
            // The first column of the input that belongs to this part.
            const int64_t first = ((part - before) % stride + stride) % stride;
            if (first >= end) continue;
            Half* to = plane + At(h + window_.before[0], first + before);
            if (stride == 1) {
                std::memcpy(to, from, static_cast<size_t>(end) * sizeof(Half));
            } else {
                for (int64_t c = first; c < end; c += stride) *to++ = from[c];
            }
        }
    }

    Window window_;
    int64_t extent_[2];
};

}  // namespace

bool IsDepthwise(const ConvShape& s) {
    const Window& w = s.window;
    return s.groups > 1 && s.groups == s.in_channels && w.kernel[0] * w.kernel[1] <= kMaxTaps;
}

Step PlanDepthwise(PlanContext& p, const ConvShape& s, Ref weight) {
    const Window w = s.window;
    const PaddedPlane plane(w);
    const TapSumFn kernel = p.kernels().tap_sum[p.mode_index()];
    const int64_t multiplier = s.out_channels / s.groups, taps = w.kernel[0] * w.kernel[1];
    const bool in_place = plane.row_length() == w.out[1];
    const int64_t held = plane.elements() + (in_place ? 0 : plane.outputs());
    const Ref scratch = p.Scratch(static_cast<size_t>(held * p.threads()) * sizeof(Half));
    const bool has_bias = p.Has("bias");
    const Ref bias = has_bias ? p.In("bias") : Ref{};
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    const int64_t planes = s.batch * s.groups, groups = s.groups;
    const int64_t work = plane.outputs() * taps * multiplier;
    const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 17) / work);
    return [=, offsets = plane.TapOffsets()](const Run& run) {
        const int64_t in_plane = w.in[0] * w.in[1], out_plane = w.out[0] * w.out[1];
        ParallelFor(pool, planes, grain, [&](int64_t begin, int64_t end, int slot) {
            Half* padded = run.At<Half>(scratch) + slot * held;
            Half* sums = padded + plane.elements();
            std::memset(padded, 0, static_cast<size_t>(plane.elements()) * sizeof(Half));
            for (int64_t i = begin; i < end; ++i) {
                TapSumArgs args;
                args.x = padded;
                args.max_bits = plane.Fill(run.At<Half>(x) + i * in_plane, padded);
                args.offsets = offsets.data();
                args.taps = taps;
                args.n = plane.outputs();
                for (int64_t j = 0; j < multiplier; ++j) {
                    const int64_t channel = i % groups * multiplier + j;
                    Half* to = run.At<Half>(out) + (i * multiplier + j) * out_plane;
                    args.weights = run.At<Half>(weight) + channel * taps;
                    args.bias = has_bias ? run.At<Half>(bias)[channel] : Half{0};
                    args.out = in_place ? to : sums;
                    kernel(args);
                    if (in_place) continue;
                    for (int64_t row = 0; row < w.out[0]; ++row) {
                        std::memcpy(to + row * w.out[1], sums + row * plane.row_length(),
                                    static_cast<size_t>(w.out[1]) * sizeof(Half));
                    }
                }
            }
        });
    };
}

}  // namespace jax_ane::software
