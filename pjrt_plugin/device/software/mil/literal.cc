// SPDX-License-Identifier: Apache-2.0
#include "device/software/mil/literal.h"

#include <cstdio>

namespace jax_ane::software::mil {

bool FitsType(const Scalar& s, DType dtype) {
    if (dtype == DType::kFp16 || dtype == DType::kFp32) return true;
    if (s.is_float) return false;
    const int bits = DTypeBits(dtype);
    const std::string_view name = DTypeName(dtype);
    if (dtype == DType::kBool) return s.integer == 0 || s.integer == 1;
    if (name[0] == 'u') {
        return s.integer >= 0 && (bits == 64 || s.integer < (int64_t{1} << bits));
    }
    const int64_t half = bits == 64 ? 0 : int64_t{1} << (bits - 1);
    return bits == 64 || (s.integer >= -half && s.integer < half);
}

std::string Quoted(const Token& token) {
    if (token.kind == TokenKind::kEnd) return "the end of the text";
    // Byte by byte, so that whatever the text holds the message is ASCII.
    std::string text = "'";
    for (const char c : token.text.substr(0, 60)) {
        if (c >= ' ' && c <= '~') {
            text += c;
        } else {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
            text += escaped;
        }
    }
    text += '\'';
    return text;
}

}  // namespace jax_ane::software::mil
