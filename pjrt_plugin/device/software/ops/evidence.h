// SPDX-License-Identifier: Apache-2.0
// Why an operation has its numeric class.
#pragma once

#include <string_view>

namespace jax_ane::software {

struct Evidence {
    const char* name;
    const char* chips;   // where it was seen, "all" for what holds of every chip, or "none"
    const char* source;  // the evidence in a few words
    double bound;        // bounded: |error| at most this times the largest |result|; else 0
};

// Null for an operation without a row; a test looks that there is none.
const Evidence* FindEvidence(std::string_view name);

}  // namespace jax_ane::software
