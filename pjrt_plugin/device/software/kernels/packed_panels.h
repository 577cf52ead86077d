// SPDX-License-Identifier: Apache-2.0
// A right-hand side packed once for repeated use: panels of 32 columns, [panel][k][32] fp16 with
// zeros beyond the last column, and before them the range of each panel's values. One layout for
// every instruction set and mode.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {

// Smallest exponent field of a non-zero operand (1 for subnormals) and largest magnitude of any, as
// fp16 bits without sign; the largest sum of squares of any column, rounded up.
struct PanelRange {
    uint16_t min_field = 64;
    uint16_t max_bits = 0;
    float max_square = 0;
};

class PackedPanels {
  public:
    static constexpr int64_t kColumns = 32;

    static int64_t Count(int64_t n) { return (n + kColumns - 1) / kColumns; }
    static size_t Bytes(int64_t n, int64_t k) {
        return HeaderBytes(n) + static_cast<size_t>(Count(n) * Stride(k)) * sizeof(Half);
    }

    // `memory` is Bytes(n, k) long and 64-byte aligned.
    PackedPanels(const void* memory, int64_t n, int64_t k)
        : ranges_(static_cast<const PanelRange*>(memory)),
          data_(reinterpret_cast<const Half*>(static_cast<const char*>(memory) + HeaderBytes(n))),
          stride_(Stride(k)) {}

    const PanelRange& range(int64_t panel) const { return ranges_[panel]; }
    const Half* panel(int64_t panel) const { return data_ + panel * stride_; }
    int64_t stride() const { return stride_; }  // elements between panels

  private:
    // An odd number of cache lines: panels that are read side by side must not meet in one set.
    static int64_t Stride(int64_t k) { return (k | 1) * kColumns; }
    static size_t HeaderBytes(int64_t n) {
        return (static_cast<size_t>(Count(n)) * sizeof(PanelRange) + 63) / 64 * 64;
    }

    const PanelRange* ranges_;
    const Half* data_;
    int64_t stride_;
};

}  // namespace jax_ane::software
