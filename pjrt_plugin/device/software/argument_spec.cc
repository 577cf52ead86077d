// SPDX-License-Identifier: Apache-2.0
#include "device/software/argument_spec.h"

#include <algorithm>

namespace jax_ane::software {

using mil::DType;

std::vector<ArgumentSpec> ParseSpec(std::string_view text) {
    std::vector<ArgumentSpec> specs;
    size_t at = 0;
    while (at < text.size()) {
        const size_t end = std::min(text.find(',', at), text.size());
        ArgumentSpec spec;
        for (size_t i = at; i < end; ++i) {
            const char c = text[i];
            if (c == ' ') continue;
            if (c == '?')
                spec.optional = true;
            else if (c == '!')
                spec.constant = true;
            else if (c == '*')
                spec.variadic = true;
            else if (c == ':')
                spec.kind = text[++i];
            else
                spec.name += c;
        }
        specs.push_back(std::move(spec));
        at = end + 1;
    }
    return specs;
}

bool IsInteger(DType type) {
    return type != DType::kFp16 && type != DType::kFp32 && type != DType::kBool &&
           type != DType::kString;
}

bool FitsKind(char kind, const mil::TensorType& type, const char** wanted) {
    const bool integers = IsInteger(type.dtype) && mil::DTypeBits(type.dtype) >= 8;
    switch (kind) {
        case 'h':
            *wanted = "fp16";
            return type.dtype == DType::kFp16;
        case 'b':
            *wanted = "bool";
            return type.dtype == DType::kBool;
        case 'i':
            *wanted = "integers";
            return integers;
        case 'n':
            *wanted = "an integer scalar";
            return integers && type.dims.empty();
        case 's':
            *wanted = "a string";
            return type.dtype == DType::kString && type.dims.empty();
        case 'r':
            *wanted = "fp16";
            return type.dtype == DType::kFp16 || type.dtype == DType::kFp32;
        default:
            return true;
    }
}

}  // namespace jax_ane::software
