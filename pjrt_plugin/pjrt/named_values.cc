// SPDX-License-Identifier: Apache-2.0
// Building and reading lists of named values.
#include "pjrt/named_values.h"

#include <charconv>
#include <utility>

namespace jax_ane::pjrt {
namespace {

const PJRT_NamedValue* Find(const PJRT_NamedValue* values, size_t count, std::string_view name,
                            PJRT_NamedValue_Type type) {
    for (size_t i = 0; i < count; ++i) {
        if (values[i].type == type && std::string_view(values[i].name, values[i].name_size) == name)
            return &values[i];
    }
    return nullptr;
}

}  // namespace

PJRT_NamedValue& NamedValueList::Append(std::string name, PJRT_NamedValue_Type type) {
    const std::string& kept = strings_.emplace_back(std::move(name));
    PJRT_NamedValue& value = values_.emplace_back();
    value.struct_size = kStructSize<PJRT_NamedValue>;
    value.extension_start = nullptr;
    value.name = kept.data();
    value.name_size = kept.size();
    value.type = type;
    value.value_size = 1;
    return value;
}

void NamedValueList::Add(std::string name, std::string text) {
    PJRT_NamedValue& value = Append(std::move(name), PJRT_NamedValue_kString);
    const std::string& kept = strings_.emplace_back(std::move(text));
    value.string_value = kept.data();
    value.value_size = kept.size();
}

void NamedValueList::Add(std::string name, int64_t number) {
    Append(std::move(name), PJRT_NamedValue_kInt64).int64_value = number;
}

void NamedValueList::Add(std::string name, std::vector<int64_t> numbers) {
    PJRT_NamedValue& value = Append(std::move(name), PJRT_NamedValue_kInt64List);
    const std::vector<int64_t>& kept = lists_.emplace_back(std::move(numbers));
    value.int64_array_value = kept.data();
    value.value_size = kept.size();
}

void NamedValueList::Add(std::string name, float number) {
    Append(std::move(name), PJRT_NamedValue_kFloat).float_value = number;
}

std::string StringOption(const PJRT_NamedValue* values, size_t count, std::string_view name,
                         std::string fallback) {
    const PJRT_NamedValue* value = Find(values, count, name, PJRT_NamedValue_kString);
    return value ? std::string(value->string_value, value->value_size) : std::move(fallback);
}

int64_t IntOption(const PJRT_NamedValue* values, size_t count, std::string_view name,
                  int64_t fallback) {
    if (const PJRT_NamedValue* value = Find(values, count, name, PJRT_NamedValue_kInt64)) {
        return value->int64_value;
    }
    // JAX passes the options of its flag `jax_pjrt_client_create_options` as strings.
    const PJRT_NamedValue* value = Find(values, count, name, PJRT_NamedValue_kString);
    if (!value) return fallback;
    int64_t number = 0;
    const char* end = value->string_value + value->value_size;
    const auto [stop, error] = std::from_chars(value->string_value, end, number);
    return error == std::errc() && stop == end ? number : -1;
}

}  // namespace jax_ane::pjrt
