// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/broadcast.h"

namespace jax_ane::software {

BroadcastLoop::BroadcastLoop(const std::vector<int64_t>& out,
                             const std::vector<Operand>& operands) {
    std::vector<Axis> axes;
    std::array<int64_t, kOperands> next{};
    next.fill(1);
    // From the last axis on; an axis joins the one inside it when every operand walks on evenly.
    for (size_t i = out.size(); i-- > 0;) {
        if (out[i] == 1) continue;
        Axis axis{out[i], {}};
        for (size_t o = 0; o < operands.size(); ++o) {
            const std::vector<int64_t>& dims = *operands[o].dims;
            const size_t missing = out.size() - dims.size();
            const int64_t extent = i < missing ? 1 : dims[i - missing];
            const auto* strides = operands[o].strides;
            axis.stride[o] = extent == 1 ? 0 : strides ? (*strides)[i - missing] : next[o];
            next[o] *= extent;
        }
        bool joins = !axes.empty();
        for (size_t o = 0; joins && o < operands.size(); ++o) {
            joins = axis.stride[o] == axes.back().stride[o] * axes.back().extent;
        }
        if (joins) {
            axes.back().extent *= axis.extent;
        } else {
            axes.push_back(axis);
        }
    }
    if (axes.empty()) return;
    row_ = axes[0].extent;
    inner_ = axes[0].stride;
    // An operand that has one element in this axis and others further out has inner stride 0; all
    // else is dense.
    outer_.assign(axes.rbegin(), axes.rend() - 1);
    for (const Axis& axis : outer_) rows_ *= axis.extent;
}

std::array<int64_t, BroadcastLoop::kOperands> BroadcastLoop::Offsets(int64_t row) const {
    std::array<int64_t, kOperands> at{};
    for (size_t i = outer_.size(); i-- > 0;) {
        const int64_t index = row % outer_[i].extent;
        row /= outer_[i].extent;
        for (size_t o = 0; o < kOperands; ++o) at[o] += index * outer_[i].stride[o];
    }
    return at;
}

}  // namespace jax_ane::software
