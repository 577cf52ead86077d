// SPDX-License-Identifier: Apache-2.0
// The plan's text, and which call it strikes.
#include <charconv>
#include <chrono>
#include <optional>
#include <thread>

#include "device/faults.h"

namespace jax_ane::device {
namespace {

using Call = FaultPlan::Call;
using Kind = FaultPlan::Kind;

constexpr std::array<std::string_view, 5> kCalls = {"compile", "load", "attributes", "evaluate",
                                                    "unload"};
// By call: what the framework's status is when the plan names none.
constexpr std::array<uint32_t, 5> kUsualStatus = {1, 0x20004, 1, 0x1d, 1};
constexpr size_t kMaxRules = 64;
constexpr uint32_t kMaxLateMilliseconds = 60'000;

// A whole number, hexadecimal after 0x; all of the text.
template <typename T>
bool ParseNumber(std::string_view text, T* number) {
    int base = 10;
    if (text.substr(0, 2) == "0x") {
        text.remove_prefix(2);
        base = 16;
    }
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, *number, base);
    return result.ec == std::errc() && result.ptr == end && !text.empty() && text[0] != '-';
}

// What stands between `head` and a closing bracket, or nothing if the text has another form.
std::optional<std::string_view> Bracketed(std::string_view text, std::string_view head) {
    if (text.substr(0, head.size()) != head || text.empty() || text.back() != ')') return {};
    return text.substr(head.size(), text.size() - head.size() - 1);
}

bool ParseFault(std::string_view text, FaultPlan::Rule* rule) {
    if (text == "fail" || text == "garbage") {
        rule->kind = text == "fail" ? Kind::kFail : Kind::kGarbage;
        rule->value = kUsualStatus[static_cast<size_t>(rule->call)];
        return true;
    }
    if (const auto status = Bracketed(text, "fail(")) {
        rule->kind = Kind::kFail;
        return ParseNumber(*status, &rule->value);
    }
    const auto late = Bracketed(text, "late(");
    if (!late || late->size() < 3 || late->substr(late->size() - 2) != "ms") return false;
    rule->kind = Kind::kLate;
    return ParseNumber(late->substr(0, late->size() - 2), &rule->value) &&
           rule->value <= kMaxLateMilliseconds;
}

bool ParseRule(std::string_view text, FaultPlan::Rule* rule) {
    const size_t colon = text.find(':'), equals = text.find('=');
    if (colon == text.npos || equals == text.npos || equals < colon) return false;
    const std::string_view call = text.substr(0, colon);
    const std::string_view which = text.substr(colon + 1, equals - colon - 1);
    size_t index = 0;
    while (index < kCalls.size() && kCalls[index] != call) ++index;
    if (index == kCalls.size()) return false;
    rule->call = static_cast<Call>(index);
    rule->text = std::string(text);
    if (which != "*" && (!ParseNumber(which, &rule->nth) || rule->nth < 1)) return false;
    return ParseFault(text.substr(equals + 1), rule);
}

}  // namespace

StatusOr<std::shared_ptr<FaultPlan>> FaultPlan::Parse(std::string_view text) {
    auto plan = std::make_shared<FaultPlan>();
    while (!text.empty()) {
        const size_t end = std::min(text.find(';'), text.size());
        Rule rule;
        if (!ParseRule(text.substr(0, end), &rule)) {
            return InvalidArgument("\"" + std::string(text.substr(0, end)) +
                                   "\" is no fault: write " + kFaultGrammar);
        }
        plan->rules_.push_back(std::move(rule));
        if (plan->rules_.size() > kMaxRules) {
            return InvalidArgument("a plan has at most " + std::to_string(kMaxRules) + " rules");
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return plan;
}

const FaultPlan::Rule* FaultPlan::Strike(Call call) {
    const int64_t nth = calls_[static_cast<size_t>(call)].fetch_add(1) + 1;
    const Rule* failure = nullptr;
    for (const Rule& rule : rules_) {
        if (rule.call != call || (rule.nth != 0 && rule.nth != nth)) continue;
        if (rule.kind == Kind::kLate) {
            std::this_thread::sleep_for(std::chrono::milliseconds(rule.value));
        } else if (failure == nullptr) {
            failure = &rule;
        }
    }
    return failure;
}

}  // namespace jax_ane::device
