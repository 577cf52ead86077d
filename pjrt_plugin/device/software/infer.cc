// SPDX-License-Identifier: Apache-2.0
// Names to values, arguments against each op's specification, declared result types against
// inferred ones.
#include <set>
#include <unordered_map>

#include "device/software/argument_spec.h"
#include "device/software/constants.h"
#include "device/software/graph.h"
#include "device/software/ops/int8_step.h"
#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

class Builder {
  public:
    Builder(const device::Blobs& blobs, const ChipTraits& chip, Findings* findings)
        : blobs_(blobs), chip_(chip), findings_(findings) {}

    Graph Build(const mil::Program& program);

  private:
    void Refuse(Rule rule, Position position, std::string message) {
        findings_->push_back({rule, position, std::move(message)});
    }
    int AddValue(GraphValue value);
    void Declare(const mil::Declaration& declaration, GraphValue value);
    void BuildConst(const mil::Operation& operation);
    void BuildNode(const mil::Operation& operation);
    void CheckOpName(const mil::Operation& operation);
    void LimitConstants(Position position);
    const OpDef* LookUp(const mil::Operation& operation);
    bool Bind(const mil::Operation& operation, const OpDef& def, GraphNode* node);
    bool BindArgument(const mil::Argument& argument, const ArgumentSpec& spec, bool is_constexpr,
                      GraphNode* node);
    int Resolve(const mil::Value& value, const ArgumentSpec& spec, bool is_constexpr,
                const std::string& op);
    int Literal(mil::Value value, const ArgumentSpec& spec);
    bool CheckKind(const std::string& op, const ArgumentSpec& spec, const GraphValue& value,
                   Position position);
    void CheckResults(const mil::Operation& operation, const OpContext& context);
    void BuildOutputs(const mil::Program& program);

    const device::Blobs& blobs_;
    const ChipTraits& chip_;
    Findings* findings_;
    Graph graph_;
    std::unordered_map<std::string, int> names_;
    std::set<std::string> op_names_;
    uint64_t constant_bytes_ = 0;
    int opset_ = 15;
};

int Builder::AddValue(GraphValue value) {
    graph_.values.push_back(std::move(value));
    return static_cast<int>(graph_.values.size()) - 1;
}

void Builder::Declare(const mil::Declaration& declaration, GraphValue value) {
    value.name = declaration.name;
    value.position = declaration.position;
    value.type = declaration.type;
    const int index = AddValue(std::move(value));
    if (!names_.emplace(declaration.name, index).second) {
        Refuse(Rule::kDuplicateName, declaration.position,
               "the name " + declaration.name + " is already taken: each value has its own");
    }
}

void Builder::CheckOpName(const mil::Operation& operation) {
    for (const mil::Argument& attribute : operation.attributes) {
        if (attribute.name != "name") continue;
        if (attribute.value.strings.size() != 1) {
            Refuse(Rule::kAttribute, attribute.position, "attribute name must be a string");
        } else if (!op_names_.insert(attribute.value.strings[0]).second) {
            Refuse(Rule::kDuplicateOpName, attribute.position,
                   "two operations are named \"" + attribute.value.strings[0] + "\"");
        }
    }
}

void Builder::BuildConst(const mil::Operation& operation) {
    const size_t before = findings_->size();
    const mil::Value* val = nullptr;
    for (const mil::Argument& attribute : operation.attributes) {
        if (attribute.name == "val") val = &attribute.value;
    }
    const mil::Declaration& result = operation.results[0];
    GraphValue value;
    value.constant = ConstData{};
    if (operation.results.size() != 1) {
        Refuse(Rule::kResultCount, operation.position, "const has one result");
    } else if (!operation.arguments.empty()) {
        Refuse(Rule::kUnknownArgument, operation.arguments[0].position,
               "const takes no arguments: its data is the attribute val");
    } else if (val == nullptr ||
               (val->kind != mil::ValueKind::kTyped && val->kind != mil::ValueKind::kBlob)) {
        Refuse(Rule::kAttribute, operation.position,
               "const needs the attribute val = type(...) with a literal or a BLOBFILE");
    } else if (!(val->type == result.type)) {
        Refuse(Rule::kResultType, result.position,
               result.name + " is declared as " + ToString(result.type) + " but its val is " +
                   ToString(val->type));
    } else if (val->kind == mil::ValueKind::kTyped) {
        value.constant = PackLiteral(*val);
    } else if (auto data = FindBlob(*val, blobs_, findings_)) {
        constant_bytes_ += data->size;
        value.constant = std::move(*data);
    }
    LimitConstants(operation.position);
    value.is_broken = findings_->size() != before;
    Declare(result, std::move(value));
}

void Builder::LimitConstants(Position position) {
    if (constant_bytes_ <= (uint64_t{2} << 30)) return;
    Refuse(Rule::kConstantBytes, position, "the program's constants exceed 2 GiB: cut it in two");
    constant_bytes_ = 0;
}

const OpDef* Builder::LookUp(const mil::Operation& operation) {
    if (const auto refusal = RefuseOp(operation.op, opset_)) {
        Refuse(refusal->first, operation.position, operation.op + ": " + refusal->second);
    }
    return FindOp(operation.op);
}

// A bare literal takes the type that the argument wants.
int Builder::Literal(mil::Value value, const ArgumentSpec& spec) {
    if (value.kind == mil::ValueKind::kBare) {
        value.type.dtype = DType::kFp16;
        if (value.is_bool) value.type.dtype = DType::kBool;
        if (!value.strings.empty()) value.type.dtype = DType::kString;
        if ((spec.kind == 'i' || spec.kind == 'n') && !value.is_bool && value.strings.empty()) {
            value.type.dtype = DType::kInt32;
        }
        const size_t count = value.scalars.size() + value.strings.size();
        value.type.dims.clear();
        if (count != 1) value.type.dims.push_back(static_cast<int64_t>(count));
        if (count == 0) {
            Refuse(Rule::kLiteralCount, value.position, "the literal is empty");
            return -1;
        }
    }
    GraphValue constant;
    constant.type = value.type;
    constant.position = value.position;
    constant.is_literal = true;
    if (value.kind == mil::ValueKind::kBlob) {
        auto data = FindBlob(value, blobs_, findings_);
        if (!data) return -1;
        constant_bytes_ += data->size;
        constant.constant = std::move(*data);
    } else {
        constant.constant = PackLiteral(value);
    }
    return AddValue(std::move(constant));
}

int Builder::Resolve(const mil::Value& value, const ArgumentSpec& spec, bool is_constexpr,
                     const std::string& op) {
    if (value.kind == mil::ValueKind::kName) {
        const auto it = names_.find(value.text);
        if (it != names_.end()) return it->second;
        Refuse(Rule::kUndefinedName, value.position,
               op + ": " + value.text + " is not defined before this line");
        return -1;
    }
    if (value.kind == mil::ValueKind::kList && value.list.size() == 1) {
        return Resolve(value.list[0], spec, is_constexpr, op);  // (v) is v
    }
    if (value.kind == mil::ValueKind::kList || value.kind == mil::ValueKind::kDict) {
        Refuse(Rule::kArgumentType, value.position,
               op + ": argument " + spec.name + " takes one value, not a list");
        return -1;
    }
    if (spec.optional && !is_constexpr) {
        Refuse(Rule::kInlineOptional, value.position,
               op + ": argument " + spec.name +
                   " is a literal: the compiler rejects that for optional arguments, so name a "
                   "const");
        return -1;
    }
    return Literal(value, spec);
}

bool Builder::CheckKind(const std::string& op, const ArgumentSpec& spec, const GraphValue& value,
                        Position position) {
    if (value.is_broken) return false;
    const std::string what = op + ": argument " + spec.name;
    const bool integer = spec.kind == 'i' || spec.kind == 'n';
    if ((spec.constant || integer || spec.kind == 's' || spec.kind == 'r') && !value.constant) {
        const bool weight = spec.name == "weight" || spec.name == "bias";
        Refuse(weight ? Rule::kRuntimeWeight : Rule::kNotConstant, position,
               what + " must be a constant" + (weight ? ": use matmul for run-time weights" : ""));
        return false;
    }
    const char* wanted = "";
    bool good = FitsKind(spec.kind, value.type, &wanted);
    // A constant that does not exist yet can be an operand, but nothing that shapes depend on.
    if (value.is_deferred && spec.kind != 'h' && (spec.kind != 'a' || spec.constant)) good = false;
    if (spec.kind == 'b' && spec.constant && !value.type.dims.empty()) good = false;
    if (good) return true;
    const bool arithmetic = spec.kind == 'h' && !value.constant;
    Refuse(arithmetic ? Rule::kInteriorType : Rule::kArgumentType, position,
           what + " is " + ToString(value.type) + " where " + wanted + " is needed" +
               (arithmetic ? ": the engine computes in fp16 only, so cast at the border" : ""));
    return false;
}

bool Builder::BindArgument(const mil::Argument& argument, const ArgumentSpec& spec,
                           bool is_constexpr, GraphNode* node) {
    std::vector<int> indices;
    const bool list = spec.variadic && argument.value.kind == mil::ValueKind::kList;
    const std::vector<mil::Value> one =
        list ? std::vector<mil::Value>{} : std::vector<mil::Value>{argument.value};
    for (const mil::Value& value : list ? argument.value.list : one) {
        const int index = Resolve(value, spec, is_constexpr, node->name);
        if (index < 0 || !CheckKind(node->name, spec, graph_.values[static_cast<size_t>(index)],
                                    value.position)) {
            return false;
        }
        indices.push_back(index);
    }
    if (indices.empty()) {
        Refuse(Rule::kMissingArgument, argument.position,
               node->name + ": argument " + spec.name + " is an empty list");
        return false;
    }
    node->arguments.emplace_back(spec.name, std::move(indices));
    return true;
}

bool Builder::Bind(const mil::Operation& operation, const OpDef& def, GraphNode* node) {
    const std::vector<ArgumentSpec> specs = ParseSpec(def.arguments);
    const bool is_constexpr = (def.flags & kConstexpr) != 0;
    std::vector<mil::Argument> arguments = operation.arguments;
    for (const mil::Argument& attribute : operation.attributes) {
        if (attribute.name == "name") continue;
        if (!is_constexpr) {
            Refuse(Rule::kAttribute, attribute.position,
                   operation.op + ": unknown attribute " + attribute.name);
            return false;
        }
        arguments.push_back(attribute);
    }
    bool good = true;
    std::set<std::string> seen;
    for (const mil::Argument& argument : arguments) {
        const ArgumentSpec* spec = nullptr;
        for (const ArgumentSpec& s : specs) {
            if (s.name == argument.name) spec = &s;
        }
        if (spec == nullptr || !seen.insert(argument.name).second) {
            Refuse(Rule::kUnknownArgument, argument.position,
                   operation.op + ": argument " + argument.name +
                       (spec == nullptr ? " is unknown" : " is given twice"));
            good = false;
            continue;
        }
        good = BindArgument(argument, *spec, is_constexpr, node) && good;
    }
    for (const ArgumentSpec& spec : specs) {
        if (spec.optional || seen.count(spec.name) != 0) continue;
        Refuse(Rule::kMissingArgument, operation.position,
               operation.op + ": argument " + spec.name + " is missing");
        good = false;
    }
    return good;
}

void Builder::CheckResults(const mil::Operation& operation, const OpContext& context) {
    if (context.results.size() != operation.results.size()) {
        Refuse(Rule::kResultCount, operation.position,
               operation.op + " has " + std::to_string(context.results.size()) +
                   " results here, not " + std::to_string(operation.results.size()));
        return;
    }
    for (size_t i = 0; i < context.results.size(); ++i) {
        const mil::Declaration& declared = operation.results[i];
        if (declared.type == context.results[i]) continue;
        Refuse(Rule::kResultType, declared.position,
               declared.name + " is declared as " + ToString(declared.type) + " but " +
                   operation.op + " gives " + ToString(context.results[i]));
    }
}

void Builder::BuildNode(const mil::Operation& operation) {
    const size_t before = findings_->size();
    GraphNode node;
    node.name = operation.op;
    node.position = operation.position;
    node.def = LookUp(operation);
    if (node.def != nullptr && Bind(operation, *node.def, &node)) {
        OpContext context(graph_, node, chip_, findings_);
        if (node.def->infer(context)) CheckResults(operation, context);
    }
    const bool is_constexpr = node.def != nullptr && (node.def->flags & kConstexpr) != 0;
    const bool broken = findings_->size() != before;
    // Go on with the declared types, so that one text shows all of its errors.
    const int index = static_cast<int>(graph_.nodes.size());
    for (const mil::Declaration& result : operation.results) {
        GraphValue value;
        value.producer = index;
        value.is_broken = broken && is_constexpr;
        value.is_deferred = is_constexpr;
        if (is_constexpr) {
            value.constant = ConstData{};
            constant_bytes_ += static_cast<uint64_t>(result.type.bytes());
        }
        node.results.push_back(static_cast<int>(graph_.values.size()));
        Declare(result, std::move(value));
    }
    LimitConstants(operation.position);
    graph_.nodes.push_back(std::move(node));
}

void Builder::BuildOutputs(const mil::Program& program) {
    std::set<std::string> seen;
    if (program.outputs.empty()) {
        Refuse(Rule::kSyntax, {1, 1}, "the function returns nothing");
    }
    for (const mil::Declaration& output : program.outputs) {
        const auto it = names_.find(output.name);
        if (it == names_.end()) {
            Refuse(Rule::kUndefinedName, output.position,
                   "the returned value " + output.name + " is not defined");
        } else if (!seen.insert(output.name).second) {
            Refuse(Rule::kDuplicateName, output.position, output.name + " is returned twice");
        } else {
            if (graph_.values[static_cast<size_t>(it->second)].is_input) {
                Refuse(
                    Rule::kOutputIsInput, output.position,
                    "output " + output.name +
                        " is an input itself: the compiler crashes, so put an operation between");
            }
            graph_.outputs.push_back(it->second);
        }
    }
}

Graph Builder::Build(const mil::Program& program) {
    opset_ = std::stoi(program.opset.substr(3));  // the parser knows what it can be
    for (const mil::Declaration& input : program.inputs) {
        GraphValue value;
        value.is_input = true;
        graph_.inputs.push_back(static_cast<int>(graph_.values.size()));
        Declare(input, std::move(value));
    }
    for (const mil::Operation& operation : program.operations) {
        CheckOpName(operation);
        if (operation.op == "const") {
            BuildConst(operation);
        } else {
            BuildNode(operation);
        }
    }
    BuildOutputs(program);
    return std::move(graph_);
}

}  // namespace

std::optional<Graph> BuildGraph(const mil::Program& program, const device::Blobs& blobs,
                                const ChipTraits& chip, Findings* findings) {
    const size_t before = findings->size();
    Graph graph = Builder(blobs, chip, findings).Build(program);
    CheckLegality(graph, chip, findings);
    if (findings->size() != before) return std::nullopt;
    MarkInt8(&graph);
    return graph;
}

}  // namespace jax_ane::software
