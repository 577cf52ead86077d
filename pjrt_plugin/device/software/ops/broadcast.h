// SPDX-License-Identifier: Apache-2.0
// Walks broadcast operands row by row: merged axes, one inner row with steps 0 or 1, split among
// threads.
#pragma once

#include <array>
#include <vector>

#include "util/thread_pool.h"

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

    // fn(offsets of the operands, offset of the result, elements of the row).
    template <typename Fn>
    void Run(ThreadPool* pool, Fn&& fn) const {
        constexpr int64_t kGrain = 32768;  // elements worth waking a thread for
        if (rows_ == 1) {
            ParallelFor(pool, row_, kGrain, [&](int64_t begin, int64_t end, int) {
                std::array<int64_t, kOperands> at{};
                for (size_t o = 0; o < kOperands; ++o) at[o] = begin * inner_[o];
                fn(at, begin, end - begin);
            });
            return;
        }
        const int64_t grain = row_ >= kGrain ? 1 : (kGrain + row_ - 1) / row_;
        ParallelFor(pool, rows_, grain, [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) fn(Offsets(r), r * row_, row_);
        });
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
