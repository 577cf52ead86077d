// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/strided_copy.h"

#include <algorithm>
#include <cstring>

namespace jax_ane::software {

std::vector<int64_t> DenseStrides(const std::vector<int64_t>& dims) {
    std::vector<int64_t> strides(dims.size(), 1);
    for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
    return strides;
}

StridedCopy::StridedCopy(size_t element_bytes, const std::vector<int64_t>& dims,
                         const std::vector<int64_t>& from_strides,
                         const std::vector<int64_t>& to_strides, int64_t from_offset,
                         int64_t to_offset)
    : bytes_(element_bytes), from_offset_(from_offset), to_offset_(to_offset) {
    std::vector<Axis> axes;
    for (size_t i = dims.size(); i-- > 0;) {
        const Axis axis{dims[i], from_strides[i], to_strides[i]};
        if (axis.extent == 1) continue;
        if (!axes.empty() && axis.from == axes.back().from * axes.back().extent &&
            axis.to == axes.back().to * axes.back().extent) {
            axes.back().extent *= axis.extent;
        } else {
            axes.push_back(axis);
        }
    }
    if (axes.empty()) return;
    inner_ = axes[0];
    outer_.assign(axes.rbegin(), axes.rend() - 1);
    for (size_t i = 0; i < outer_.size(); ++i) {
        rows_ *= outer_[i].extent;
        const bool pays = outer_[i].extent >= 4 && inner_.extent >= 4;
        if (bytes_ == 2 && inner_.to == 1 && inner_.from > 1 && outer_[i].from == 1 && pays) {
            transposed_ = static_cast<int>(i);
        }
    }
}

void StridedCopy::CopyRow(const uint8_t* from, uint8_t* to) const {
    const int64_t n = inner_.extent;
    if (inner_.from == 1 && inner_.to == 1) {
        std::memcpy(to, from, static_cast<size_t>(n) * bytes_);
    } else if (bytes_ == 2) {
        auto* source = reinterpret_cast<const Half*>(from);
        auto* target = reinterpret_cast<Half*>(to);
        for (int64_t i = 0; i < n; ++i) target[i * inner_.to] = source[i * inner_.from];
    } else {
        const auto size = static_cast<int64_t>(bytes_);
        for (int64_t i = 0; i < n; ++i) {
            std::memcpy(to + i * inner_.to * size, from + i * inner_.from * size, bytes_);
        }
    }
}

namespace {

// Rows of a size known at compile time: the usual channel counts become a few vector moves.
template <size_t kBytes>
void CopyFixedRows(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride,
                   int64_t rows) {
    for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(to + r * to_stride, from + r * from_stride, kBytes);
    }
}

}  // namespace

// `rows` neighbours along the innermost outer axis.
void StridedCopy::CopyRun(const uint8_t* from, uint8_t* to, int64_t rows) const {
    const auto size = static_cast<int64_t>(bytes_);
    const int64_t from_stride = outer_.empty() ? 0 : outer_.back().from * size;
    const int64_t to_stride = outer_.empty() ? 0 : outer_.back().to * size;
    if (inner_.from == 1 && inner_.to == 1) {
        switch (inner_.extent * size) {
            case 32:
                return CopyFixedRows<32>(from, from_stride, to, to_stride, rows);
            case 64:
                return CopyFixedRows<64>(from, from_stride, to, to_stride, rows);
            case 128:
                return CopyFixedRows<128>(from, from_stride, to, to_stride, rows);
            case 256:
                return CopyFixedRows<256>(from, from_stride, to, to_stride, rows);
            default:
                break;
        }
    }
    for (int64_t r = 0; r < rows; ++r) CopyRow(from + r * from_stride, to + r * to_stride);
}

void StridedCopy::RunRows(ThreadPool* pool, const uint8_t* from, uint8_t* to) const {
    const auto size = static_cast<int64_t>(bytes_);
    const int64_t grain = std::max<int64_t>(1, 65536 / inner_.extent);
    const int64_t neighbours = outer_.empty() ? 1 : outer_.back().extent;
    ParallelFor(pool, rows_, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end;) {
            int64_t rest = r, f = 0, t = 0;
            for (size_t i = outer_.size(); i-- > 0;) {
                const int64_t index = rest % outer_[i].extent;
                rest /= outer_[i].extent;
                f += index * outer_[i].from;
                t += index * outer_[i].to;
            }
            const int64_t run = std::min(end - r, neighbours - r % neighbours);
            CopyRun(from + f * size, to + t * size, run);
            r += run;
        }
    });
}

void StridedCopy::RunTransposes(const KernelTable& kernels, ThreadPool* pool, const Half* from,
                                Half* to) const {
    constexpr int64_t kColumns = 64;
    const auto flipped = static_cast<size_t>(transposed_);
    const Axis& columns = outer_[flipped];
    const int64_t blocks = (columns.extent + kColumns - 1) / kColumns;
    const int64_t count = rows_ / columns.extent * blocks;
    const int64_t grain = std::max<int64_t>(1, 65536 / (inner_.extent * kColumns));
    ParallelFor(pool, count, grain, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r) {
            const int64_t column = r % blocks * kColumns;
            int64_t rest = r / blocks, f = column * columns.from, t = column * columns.to;
            for (size_t i = outer_.size(); i-- > 0;) {
                if (i == flipped) continue;
                const int64_t index = rest % outer_[i].extent;
                rest /= outer_[i].extent;
                f += index * outer_[i].from;
                t += index * outer_[i].to;
            }
            kernels.transpose16(from + f, inner_.from, to + t, columns.to, inner_.extent,
                                std::min(kColumns, columns.extent - column));
        }
    });
}

void StridedCopy::Run(const KernelTable& kernels, ThreadPool* pool, const void* from,
                      void* to) const {
    const auto* source =
        static_cast<const uint8_t*>(from) + from_offset_ * static_cast<int64_t>(bytes_);
    auto* target = static_cast<uint8_t*>(to) + to_offset_ * static_cast<int64_t>(bytes_);
    if (transposed_ >= 0) {
        RunTransposes(kernels, pool, reinterpret_cast<const Half*>(source),
                      reinterpret_cast<Half*>(target));
    } else {
        RunRows(pool, source, target);
    }
}

}  // namespace jax_ane::software
