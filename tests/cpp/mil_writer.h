// SPDX-License-Identifier: Apache-2.0
// Writes MIL programs for the C++ tests: statements in order, each with a fresh name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace jax_ane::software {

using Dims = std::vector<int64_t>;

inline std::string DimsText(const Dims& dims) {
    std::string text;
    for (int64_t dim : dims) text += (text.empty() ? "" : ", ") + std::to_string(dim);
    return "[" + text + "]";
}

class MilWriter {
  public:
    std::string Input(const Dims& dims) {
        const std::string name = "x" + std::to_string(inputs_++);
        declared_ += (declared_.empty() ? "" : ", ") + Tensor("fp16", dims) + " " + name;
        return name;
    }
    std::string Constant(const std::string& type, const std::string& value) {
        const std::string name = "c" + std::to_string(constants_++);
        body_ += type + " " + name + " = const()[val = " + value + "];\n";
        return name;
    }
    std::string Ints(const Dims& values) {
        const std::string type = Tensor("int32", {static_cast<int64_t>(values.size())});
        return Constant(type, type + "(" + DimsText(values) + ")");
    }
    std::string Int(int64_t value) {
        return Constant("int32", "int32(" + std::to_string(value) + ")");
    }
    std::string Bool(bool value) { return Constant("bool", value ? "bool(true)" : "bool(false)"); }
    std::string String(const std::string& value) {
        return Constant("string", "string(\"" + value + "\")");
    }
    // `call` is "exp(x = v3)".
    std::string Op(const Dims& dims, const std::string& call) {
        const std::string name = "v" + std::to_string(values_++);
        body_ += Tensor("fp16", dims) + " " + name + " = " + call + "[];\n";
        return name;
    }
    std::string Unary(const std::string& op, const Dims& dims, const std::string& x) {
        return Op(dims, op + "(x = " + x + ")");
    }
    std::string Binary(const std::string& op, const Dims& dims, const std::string& x,
                       const std::string& y) {
        return Op(dims, op + "(x = " + x + ", y = " + y + ")");
    }
    std::string Finish(const std::vector<std::string>& outputs) const {
        std::string names;
        for (const std::string& name : outputs) names += (names.empty() ? "" : ", ") + name;
        return "program(1.3)\n{\nfunc main<ios18>(" + declared_ + ") {\n" + body_ + "} -> (" +
               names + ");\n}\n";
    }

  private:
    static std::string Tensor(const std::string& dtype, const Dims& dims) {
        return "tensor<" + dtype + ", " + DimsText(dims) + ">";
    }

    std::string declared_, body_;
    int inputs_ = 0, constants_ = 0, values_ = 0;
};

}  // namespace jax_ane::software
