// SPDX-License-Identifier: Apache-2.0
// Strided copies: the innermost dimensions that are dense on both sides become one memcpy.
#include "pjrt/transfer.h"

#include <cstring>
#include <string>

namespace jax_ane::pjrt {
namespace {

template <size_t kBytes>
void CopyRow(const std::byte* source, int64_t source_stride, std::byte* target,
             int64_t target_stride, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        std::memcpy(target + i * target_stride, source + i * source_stride, kBytes);
    }
}

void CopyRow(const std::byte* source, int64_t source_stride, std::byte* target,
             int64_t target_stride, int64_t count, size_t bytes) {
    switch (bytes) {
        case 1:
            return CopyRow<1>(source, source_stride, target, target_stride, count);
        case 2:
            return CopyRow<2>(source, source_stride, target, target_stride, count);
        case 4:
            return CopyRow<4>(source, source_stride, target, target_stride, count);
        case 8:
            return CopyRow<8>(source, source_stride, target, target_stride, count);
        default:
            for (int64_t i = 0; i < count; ++i) {
                std::memcpy(target + i * target_stride, source + i * source_stride, bytes);
            }
    }
}

}  // namespace

Dims RowMajorStrides(const Dims& dims, int64_t element_bytes) {
    Dims strides(dims.size());
    int64_t stride = element_bytes;
    for (size_t i = dims.size(); i-- > 0;) {
        strides[i] = stride;
        stride *= dims[i];
    }
    return strides;
}

StatusOr<Dims> StridesOfLayout(const PJRT_Buffer_MemoryLayout* layout, const Dims& dims,
                               int64_t element_bytes) {
    if (!layout) return RowMajorStrides(dims, element_bytes);
    if (layout->type == PJRT_Buffer_MemoryLayout_Type_Strides) {
        if (layout->strides.num_byte_strides != dims.size()) {
            return InvalidArgument("a layout has " +
                                   std::to_string(layout->strides.num_byte_strides) +
                                   " strides for rank " + std::to_string(dims.size()));
        }
        return Dims(layout->strides.byte_strides, layout->strides.byte_strides + dims.size());
    }
    const PJRT_Buffer_MemoryLayout_Tiled& tiled = layout->tiled;
    if (tiled.num_tiles != 0) return Unimplemented("ane arrays have no tiled layouts");
    if (tiled.minor_to_major_size != dims.size()) {
        return InvalidArgument("a layout orders " + std::to_string(tiled.minor_to_major_size) +
                               " dimensions of rank " + std::to_string(dims.size()));
    }
    Dims strides(dims.size(), 0);
    std::vector<bool> seen(dims.size(), false);
    int64_t stride = element_bytes;
    for (size_t i = 0; i < dims.size(); ++i) {
        const int64_t dim = tiled.minor_to_major[i];
        if (dim < 0 || dim >= static_cast<int64_t>(dims.size()) || seen[dim]) {
            return InvalidArgument("a layout's minor_to_major is no permutation");
        }
        seen[dim] = true;
        strides[dim] = stride;
        stride *= dims[dim];
    }
    return strides;
}

void CopyStrided(const std::byte* source, const Dims& source_strides, std::byte* target,
                 const Dims& target_strides, const Dims& dims, size_t element_bytes) {
    for (int64_t dim : dims) {
        if (dim == 0) return;
    }
    size_t run = element_bytes;
    size_t rank = dims.size();
    while (rank > 0 &&
           (dims[rank - 1] == 1 || (source_strides[rank - 1] == static_cast<int64_t>(run) &&
                                    target_strides[rank - 1] == static_cast<int64_t>(run)))) {
        run *= dims[--rank];
    }
    if (rank == 0) {
        std::memcpy(target, source, run);
        return;
    }
    const size_t inner = rank - 1;
    Dims index(inner, 0);
    while (true) {
        CopyRow(source, source_strides[inner], target, target_strides[inner], dims[inner], run);
        size_t dim = inner;
        while (dim-- > 0) {
            source += source_strides[dim];
            target += target_strides[dim];
            if (++index[dim] < dims[dim]) break;
            source -= source_strides[dim] * dims[dim];
            target -= target_strides[dim] * dims[dim];
            index[dim] = 0;
        }
        if (dim == static_cast<size_t>(-1)) return;
    }
}

}  // namespace jax_ane::pjrt
