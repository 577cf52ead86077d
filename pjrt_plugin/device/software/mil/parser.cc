// SPDX-License-Identifier: Apache-2.0
#include "device/software/mil/parser.h"

#include <cerrno>
#include <cstdlib>
#include <limits>

#include "device/software/mil/lexer.h"
#include "device/software/mil/literal.h"

namespace jax_ane::software::mil {
namespace {

// Recursive descent with one token of look-ahead. Every function returns false after the first
// error.
class Parser {
  public:
    Parser(std::string_view text, Findings* findings) : lexer_(text), findings_(findings) {
        token_ = lexer_.Next();
    }

    bool ParseProgram(Program* program);

  private:
    bool Fail(Rule rule, Position position, std::string message) {
        findings_->push_back({rule, position, std::move(message)});
        return false;
    }
    bool Unexpected(const char* wanted);
    void Step() { token_ = lexer_.Next(); }
    bool Is(std::string_view text) const {
        return (token_.kind == TokenKind::kPunctuation || token_.kind == TokenKind::kIdentifier ||
                token_.kind == TokenKind::kArrow) &&
               token_.text == text;
    }
    bool Accept(std::string_view text) {
        if (!Is(text)) return false;
        Step();
        return true;
    }
    bool Expect(const char* text) { return Accept(text) || Unexpected(text); }
    bool Identifier(std::string* name, const char* wanted);

    bool ParseType(TensorType* type);
    bool ParseDims(TensorType* type);
    bool ParseScalarType(DType* dtype);
    bool ParseNumber(Scalar* scalar);
    bool ParseLiteral(Value* value, int depth);
    bool ParseTyped(Value* value);
    bool ParseBlob(Value* value);
    bool ParseList(Value* value, int depth);
    bool SkipDict(Value* value);
    bool ParseValue(Value* value, int depth);
    bool ParseValueBody(Value* value, int depth);
    bool ParseArguments(std::vector<Argument>* arguments, const char* close);
    bool ParseOperation(Operation* operation);
    bool ParseFunction(Program* program);
    bool ParseOutputs(Program* program);
    bool CheckCount(const Value& value);

    Lexer lexer_;
    Token token_;
    Findings* findings_;
    int open_values_ = 0;  // ParseValue calls on the stack, by whatever route they recurse
};

bool Parser::Unexpected(const char* wanted) {
    if (token_.kind == TokenKind::kError) {
        return Fail(Rule::kLexical, token_.position,
                    "cannot read " + Quoted(token_) + ": " + lexer_.error());
    }
    return Fail(Rule::kSyntax, token_.position,
                std::string("expected ") + wanted + " but found " + Quoted(token_));
}

bool Parser::Identifier(std::string* name, const char* wanted) {
    if (token_.kind != TokenKind::kIdentifier) return Unexpected(wanted);
    *name = std::string(token_.text);
    Step();
    return true;
}

bool Parser::ParseScalarType(DType* dtype) {
    if (token_.kind != TokenKind::kIdentifier) return Unexpected("a type");
    if (!ParseDType(token_.text, dtype)) {
        return Fail(Rule::kUnknownType, token_.position,
                    Quoted(token_) + " is not a type: use tensor<fp16, [...]> or a scalar type");
    }
    Step();
    return true;
}

bool Parser::ParseDims(TensorType* type) {
    if (!Expect("[")) return false;
    int64_t elements = 1;
    while (!Is("]")) {
        const Position position = token_.position;
        Scalar dim;
        if (token_.kind == TokenKind::kIdentifier) {
            return Fail(Rule::kBadDimension, position,
                        "dimension " + Quoted(token_) + " is symbolic: shapes must be static");
        }
        if (!ParseNumber(&dim)) return false;
        if (dim.is_float || dim.integer <= 0) {
            return Fail(Rule::kBadDimension, position,
                        "a dimension must be a whole number above 0");
        }
        if (dim.integer > kMaxElements / elements) {
            return Fail(Rule::kTooLarge, position,
                        "the tensor has more than " + std::to_string(kMaxElements) + " elements");
        }
        elements *= dim.integer;
        if (type->dims.size() >= kMaxDims) {
            return Fail(Rule::kRank, position, "the tensor has more than 16 axes");
        }
        type->dims.push_back(dim.integer);
        if (!Accept(",")) break;
    }
    return Expect("]");
}

bool Parser::ParseType(TensorType* type) {
    if (!Accept("tensor")) return ParseScalarType(&type->dtype);
    return Expect("<") && ParseScalarType(&type->dtype) && Expect(",") && ParseDims(type) &&
           Expect(">");
}

bool Parser::ParseNumber(Scalar* scalar) {
    if (token_.kind != TokenKind::kNumber) return Unexpected("a number");
    if (token_.text.size() > 400)
        return Fail(Rule::kNumber, token_.position, "the number is too long");
    const std::string text(token_.text);
    const bool hex = text.find_first_of("xX") != std::string::npos;
    const bool real = text.find_first_of(hex ? ".pP" : ".eE") != std::string::npos;
    char* end = nullptr;
    errno = 0;
    if (real) {
        scalar->is_float = true;
        scalar->real = std::strtod(text.c_str(), &end);
        // An underflow to 0 is a fine literal; an overflow to infinity is not.
        if (scalar->real > std::numeric_limits<double>::max() ||
            scalar->real < -std::numeric_limits<double>::max()) {
            return Fail(Rule::kNumber, token_.position, "the number is out of range");
        }
    } else {
        scalar->integer = std::strtoll(text.c_str(), &end, hex ? 16 : 10);
        if (errno == ERANGE)
            return Fail(Rule::kNumber, token_.position, "the number is out of range");
    }
    if (end != text.c_str() + text.size()) {
        return Fail(Rule::kNumber, token_.position, Quoted(token_) + " is not a number");
    }
    Step();
    return true;
}

// A number, truth value, string or nested list of them, flattened into `value`.
bool Parser::ParseLiteral(Value* value, int depth) {
    if (depth > kMaxNesting) return Fail(Rule::kNesting, token_.position, "lists nest too deeply");
    if (Accept("[")) {
        while (!Is("]")) {
            if (!ParseLiteral(value, depth + 1)) return false;
            if (!Accept(",")) break;
        }
        return Expect("]");
    }
    if (token_.kind == TokenKind::kString) {
        value->strings.emplace_back(token_.text);
        Step();
        return true;
    }
    if (Is("true") || Is("false")) {
        value->scalars.push_back({false, Is("true") ? 1 : 0, 0});
        value->is_bool = true;
        Step();
        return true;
    }
    Scalar scalar;
    if (!ParseNumber(&scalar)) return false;
    value->scalars.push_back(scalar);
    return true;
}

bool Parser::CheckCount(const Value& value) {
    const bool strings = value.type.dtype == DType::kString;
    const size_t count = strings ? value.strings.size() : value.scalars.size();
    const size_t other = strings ? value.scalars.size() : value.strings.size();
    if (other != 0) {
        return Fail(Rule::kArgumentType, value.position,
                    "the literal's elements do not fit type " + ToString(value.type));
    }
    if (static_cast<int64_t>(count) != value.type.elements()) {
        return Fail(Rule::kLiteralCount, value.position,
                    "the literal has " + std::to_string(count) + " elements where " +
                        ToString(value.type) + " has " + std::to_string(value.type.elements()));
    }
    if (value.is_bool && value.type.dtype != DType::kBool) {
        return Fail(Rule::kArgumentType, value.position,
                    "a truth value does not fit type " + ToString(value.type));
    }
    for (const Scalar& s : value.scalars) {
        if (!FitsType(s, value.type.dtype)) {
            return Fail(Rule::kNumber, value.position,
                        "the literal has an element that " +
                            std::string(DTypeName(value.type.dtype)) + " cannot hold");
        }
    }
    return true;
}

bool Parser::ParseBlob(Value* value) {
    value->kind = ValueKind::kBlob;
    if (!Expect("(")) return false;
    std::vector<Argument> arguments;
    if (!ParseArguments(&arguments, ")")) return false;
    bool path = false, offset = false;
    for (const Argument& a : arguments) {
        if (a.name == "path" && a.value.strings.size() == 1) {
            value->text = a.value.strings[0];
            path = true;
        } else if (a.name == "offset" && a.value.scalars.size() == 1 &&
                   !a.value.scalars[0].is_float && a.value.scalars[0].integer >= 0) {
            value->offset = static_cast<uint64_t>(a.value.scalars[0].integer);
            offset = true;
        } else {
            return Fail(Rule::kBlobPath, a.position,
                        "BLOBFILE takes path = string(...) and offset = uint64(...)");
        }
    }
    if (path && offset) return true;
    return Fail(Rule::kBlobPath, value->position, "BLOBFILE needs both a path and an offset");
}

bool Parser::ParseTyped(Value* value) {
    value->kind = ValueKind::kTyped;
    if (!ParseType(&value->type) || !Expect("(")) return false;
    if (Accept("BLOBFILE")) return ParseBlob(value) && Expect(")");
    return ParseLiteral(value, 0) && Expect(")") && CheckCount(*value);
}

bool Parser::ParseList(Value* value, int depth) {
    value->kind = ValueKind::kList;
    while (!Is(")")) {
        if (!ParseValue(&value->list.emplace_back(), depth + 1)) return false;
        if (!Accept(",")) break;
    }
    return Expect(")");
}

// buildInfo says which tools wrote the text; nothing here depends on it, so only its shape is
// checked.
bool Parser::SkipDict(Value* value) {
    value->kind = ValueKind::kDict;
    TensorType ignored;
    if (!Expect("<") || !ParseType(&ignored) || !Expect(",") || !ParseType(&ignored) ||
        !Expect(">") || !Expect("(") || !Expect("{")) {
        return false;
    }
    while (Accept("{")) {
        Value key, entry;
        if (!ParseValue(&key, 1) || !Expect(",") || !ParseValue(&entry, 1) || !Expect("}")) {
            return false;
        }
        if (!Accept(",")) break;
    }
    return Expect("}") && Expect(")");
}

bool Parser::ParseValue(Value* value, int depth) {
    value->position = token_.position;
    if (depth > kMaxNesting || open_values_ > kMaxNesting) {
        return Fail(Rule::kNesting, token_.position, "values nest too deeply");
    }
    ++open_values_;
    const bool ok = ParseValueBody(value, depth);
    --open_values_;
    return ok;
}

bool Parser::ParseValueBody(Value* value, int depth) {
    if (Accept("(")) return ParseList(value, depth);
    if (Accept("dict")) return SkipDict(value);
    if (token_.kind == TokenKind::kIdentifier && !Is("true") && !Is("false")) {
        DType dtype;
        if (Is("tensor") || ParseDType(token_.text, &dtype)) return ParseTyped(value);
        value->kind = ValueKind::kName;
        return Identifier(&value->text, "a value");
    }
    value->kind = ValueKind::kBare;
    return ParseLiteral(value, 0);
}

bool Parser::ParseArguments(std::vector<Argument>* arguments, const char* close) {
    while (!Is(close)) {
        Argument& argument = arguments->emplace_back();
        argument.position = token_.position;
        if (!Identifier(&argument.name, "an argument's name") || !Expect("=") ||
            !ParseValue(&argument.value, 0)) {
            return false;
        }
        if (!Accept(",")) break;
    }
    return Expect(close);
}

bool Parser::ParseOperation(Operation* operation) {
    do {
        Declaration& result = operation->results.emplace_back();
        if (!ParseType(&result.type)) return false;
        result.position = token_.position;
        if (!Identifier(&result.name, "a result's name")) return false;
    } while (Accept(","));
    if (!Expect("=")) return false;
    operation->position = token_.position;
    if (!Identifier(&operation->op, "an operation") || !Expect("(") ||
        !ParseArguments(&operation->arguments, ")")) {
        return false;
    }
    if (Accept("[") && !ParseArguments(&operation->attributes, "]")) return false;
    return Expect(";");
}

bool Parser::ParseOutputs(Program* program) {
    if (!Expect("->") || !Expect("(")) return false;
    while (!Is(")")) {
        Declaration& output = program->outputs.emplace_back();
        output.position = token_.position;
        if (!Identifier(&output.name, "a returned value")) return false;
        if (!Accept(",")) break;
    }
    return Expect(")") && Expect(";");
}

bool Parser::ParseFunction(Program* program) {
    const Position position = token_.position;
    if (!Expect("func") || !Identifier(&program->function, "a function's name")) return false;
    if (program->function != "main") {
        return Fail(Rule::kMainFunction, position, "the program's function must be called main");
    }
    if (!Expect("<")) return false;
    const Position opset = token_.position;
    if (!Identifier(&program->opset, "an opset") || !Expect(">")) return false;
    const std::string& o = program->opset;
    if (o != "ios15" && o != "ios16" && o != "ios17" && o != "ios18" && o != "ios26") {
        return Fail(Rule::kOpset, opset, "opset " + o + " is unknown: use ios16, ios17 or ios18");
    }
    if (!Expect("(")) return false;
    while (!Is(")")) {
        Declaration& input = program->inputs.emplace_back();
        if (!ParseType(&input.type)) return false;
        input.position = token_.position;
        if (!Identifier(&input.name, "an input's name")) return false;
        if (!Accept(",")) break;
    }
    if (!Expect(")") || !Expect("{")) return false;
    while (!Is("}")) {
        if (!ParseOperation(&program->operations.emplace_back())) return false;
    }
    return Expect("}") && ParseOutputs(program);
}

bool Parser::ParseProgram(Program* program) {
    if (!Expect("program") || !Expect("(")) return false;
    program->version = std::string(token_.text);
    const Position version = token_.position;
    if (token_.kind != TokenKind::kNumber) return Unexpected("a version");
    Step();
    if (program->version != "1.0" && program->version != "1.3" && program->version != "1.5") {
        return Fail(
            Rule::kVersion, version,
            "program version " + program->version.substr(0, 20) + " is unknown: use 1.0 or 1.3");
    }
    if (!Expect(")")) return false;
    std::vector<Argument> attributes;
    if (Accept("[") && !ParseArguments(&attributes, "]")) return false;
    if (!Expect("{")) return false;
    if (!Is("func")) {
        return Fail(Rule::kMainFunction, token_.position, "the program has no function main");
    }
    if (!ParseFunction(program)) return false;
    if (Is("func")) {
        return Fail(Rule::kMainFunction, token_.position,
                    "the program has a second function: only main can run");
    }
    if (!Expect("}")) return false;
    if (token_.kind != TokenKind::kEnd) return Unexpected("the end of the text");
    return true;
}

}  // namespace

std::optional<Program> Parse(std::string_view text, Findings* findings) {
    if (text.size() > kMaxTextBytes) {
        findings->push_back({Rule::kTextSize, {1, 1}, "the text is larger than 256 MiB"});
        return std::nullopt;
    }
    Program program;
    if (!Parser(text, findings).ParseProgram(&program)) return std::nullopt;
    return program;
}

}  // namespace jax_ane::software::mil
