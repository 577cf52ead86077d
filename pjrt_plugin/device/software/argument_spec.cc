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

}  // namespace jax_ane::software
