// SPDX-License-Identifier: Apache-2.0
// Conversion at a program's border, row by row; packed layouts are one long row.
#include "runtime/convert.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>

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

constexpr int64_t kPiece = 1024;  // elements that are scaled at a time

// As WriteRow, times a power of two.
void WriteScaledRow(const HostArray& array, int64_t offset, int64_t count, float scale, Half* out,
                    const software::KernelTable& kernels) {
    float piece[kPiece];
    for (int64_t i = 0; i < count; i += kPiece) {
        const int64_t n = std::min(kPiece, count - i);
        if (array.type == HostType::kFloat32) {
            std::memcpy(piece, static_cast<const float*>(array.data) + offset + i,
                        static_cast<size_t>(n) * sizeof(float));
        } else {
            kernels.half_to_float(static_cast<const Half*>(array.data) + offset + i, piece, n);
        }
        for (int64_t j = 0; j < n; ++j) piece[j] *= scale;
        kernels.float_to_half(piece, out + i, n);
    }
}

// As ReadRow, times a power of two.
void ReadScaledRow(const Half* in, int64_t count, float scale, const HostArray& array,
                   int64_t offset, const software::KernelTable& kernels) {
    float piece[kPiece];
    for (int64_t i = 0; i < count; i += kPiece) {
        const int64_t n = std::min(kPiece, count - i);
        kernels.half_to_float(in + i, piece, n);
        for (int64_t j = 0; j < n; ++j) piece[j] *= scale;
        if (array.type == HostType::kFloat32) {
            std::memcpy(static_cast<float*>(array.data) + offset + i, piece,
                        static_cast<size_t>(n) * sizeof(float));
        } else {
            kernels.float_to_half(piece, static_cast<Half*>(array.data) + offset + i, n);
        }
    }
}

void WriteRow(const HostArray& array, int64_t offset, int64_t count, Half* out,
              const software::KernelTable& kernels) {
    switch (array.type) {
        case HostType::kFloat32:
            kernels.float_to_half(static_cast<const float*>(array.data) + offset, out, count);
            break;
        case HostType::kFloat16:
            std::memcpy(out, static_cast<const Half*>(array.data) + offset, count * sizeof(Half));
            break;
        case HostType::kPred: {
            const auto* mask = static_cast<const uint8_t*>(array.data) + offset;
            for (int64_t i = 0; i < count; ++i) out[i] = mask[i] ? kHalfOne : Half{0};
            break;
        }
    }
}

void ReadRow(const Half* in, int64_t count, const HostArray& array, int64_t offset,
             const software::KernelTable& kernels) {
    switch (array.type) {
        case HostType::kFloat32:
            kernels.half_to_float(in, static_cast<float*>(array.data) + offset, count);
            break;
        case HostType::kFloat16:
            std::memcpy(static_cast<Half*>(array.data) + offset, in, count * sizeof(Half));
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
    const bool scaled = scale != 1 && array.type != HostType::kPred;
    ForEachRun(engine.pool.get(), rows, [&](int64_t byte, int64_t element, int64_t count) {
        auto* out = reinterpret_cast<Half*>(static_cast<char*>(surface) + byte);
        if (scaled) {
            WriteScaledRow(array, element, count, scale, out, kernels);
        } else {
            WriteRow(array, element, count, out, kernels);
        }
    });
    return Status();
}

Status ReadSurface(const software::Engine& engine, const void* surface,
                   const device::BoundaryTensor& tensor, const HostArray& array, float scale) {
    JAX_ANE_ASSIGN_OR_RETURN(Rows rows, RowsOf(tensor, array));
    const software::KernelTable& kernels = *engine.kernels;
    const bool scaled = scale != 1 && array.type != HostType::kPred;
    ForEachRun(engine.pool.get(), rows, [&](int64_t byte, int64_t element, int64_t count) {
        const auto* in = reinterpret_cast<const Half*>(static_cast<const char*>(surface) + byte);
        if (scaled) {
            ReadScaledRow(in, count, scale, array, element, kernels);
        } else {
            ReadRow(in, count, array, element, kernels);
        }
    });
    return Status();
}

namespace {

// The largest magnitude of n numbers as bits, in which infinities and NaN are largest of all.
template <typename Bits>
Bits LargestBits(const Bits* values, int64_t n) {
    constexpr Bits kMagnitude = std::numeric_limits<Bits>::max();
    Bits largest = 0;
    for (int64_t i = 0; i < n; ++i) {
        largest = std::max(largest, static_cast<Bits>(values[i] & kMagnitude));
    }
    return largest;
}

// The same over several threads.
template <typename Bits>
Bits LargestBits(ThreadPool* pool, const void* data, int64_t n) {
    std::atomic<Bits> largest{0};
    ParallelFor(pool, n, kGrain, [&](int64_t begin, int64_t end, int) {
        const Bits found = LargestBits(static_cast<const Bits*>(data) + begin, end - begin);
        Bits seen = largest.load(std::memory_order_relaxed);
        while (seen < found && !largest.compare_exchange_weak(seen, found)) continue;
    });
    return largest.load();
}

}  // namespace

float LargestMagnitude(const software::Engine& engine, const HostArray& array) {
    ThreadPool* pool = engine.pool.get();
    switch (array.type) {
        case HostType::kFloat32:
            return std::bit_cast<float>(LargestBits<int32_t>(pool, array.data, array.elements));
        case HostType::kFloat16:
            return HalfToFloat(
                static_cast<Half>(LargestBits<int16_t>(pool, array.data, array.elements)));
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
        const auto* row =
            reinterpret_cast<const int16_t*>(static_cast<const char*>(surface) + byte);
        if (LargestBits(row, count) >= 0x7C00) found.store(true, std::memory_order_relaxed);
    });
    return found.load();
}

}  // namespace jax_ane::runtime
