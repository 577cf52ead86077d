// SPDX-License-Identifier: Apache-2.0
// The op table's argument lists, read: names, which are optional or constant, and what kind of
// value each takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "device/software/mil/ast.h"

namespace jax_ane::software {

// One argument of an op's specification string.
struct ArgumentSpec {
    std::string name;
    bool optional = false;
    bool constant = false;
    bool variadic = false;
    char kind = 'h';
};

// `text` is OpDef::arguments.
std::vector<ArgumentSpec> ParseSpec(std::string_view text);

// Whole-number types, the sub-byte ones included.
bool IsInteger(mil::DType type);

// Whether a type suits an argument of a kind; `wanted` says in words what does.
bool FitsKind(char kind, const mil::TensorType& type, const char** wanted);

}  // namespace jax_ane::software
