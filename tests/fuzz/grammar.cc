// SPDX-License-Identifier: Apache-2.0
// Writes MIL statement by statement: each takes an operation of the op table with arguments by its
// specification. The device's own check tells the result's type, or why the statement is dropped.
#include <algorithm>
#include <cstdio>

#include "device/software/argument_spec.h"
#include "device/software/mil/parser.h"
#include "device/software/ops/op.h"
#include "device/software/software_device.h"
#include "harness.h"

namespace jax_ane::fuzz {
namespace {

using software::ArgumentSpec;
using software::Finding;
using software::OpDef;

class Bytes {
  public:
    Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
    bool empty() const { return at_ >= size_; }
    size_t Below(size_t n) { return empty() ? 0 : data_[at_++] % n; }

  private:
    const uint8_t* data_;
    size_t size_, at_ = 0;
};

constexpr int64_t kDims[] = {1, 1, 2, 3, 4, 8, 16, 17, 33, 64, 65};
constexpr const char* kStrings[] = {"EXACT",
                                    "TANH_APPROXIMATION",
                                    "SIGMOID_APPROXIMATION",
                                    "valid",
                                    "same",
                                    "custom",
                                    "fp16",
                                    "fp32",
                                    "constant",
                                    "bool",
                                    "int8",
                                    "reflect"};
constexpr const char* kNumbers[] = {"0x0p+0",  "0x1p+0",   "-0x1p+0",     "0x1p-1",
                                    "0x1p-20", "0x1.8p+3", "0x1.ffcp+15", "-0x1p-24"};

struct Known {
    std::string name;
    std::string dtype;
    std::vector<int64_t> dims;
};

std::string Join(const std::vector<int64_t>& values) {
    std::string text;
    for (int64_t v : values) text += (text.empty() ? "" : ", ") + std::to_string(v);
    return text;
}

class Writer {
  public:
    explicit Writer(Bytes bytes) : bytes_(bytes) {}
    std::string Write();

  private:
    std::string Text(const std::string& more, const std::string& output) const {
        return "program(1.3)\n{\nfunc main<ios18>(" + inputs_ + ") {\n" + body_ + more + "} -> (" +
               output + ");\n}\n";
    }
    std::string Const(const std::string& type, const std::string& value);
    std::string FloatConst(const std::vector<int64_t>& dims);
    std::string IntsConst();
    std::string Argument(const ArgumentSpec& spec);
    const Known& Pick() {
        const size_t back = bytes_.Below(std::min<size_t>(known_.size(), 6));
        return known_[known_.size() - 1 - back];
    }
    void AddInput();
    void AddStatement();
    bool Settle(const std::string& constants, const std::string& head, const std::string& call);

    Bytes bytes_;
    std::string inputs_, body_, pending_;
    std::vector<Known> known_;
    int names_ = 0;
};

void Writer::AddInput() {
    Known input{"x" + std::to_string(names_++), "fp16", {}};
    const size_t rank = bytes_.Below(6);
    for (size_t i = 0; i < rank; ++i) input.dims.push_back(kDims[bytes_.Below(std::size(kDims))]);
    inputs_ +=
        (inputs_.empty() ? "" : ", ") + ("tensor<fp16, [" + Join(input.dims)) + "]> " + input.name;
    known_.push_back(std::move(input));
}

std::string Writer::Const(const std::string& type, const std::string& value) {
    const std::string name = "c" + std::to_string(names_++);
    pending_ += type + " " + name + " = const()[val = " + type + "(" + value + ")];\n";
    return name;
}

std::string Writer::FloatConst(const std::vector<int64_t>& dims) {
    int64_t count = 1;
    for (int64_t dim : dims) count *= dim;
    if (count > 300) return Const("fp16", kNumbers[bytes_.Below(std::size(kNumbers))]);
    std::string list;
    const size_t first = bytes_.Below(std::size(kNumbers));
    for (int64_t i = 0; i < count; ++i) {
        list += (i == 0 ? "" : ", ") +
                std::string(kNumbers[(first + static_cast<size_t>(i)) % std::size(kNumbers)]);
    }
    if (dims.empty()) return Const("fp16", list);
    return Const("tensor<fp16, [" + Join(dims) + "]>", "[" + list + "]");
}

// Small numbers, or a permutation, or the dims of a value in another order.
std::string Writer::IntsConst() {
    std::vector<int64_t> values;
    const Known& like = Pick();
    const size_t form = bytes_.Below(4);
    if (form == 0) {
        values = like.dims;
        if (!values.empty()) {
            std::rotate(values.begin(),
                        values.begin() + static_cast<int64_t>(bytes_.Below(values.size())),
                        values.end());
        }
    } else if (form == 1) {
        for (size_t i = 0; i < like.dims.size(); ++i) values.push_back(static_cast<int64_t>(i));
        if (values.size() > 1) std::swap(values[bytes_.Below(values.size())], values.back());
    } else {
        const size_t count = form == 2 ? like.dims.size() : bytes_.Below(9);
        for (size_t i = 0; i < count; ++i) {
            values.push_back(static_cast<int64_t>(bytes_.Below(12)) - 2);
        }
    }
    return Const("tensor<int32, [" + std::to_string(values.size()) + "]>",
                 "[" + Join(values) + "]");
}

std::string Writer::Argument(const ArgumentSpec& spec) {
    switch (spec.kind) {
        case 'i':
            return IntsConst();
        case 'n':
            return Const("int32", std::to_string(static_cast<int64_t>(bytes_.Below(9)) - 3));
        case 's':
            return Const("string",
                         "\"" + std::string(kStrings[bytes_.Below(std::size(kStrings))]) + "\"");
        case 'r':
            return Const("fp16", kNumbers[bytes_.Below(std::size(kNumbers))]);
        case 'b':
            if (spec.constant || spec.optional) {
                return Const("bool", bytes_.Below(2) == 0 ? "false" : "true");
            }
            break;
        default:
            break;
    }
    if (!spec.constant) return Pick().name;
    if (spec.kind == 'a' && bytes_.Below(2) == 0) return IntsConst();
    std::vector<int64_t> dims = Pick().dims;
    if (dims.size() > 1 && bytes_.Below(2) == 0) dims = {dims[1]};
    if (bytes_.Below(3) == 0) dims.resize(4, 1);
    return FloatConst(dims);
}

// Declares results as the check wants them; false if the statement is refused for another reason.
bool Writer::Settle(const std::string& constants, const std::string& head,
                    const std::string& call) {
    std::vector<std::string> types(1, "tensor<fp16, [1]>");
    const std::string name = "v" + std::to_string(names_++);
    for (int round = 0; round < 4; ++round) {
        std::string results;
        for (size_t i = 0; i < types.size(); ++i) {
            results += (i == 0 ? "" : ", ") + types[i] + " " + name + "_" + std::to_string(i);
        }
        const std::string statement = constants + results + " = " + head + call;
        const auto findings =
            software::CheckProgram(Text(statement, name + "_0"), {}, software::ChipTraits());
        size_t fixed = 0;
        for (const Finding& finding : findings) {
            const size_t gives = finding.message.rfind(" gives ");
            if (finding.rule == software::Rule::kResultType && gives != std::string::npos) {
                const size_t number = finding.message.find('_') + 1;
                types[std::stoul(finding.message.substr(number))] =
                    finding.message.substr(gives + 7);
                ++fixed;
            } else if (finding.rule == software::Rule::kResultCount) {
                const size_t has = finding.message.find(" has ") + 5;
                types.assign(std::min<size_t>(std::stoul(finding.message.substr(has)), 8),
                             "tensor<fp16, [1]>");
                ++fixed;
            }
        }
        if (findings.empty() || (fixed == 0 && findings[0].rule == software::Rule::kBorderType)) {
            body_ += statement;
            for (size_t i = 0; i < types.size(); ++i) {
                Known known{name + "_" + std::to_string(i), types[i], {}};
                const size_t bracket = types[i].find('[');
                for (size_t at = bracket; at < types[i].size() && bracket != std::string::npos;) {
                    const size_t digit = types[i].find_first_of("0123456789", at);
                    if (digit == std::string::npos) break;
                    known.dims.push_back(std::stoll(types[i].substr(digit)));
                    at = types[i].find_first_not_of("0123456789", digit);
                }
                known_.push_back(std::move(known));
            }
            return true;
        }
        if (fixed == 0) return false;
    }
    return false;
}

void Writer::AddStatement() {
    static const std::vector<const OpDef*> ops = software::AllOps();
    const OpDef& def = *ops[bytes_.Below(ops.size())];
    pending_.clear();
    std::string call;
    for (const ArgumentSpec& spec : software::ParseSpec(def.arguments)) {
        if (spec.optional && bytes_.Below(2) == 0) continue;
        std::string value = Argument(spec);
        if (spec.variadic) {
            for (size_t more = bytes_.Below(4); more > 0; --more) value += ", " + Pick().name;
            value = "(" + value + ")";
        }
        call += (call.empty() ? "" : ", ") + spec.name + " = " + value;
    }
    Settle(pending_, def.name, "(" + call + ")[];\n");
}

std::string Writer::Write() {
    for (size_t n = 1 + bytes_.Below(3); n > 0; --n) AddInput();
    const size_t inputs = known_.size();
    for (int i = 0; i < 24 && !bytes_.empty(); ++i) AddStatement();
    std::string outputs;
    for (size_t i = known_.size(); i-- > inputs;) {
        if (i + 1 != known_.size() && bytes_.Below(3) != 0) continue;
        outputs += (outputs.empty() ? "" : ", ") + known_[i].name;
    }
    return Text("", outputs.empty() ? known_[0].name : outputs);
}

}  // namespace

std::string WriteProgram(const uint8_t* data, size_t size) {
    return Writer(Bytes(data, size)).Write();
}

std::string BlobProgram() {
    const auto blob = [](const char* type, int offset) {
        return std::string(type) +
               "(BLOBFILE(path = string(\"@model_path/weights/w.bin\"), offset = "
               "uint64(" +
               std::to_string(offset) + ")))";
    };
    const char w[] = "tensor<fp16, [4, 8]>", q[] = "tensor<int8, [4, 8]>",
               i[] = "tensor<uint8, [16]>", l[] = "tensor<fp16, [16]>", m[] = "tensor<uint8, [4]>",
               n[] = "tensor<fp16, [16]>";
    return std::string("program(1.3)\n{\nfunc main<ios18>(tensor<fp16, [4, 8]> x) {\n") +
           "tensor<uint32, [2]> s = const()[val = tensor<uint32, [2]>([4, 8])];\n" + w +
           " w = const()[val = " + blob(w, 64) + "];\n" + w +
           " d = constexpr_affine_dequantize()[quantized_data = " + blob(q, 192) +
           ", zero_point = int8(1), scale = fp16(0x1p-4), axis = int32(0)];\n" + w +
           " t = constexpr_lut_to_dense()[indices = " + blob(i, 320) + ", lut = " + blob(l, 448) +
           ", shape = tensor<uint32, [2]>([4, 8])];\n" + w +
           " p = constexpr_sparse_to_dense()[nonzero_data = " + blob(n, 576) +
           ", mask = " + blob(m, 704) + ", shape = tensor<uint32, [2]>([4, 8])];\n" +
           "tensor<fp16, [4, 8]> a = add(x = x, y = w)[];\n" +
           "tensor<fp16, [4, 8]> b = mul(x = a, y = d)[];\n" +
           "tensor<fp16, [4, 8]> c = add(x = b, y = t)[];\n" +
           "tensor<fp16, [4, 8]> y = mul(x = c, y = p)[];\n} -> (y);\n}\n";
}

}  // namespace jax_ane::fuzz
