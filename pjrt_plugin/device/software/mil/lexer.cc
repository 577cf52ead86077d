// SPDX-License-Identifier: Apache-2.0
#include "device/software/mil/lexer.h"

namespace jax_ane::software::mil {
namespace {

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// A number's characters: digits, sign at the front or after an exponent letter, dot, hex digits
// after 0x.
size_t NumberLength(std::string_view s) {
    size_t i = s[0] == '-' || s[0] == '+' ? 1 : 0;
    const bool hex = i + 1 < s.size() && s[i] == '0' && (s[i + 1] == 'x' || s[i + 1] == 'X');
    if (hex) i += 2;
    while (i < s.size()) {
        const char c = s[i];
        const char previous = s[i - (i > 0 ? 1 : 0)];
        const bool exponent =
            hex ? previous == 'p' || previous == 'P' : previous == 'e' || previous == 'E';
        const bool sign = (c == '-' || c == '+') && exponent;
        if (!IsDigit(c) && !IsLetter(c) && c != '.' && !sign) break;
        ++i;
    }
    return i;
}

}  // namespace

void Lexer::Advance(size_t count) {
    for (size_t i = 0; i < count; ++i) {
        if (text_[at_ + i] == '\n') {
            ++position_.line;
            position_.column = 1;
        } else {
            ++position_.column;
        }
    }
    at_ += count;
}

void Lexer::SkipSpace() {
    while (at_ < text_.size()) {
        const char c = text_[at_];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
        Advance(1);
    }
}

Token Lexer::Take(TokenKind kind, size_t length) {
    Token token{kind, text_.substr(at_, length), position_};
    Advance(length);
    return token;
}

Token Lexer::TakeString() {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '"' && text_[end] != '\n') {
        end += text_[end] == '\\' ? 2 : 1;
    }
    if (end >= text_.size() || text_[end] != '"') {
        error_ = "the string has no closing quote";
        return {TokenKind::kError, text_.substr(at_, 1), position_};
    }
    Token token{TokenKind::kString, text_.substr(at_ + 1, end - at_ - 1), position_};
    Advance(end + 1 - at_);
    return token;
}

Token Lexer::Next() {
    SkipSpace();
    if (at_ >= text_.size()) return {TokenKind::kEnd, {}, position_};
    const char c = text_[at_];
    const char next = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (IsLetter(c)) {
        size_t length = 1;
        while (at_ + length < text_.size() &&
               (IsLetter(text_[at_ + length]) || IsDigit(text_[at_ + length]))) {
            ++length;
        }
        return Take(TokenKind::kIdentifier, length);
    }
    if (c == '-' && next == '>') return Take(TokenKind::kArrow, 2);
    const bool signed_number = (c == '-' || c == '+') && (IsDigit(next) || next == '.');
    if (IsDigit(c) || signed_number || (c == '.' && IsDigit(next))) {
        return Take(TokenKind::kNumber, NumberLength(text_.substr(at_)));
    }
    if (c == '"') return TakeString();
    if (c != '\0' && std::string_view("()[]{}<>,;=").find(c) != std::string_view::npos) {
        return Take(TokenKind::kPunctuation, 1);
    }
    error_ = "a character that no MIL text has";
    return {TokenKind::kError, text_.substr(at_, 1), position_};
}

}  // namespace jax_ane::software::mil
