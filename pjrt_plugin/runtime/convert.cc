// SPDX-License-Identifier: Apache-2.0
// Conversion at a program's border, row by row; packed layouts are one long row.
#include "runtime/convert.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "util/half.h"

namespace jax_ane::runtime {

namespace {

constexpr int64_t kGrain = 128 * 1024;  // elements a chunk: below this one thread is quicker

struct Rows {
    int64_t count;
    int64_t width;
    int64_t stride;  // bytes between rows of the surface
};

// Rows of a tensor. A layout without padding is cut into equal long pieces instead.
StatusOr<Rows> RowsOf(const device::BoundaryTensor& tensor, const HostArray& array) {
    if (tensor.type != device::ElementType::kFp16) {
        return Internal("tensor " + tensor.name + " is not fp16");
    }
    int64_t rows = tensor.planes * tensor.height;
    if (rows * tensor.width != array.elements) {
        return Internal("tensor " + tensor.name + " has " + std::to_string(rows * tensor.width) +
                        " elements, the array " + std::to_string(array.elements));
    }
    if (tensor.plane_stride != tensor.height * tensor.row_stride) {
        return Internal("tensor " + tensor.name + " has gaps between its planes");
    }
    return Rows{rows, tensor.width, tensor.row_stride};
}

constexpr int64_t kPiece = 1024;  // fp16 elements that are scaled at a time

// fp16 to fp16, by way of float32.
void ScaleHalves(const Half* in, int64_t count, float scale, Half* out,
                 const software::KernelTable& kernels) {
    float piece[kPiece];
    for (int64_t i = 0; i < count; i += kPiece) {
        const int64_t n = std::min(kPiece, count - i);
        kernels.half_to_float(in + i, piece, n, scale);
        kernels.float_to_half(piece, out + i, n, 1);
    }
}

void CopyHalves(const Half* in, int64_t count, float scale, Half* out,
                const software::KernelTable& kernels) {
    if (scale == 1) {
        std::memcpy(out, in, static_cast<size_t>(count) * sizeof(Half));
    } else {
        ScaleHalves(in, count, scale, out, kernels);
    }
}

// Masks are not scaled.
void WriteRow(const HostArray& array, int64_t offset, int64_t count, float scale, Half* out,
              const software::KernelTable& kernels) {
    switch (array.type) {
        case HostType::kFloat32:
            kernels.float_to_half(static_cast<const float*>(array.data) + offset, out, count,
                                  scale);
            break;
        case HostType::kFloat16:
            CopyHalves(static_cast<const Half*>(array.data) + offset, count, scale, out, kernels);
            break;
        case HostType::kPred: {
            const auto* mask = static_cast<const uint8_t*>(array.data) + offset;
            for (int64_t i = 0; i < count; ++i) out[i] = mask[i] ? kHalfOne : Half{0};
            break;
        }
    }
}

void ReadRow(const Half* in, int64_t count, float scale, const HostArray& array, int64_t offset,
             const software::KernelTable& kernels) {
    switch (array.type) {
        case HostType::kFloat32:
            kernels.half_to_float(in, static_cast<float*>(array.data) + offset, count, scale);
            break;
        case HostType::kFloat16:
            CopyHalves(in, count, scale, static_cast<Half*>(array.data) + offset, kernels);
            break;
        case HostType::kPred: {
            auto* mask = static_cast<uint8_t*>(array.data) + offset;
            for (int64_t i = 0; i < count; ++i) mask[i] = (in[i] & 0x7FFF) != 0;
            break;
        }
    }
}

// Calls fn(surface byte offset, array element offset, count) for runs of elements that are
// contiguous on both sides.
template <typename Fn>
void ForEachRun(ThreadPool* pool, const Rows& rows, Fn&& fn) {
    bool packed = rows.stride == rows.width * static_cast<int64_t>(sizeof(Half));
    if (packed) {
        ParallelFor(pool, rows.count * rows.width, kGrain,
                    [&](int64_t begin, int64_t end, int) { fn(begin * 2, begin, end - begin); });
        return;
    }
    int64_t grain = std::max<int64_t>(1, kGrain / rows.width);
    ParallelFor(pool, rows.count, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r) fn(r * rows.stride, r * rows.width, rows.width);
    });
}

}  // namespace

Status WriteSurface(const software::Engine& engine, const HostArray& array,
                    const device::BoundaryTensor& tensor, void* surface, float scale) {
    JAX_ANE_ASSIGN_OR_RETURN(Rows rows, RowsOf(tensor, array));
    const software::KernelTable& kernels = *engine.kernels;
    ForEachRun(engine.pool.get(), rows, [&](int64_t byte, int64_t element, int64_t count) {
        auto* out = reinterpret_cast<Half*>(static_cast<char*>(surface) + byte);
        WriteRow(array, element, count, scale, out, kernels);
    });
    return Status();
}

Status ReadSurface(const software::Engine& engine, const void* surface,
                   const device::BoundaryTensor& tensor, const HostArray& array, float scale) {
    JAX_ANE_ASSIGN_OR_RETURN(Rows rows, RowsOf(tensor, array));
    const software::KernelTable& kernels = *engine.kernels;
    ForEachRun(engine.pool.get(), rows, [&](int64_t byte, int64_t element, int64_t count) {
        const auto* in = reinterpret_cast<const Half*>(static_cast<const char*>(surface) + byte);
        ReadRow(in, count, scale, array, element, kernels);
    });
    return Status();
}

namespace {

// The largest of what `largest(begin, end)` says of pieces, over several threads.
template <typename Bits, typename Largest>
Bits LargestBits(ThreadPool* pool, int64_t n, Largest&& largest) {
    std::atomic<Bits> seen{0};
    ParallelFor(pool, n, kGrain, [&](int64_t begin, int64_t end, int) {
        const Bits found = largest(begin, end - begin);
        Bits old = seen.load(std::memory_order_relaxed);
        while (old < found && !seen.compare_exchange_weak(old, found)) continue;
    });
    return seen.load();
}

}  // namespace

float LargestMagnitude(const software::Engine& engine, const HostArray& array) {
    ThreadPool* pool = engine.pool.get();
    const software::KernelTable& kernels = *engine.kernels;
    switch (array.type) {
        case HostType::kFloat32: {
            const auto* data = static_cast<const float*>(array.data);
            return std::bit_cast<float>(
                LargestBits<uint32_t>(pool, array.elements, [&](int64_t begin, int64_t count) {
                    return kernels.largest_float(data + begin, count);
                }));
        }
        case HostType::kFloat16: {
            const auto* data = static_cast<const Half*>(array.data);
            return HalfToFloat(
                LargestBits<uint16_t>(pool, array.elements, [&](int64_t begin, int64_t count) {
                    return kernels.largest_half(data + begin, count);
                }));
        }
        case HostType::kPred:
            break;
    }
    return 0;
}

bool HasInfinity(const software::Engine& engine, const void* surface,
                 const device::BoundaryTensor& tensor) {
    // Row by row: what lies between rows is anything.
    std::atomic<bool> found{false};
    const int64_t rows = tensor.planes * tensor.height;
    const Rows layout{rows, tensor.width, tensor.row_stride};
    ForEachRun(engine.pool.get(), layout, [&](int64_t byte, int64_t, int64_t count) {
        const auto* row = reinterpret_cast<const Half*>(static_cast<const char*>(surface) + byte);
        if (engine.kernels->largest_half(row, count) >= 0x7C00) {
            found.store(true, std::memory_order_relaxed);
        }
    });
    return found.load();
}

}  // namespace jax_ane::runtime
