// SPDX-License-Identifier: Apache-2.0
// Small helpers of the parser: whether a literal fits its type, and how a token is quoted in a
// message.
#pragma once

#include <string>

#include "device/software/mil/ast.h"
#include "device/software/mil/lexer.h"

namespace jax_ane::software::mil {

// Whether a type can hold a literal's number (floats round, so any finite number will do there).
bool FitsType(const Scalar& s, DType dtype);

// Printable ASCII whatever the text holds, at most 60 bytes of it.
std::string Quoted(const Token& token);

}  // namespace jax_ane::software::mil
