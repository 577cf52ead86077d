// SPDX-License-Identifier: Apache-2.0
// Walks broadcast operands row by row: merged axes, one inner row with steps 0 or 1.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace jax_ane::software {

// For up to three operands of a dense result. Built once at load.
class BroadcastLoop {
  public:
    static constexpr int kOperands = 3;
    // An operand's dims; its strides too, in elements, when it is not dense.
    struct Operand {
        const std::vector<int64_t>* dims;
        const std::vector<int64_t>* strides = nullptr;
    };
    BroadcastLoop(const std::vector<int64_t>& out, const std::vector<Operand>& operands);

    int step(int operand) const { return static_cast<int>(inner_[static_cast<size_t>(operand)]); }
    int64_t elements() const { return rows_ * row_; }

    // For elements [begin, end) of the result: fn(offsets of the operands, offset of the result,
    // how many), each within one row.
    template <typename Fn>
    void Run(int64_t begin, int64_t end, Fn&& fn) const {
        for (int64_t row = begin / row_, at = begin % row_; begin < end; ++row, at = 0) {
            const int64_t n = std::min(row_ - at, end - begin);
            std::array<int64_t, kOperands> offsets = Offsets(row);
            for (size_t o = 0; o < kOperands; ++o) offsets[o] += at * inner_[o];
            fn(offsets, begin, n);
            begin += n;
        }
    }

  private:
    std::array<int64_t, kOperands> Offsets(int64_t row) const;

    struct Axis {
        int64_t extent;
        std::array<int64_t, kOperands> stride;
    };
    std::vector<Axis> outer_;
    std::array<int64_t, kOperands> inner_{};
    int64_t rows_ = 1;
    int64_t row_ = 1;
};

}  // namespace jax_ane::software
