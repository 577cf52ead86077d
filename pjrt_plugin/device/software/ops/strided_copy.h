// SPDX-License-Identifier: Apache-2.0
// Copies between two strided walks of one shape: transposes, slices, concatenations, padding,
// tiles, reversals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/software/kernels/kernels.h"
#include "util/thread_pool.h"

namespace jax_ane::software {

// Built once at load. Strides and offsets count elements and may be negative or 0 (on the reading
// side).
class StridedCopy {
  public:
    StridedCopy(size_t element_bytes, const std::vector<int64_t>& dims,
                const std::vector<int64_t>& from_strides, const std::vector<int64_t>& to_strides,
                int64_t from_offset = 0, int64_t to_offset = 0);

    void Run(const KernelTable& kernels, ThreadPool* pool, const void* from, void* to) const;

  private:
    struct Axis {
        int64_t extent, from, to;
    };
    void CopyRow(const uint8_t* from, uint8_t* to) const;
    void CopyRun(const uint8_t* from, uint8_t* to, int64_t rows) const;
    void RunRows(ThreadPool* pool, const uint8_t* from, uint8_t* to) const;
    void RunTransposes(const KernelTable& kernels, ThreadPool* pool, const Half* from,
                       Half* to) const;

    size_t bytes_;
    int64_t from_offset_, to_offset_;
    std::vector<Axis> outer_;
    Axis inner_{1, 1, 1};
    int transposed_ = -1;  // the outer axis that is contiguous on the reading side, if that pays
    int64_t rows_ = 1;
};

// Row-major strides of a shape.
std::vector<int64_t> DenseStrides(const std::vector<int64_t>& dims);

}  // namespace jax_ane::software
