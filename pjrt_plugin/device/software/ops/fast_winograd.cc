// SPDX-License-Identifier: Apache-2.0
// F(2x2, 3x3): the weights are transformed and packed once; groups of tiles go to the threads, each
// transforming its input, multiplying at the 16 points and transforming back.
#include "device/software/ops/fast_winograd.h"

#include <algorithm>

#include "util/aligned_memory.h"

namespace jax_ane::software {
namespace {

constexpr int kPoints = 16;
constexpr int64_t kTaps = 9;
constexpr int64_t kFewestTiles = 48, kFewestChannels = 32;
constexpr int64_t kGroupBytes = 700 << 10;  // of transformed input and products, for the L2 cache

// U[point][channel, output] = G g G^T of each 3x3 kernel, rounded to fp16.
void TransformWeights(const GemmPlan& g, const Half* b, int64_t channels, Half* u) {
    constexpr float kG[4][3] = {{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}};
    for (int64_t c = 0; c < channels; ++c) {
        for (int64_t j = 0; j < g.n; ++j) {
            float kernel[3][3], half[4][3];
            for (int64_t t = 0; t < kTaps; ++t) {
                const int64_t at = (t * channels + c) * g.b_row_stride + j * g.b_column_stride;
                kernel[t / 3][t % 3] = HalfToFloat(b[at]);
            }
            for (int i = 0; i < 4; ++i) {
                for (int x = 0; x < 3; ++x) {
                    half[i][x] =
                        kG[i][0] * kernel[0][x] + kG[i][1] * kernel[1][x] + kG[i][2] * kernel[2][x];
                }
            }
            for (int i = 0; i < kPoints; ++i) {
                const float* row = half[i / 4];
                const float* f = kG[i % 4];
                u[(i * channels + c) * g.n + j] =
                    FloatToHalf(f[0] * row[0] + f[1] * row[1] + f[2] * row[2]);
            }
        }
    }
}

// Everything that an evaluation needs, fixed at load.
struct Form {
    GemmPlan g;
    WindowedProduct w;
    GemmKernel kernel;
    const KernelTable* kernels;
    ThreadPool* pool;
    size_t packed_bytes;  // of one point's weights
    int64_t group;        // tiles
    Ref scratch;
    size_t input_bytes, product_bytes, slot_bytes;
    std::vector<Half> zeros;
};

std::shared_ptr<const void> PackWeights(const Form& f, const Half* b) {
    const int64_t k = f.w.channels, n = f.g.n;
    std::vector<Half> u(static_cast<size_t>(kPoints * k * n));
    TransformWeights(f.g, b, k, u.data());
    std::shared_ptr<void> packed = AllocateAligned(f.packed_bytes * kPoints);
    if (packed == nullptr) return nullptr;
    for (int64_t i = 0; i < kPoints; ++i) {
        auto* to = static_cast<uint8_t*>(packed.get()) + static_cast<size_t>(i) * f.packed_bytes;
        f.kernel.pack_b({u.data() + i * k * n, n, 1}, n, k, to, f.pool);
    }
    return packed;
}

// The transformed weights of a vouched-for right side; null when nobody vouches for it.
const void* FindWeights(const Form& f, const Run& run) {
    device::SurfaceContents* contents = run.contents[f.g.b.base];
    if (contents == nullptr) return nullptr;
    static const char maker = 0;
    const int64_t offset = static_cast<int64_t>(f.g.b.offset) + f.g.b_offsets[0] * 2;
    const device::DerivedKey key{&maker,
                                 {f.g.n, f.g.k, f.g.b_row_stride, f.g.b_column_stride, offset}};
    if (const void* found = contents->Find(key)) return found;
    auto packed = PackWeights(f, run.At<Half>(f.g.b) + f.g.b_offsets[0]);
    if (packed == nullptr) return nullptr;
    return contents->Insert(key, std::move(packed), f.packed_bytes * kPoints);
}

struct Place {
    int64_t image, row, column;  // of the tile's first output
};

Place PlaceOf(const WindowedProduct& w, int64_t tile) {
    const int64_t row = tile / w.tiles_wide();
    return {row / w.tiles_high(), row % w.tiles_high() * 2, tile % w.tiles_wide() * 2};
}

void TransformInput(const Form& f, const Half* x, int64_t first, int64_t count, Half* v) {
    const WindowedProduct& w = f.w;
    for (int64_t t = 0; t < count; ++t) {
        const Place at = PlaceOf(w, first + t);
        const Half* pixels[kPoints];
        for (int64_t i = 0; i < kPoints; ++i) {
            const int64_t row = at.row + i / 4, column = at.column + i % 4;
            const bool inside = row < w.height + 2 && column < w.width + 2;
            pixels[i] = inside ? x + at.image * w.image_stride + row * w.row_stride +
                                     column * w.pixel_stride
                               : f.zeros.data();
        }
        f.kernels->winograd_input(pixels, w.channels, v + t * w.channels, f.group * w.channels);
    }
}

void TransformOutput(const Form& f, const float* m, int64_t first, int64_t count, Half* c) {
    const WindowedProduct& w = f.w;
    const int64_t n = f.g.n;
    for (int64_t t = 0; t < count; ++t) {
        const Place at = PlaceOf(w, first + t);
        Half* out[4];
        for (int64_t i = 0; i < 4; ++i) {
            const int64_t row = at.row + i / 2, column = at.column + i % 2;
            const bool inside = row < w.height && column < w.width;
            out[i] = inside ? c + ((at.image * w.height + row) * w.width + column) * n : nullptr;
        }
        f.kernels->winograd_output(m + t * n, f.group * n, n, out);
    }
}

void RunGroup(const Form& f, const Run& run, const void* weights, int64_t group, int slot) {
    auto* memory = run.At<uint8_t>(f.scratch) + static_cast<size_t>(slot) * f.slot_bytes;
    auto* v = reinterpret_cast<Half*>(memory);
    auto* m = reinterpret_cast<float*>(memory + f.input_bytes);
    const int64_t first = group * f.group, count = std::min(f.group, f.w.tiles() - first);
    TransformInput(f, run.At<Half>(f.g.a) + f.g.a_offsets[0] + f.w.first_tap, first, count, v);
    for (int64_t i = 0; i < kPoints; ++i) {
        GemmArgs args;
        args.m = count;
        args.n = f.g.n;
        args.k = f.w.channels;
        args.a = {v + i * f.group * f.w.channels, f.w.channels, 1};
        args.packed_b =
            static_cast<const uint8_t*>(weights) + static_cast<size_t>(i) * f.packed_bytes;
        args.raw = reinterpret_cast<int32_t*>(m + i * f.group * f.g.n);
        args.c_row_stride = f.g.n;
        args.scratch = memory + f.input_bytes + f.product_bytes;
        f.kernel.run(args);
    }
    TransformOutput(f, m, first, count, run.At<Half>(f.g.c));
}

size_t Rounded(int64_t bytes) { return (static_cast<size_t>(bytes) + 63) / 64 * 64; }

}  // namespace

std::optional<WindowedProduct> FindWindows(const GatheredRows& rows, int64_t outputs) {
    const size_t axes = rows.row_dims.size();
    if (axes < 2 || axes > 3 || rows.taps.size() != kTaps) return std::nullopt;
    WindowedProduct w;
    w.batch = axes == 3 ? rows.row_dims[0] : 1;
    w.image_stride = axes == 3 ? rows.row_strides[0] : 0;
    w.height = rows.row_dims[axes - 2];
    w.width = rows.row_dims[axes - 1];
    w.row_stride = rows.row_strides[axes - 2];
    w.pixel_stride = rows.row_strides[axes - 1];
    w.channels = rows.tap_length;
    w.first_tap = rows.taps[0];
    for (int64_t t = 0; t < kTaps; ++t) {
        const int64_t expected = w.first_tap + t / 3 * w.row_stride + t % 3 * w.pixel_stride;
        if (rows.taps[static_cast<size_t>(t)] != expected) return std::nullopt;
    }
    const bool pays = w.tiles() >= kFewestTiles && w.channels >= kFewestChannels &&
                      outputs >= kFewestChannels && w.pixel_stride >= w.channels;
    return pays ? std::optional(w) : std::nullopt;
}

Step PlanFastWinograd(PlanContext& p, const GemmPlan& plan, const WindowedProduct& windows,
                      Step plain) {
    auto form = std::make_shared<Form>();
    Form& f = *form;
    f.g = plan;
    f.w = windows;
    f.kernels = &p.kernels();
    f.kernel = f.kernels->gemm[p.mode_index()];
    f.pool = p.pool();
    f.packed_bytes =
        Rounded(static_cast<int64_t>(f.kernel.packed_b_bytes(plan.n, windows.channels)));
    const int64_t tile_bytes = kPoints * (2 * windows.channels + 4 * plan.n);
    const int64_t fair = (windows.tiles() + 2 * p.threads() - 1) / (2 * p.threads());
    f.group = std::clamp<int64_t>(kGroupBytes / tile_bytes, 48, 192);
    f.group = std::min(f.group, std::max<int64_t>(fair, 24));
    f.input_bytes = Rounded(kPoints * f.group * windows.channels * 2);
    f.product_bytes = Rounded(kPoints * f.group * plan.n * 4);
    f.slot_bytes =
        f.input_bytes + f.product_bytes +
        Rounded(static_cast<int64_t>(f.kernel.scratch_bytes(f.group, plan.n, windows.channels, 1)));
    f.scratch = p.Scratch(f.slot_bytes * static_cast<size_t>(p.threads()));
    f.zeros.assign(static_cast<size_t>(windows.channels), 0);
    std::shared_ptr<const void> held;
    if (plan.b.fixed != nullptr) {
        held = PackWeights(f, static_cast<const Half*>(plan.b.fixed) + plan.b_offsets[0]);
    }
    return [form, held, plain = std::move(plain)](const Run& run) {
        const Form& f = *form;
        const void* weights = held != nullptr ? held.get() : FindWeights(f, run);
        if (weights == nullptr) {
            plain(run);
            return;
        }
        const int64_t groups = (f.w.tiles() + f.group - 1) / f.group;
        ParallelFor(f.pool, groups, 1, [&](int64_t begin, int64_t end, int slot) {
            for (int64_t i = begin; i < end; ++i) RunGroup(f, run, weights, i, slot);
        });
    };
}

}  // namespace jax_ane::software
