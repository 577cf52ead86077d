// SPDX-License-Identifier: Apache-2.0
// Every unary operation on fp16 as a table of its 65,536 results, made once a process for each set
// of parameters.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "device/software/kernels/kernels.h"

namespace jax_ane::software {

using UnaryTable = std::array<Half, 65536>;

// What a unary operation depends on beside its operand.
struct UnaryParameters {
    double alpha =
        0;  // leaky_relu, elu, clip's minimum, epsilon of rsqrt, log and inverse, pow's exponent
    double beta = 0;  // clip's maximum
    bool late_softplus =
        false;  // H17 and later: softplus collapses at ln 65504, before at ln 32768
    bool operator==(const UnaryParameters&) const = default;
};

// The operation's result for one operand: the chip's bits (exact), or float32 and ties to even
// (fast).
using UnaryFunction = Half (*)(Half x, const UnaryParameters& parameters);

// Null when `op` is not a unary operation. `op` is MIL's name.
UnaryFunction FindUnary(std::string_view op, NumericsMode mode);

// The fast mode's kernel for an operation and its two constants (kernels.h).
struct DirectUnary {
    UnaryFn kernel = nullptr;  // null: go by the table
    float a = 0, b = 0;
};
DirectUnary FindDirectUnary(std::string_view op, const UnaryParameters& parameters,
                            const KernelTable& kernels);

// The table of an operation; shared while anybody holds it. Thread-safe.
std::shared_ptr<const UnaryTable> GetUnaryTable(std::string_view op, NumericsMode mode,
                                                const UnaryParameters& parameters);

}  // namespace jax_ane::software
