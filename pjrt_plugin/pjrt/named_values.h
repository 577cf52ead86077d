// SPDX-License-Identifier: Apache-2.0
// Lists of PJRT_NamedValue: one that owns its strings, and readers for the client's options.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "pjrt/c_api.h"

namespace jax_ane::pjrt {

// The views stay valid as long as the list does.
class NamedValueList {
  public:
    void Add(std::string name, std::string value);
    void Add(std::string name, int64_t value);
    void Add(std::string name, std::vector<int64_t> value);
    void Add(std::string name, float value);

    const PJRT_NamedValue* data() const { return values_.data(); }
    size_t size() const { return values_.size(); }

  private:
    PJRT_NamedValue& Append(std::string name, PJRT_NamedValue_Type type);

    std::deque<std::string> strings_;  // A deque: growth moves no element.
    std::deque<std::vector<int64_t>> lists_;
    std::vector<PJRT_NamedValue> values_;
};

std::string StringOption(const PJRT_NamedValue* values, size_t count, std::string_view name,
                         std::string fallback);
// -1 for a string that is no whole number.
int64_t IntOption(const PJRT_NamedValue* values, size_t count, std::string_view name,
                  int64_t fallback);

}  // namespace jax_ane::pjrt
