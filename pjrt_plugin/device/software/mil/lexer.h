// SPDX-License-Identifier: Apache-2.0
// MIL text to tokens, one at a time. Positions count lines and columns (bytes) from 1.
#pragma once

#include <string>
#include <string_view>

#include "device/software/constraint_ids.h"

namespace jax_ane::software::mil {

enum class TokenKind { kIdentifier, kNumber, kString, kPunctuation, kArrow, kEnd, kError };

struct Token {
    TokenKind kind = TokenKind::kEnd;
    std::string_view text;  // for strings: without the quotes, escapes not resolved
    Position position;
};

class Lexer {
  public:
    explicit Lexer(std::string_view text) : text_(text) {}
    // After the end: kEnd for ever. After a bad character or string: kError, with error() telling
    // why.
    Token Next();
    const std::string& error() const { return error_; }

  private:
    void SkipSpace();
    void Advance(size_t count);
    Token Take(TokenKind kind, size_t length);
    Token TakeString();

    std::string_view text_;
    size_t at_ = 0;
    Position position_;
    std::string error_;
};

}  // namespace jax_ane::software::mil
