// SPDX-License-Identifier: Apache-2.0
// MIL text to a syntax tree. The text may be hostile: nesting, sizes and counts are bounded before
// memory is taken.
#pragma once

#include <optional>
#include <string_view>

#include "device/software/mil/ast.h"

namespace jax_ane::software::mil {

inline constexpr size_t kMaxTextBytes = size_t{256} << 20;
inline constexpr int kMaxNesting = 32;
inline constexpr int kMaxDims = 16;
inline constexpr int64_t kMaxElements = int64_t{1} << 31;

// Stops at the first error, which is appended to `findings`.
std::optional<Program> Parse(std::string_view text, Findings* findings);

}  // namespace jax_ane::software::mil
