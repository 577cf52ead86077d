// SPDX-License-Identifier: Apache-2.0
// A MIL program as it was written: names unresolved, types unchecked, blobs unread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/software/constraint_ids.h"

namespace jax_ane::software::mil {

// Every type a MIL text may name. The sub-byte ones occur in constexpr data only.
enum class DType : uint8_t {
    kFp16,
    kFp32,
    kInt8,
    kUint8,
    kInt16,
    kUint16,
    kInt32,
    kUint32,
    kInt64,
    kUint64,
    kBool,
    kString,
    kInt4,
    kUint1,
    kUint2,
    kUint3,
    kUint4,
    kUint6,
};

const char* DTypeName(DType type);
// Bits of one element; 0 for strings.
int DTypeBits(DType type);
// False when no type is called so.
bool ParseDType(std::string_view name, DType* type);

// A scalar has no dims: `fp16` and `tensor<fp16, []>` are the same type.
struct TensorType {
    DType dtype = DType::kFp16;
    std::vector<int64_t> dims;
    bool operator==(const TensorType&) const = default;
    int64_t elements() const;  // dims are checked when parsed, so this does not overflow
    int64_t bytes() const { return (elements() * DTypeBits(dtype) + 7) / 8; }
    int rank() const { return static_cast<int>(dims.size()); }
};

std::string ToString(const TensorType& type);

// A number or truth value of a literal.
struct Scalar {
    bool is_float = false;
    int64_t integer = 0;
    double real = 0;
    double value() const { return is_float ? real : static_cast<double>(integer); }
};

enum class ValueKind : uint8_t {
    kName,   // text
    kBare,   // a literal without a type: scalars[0] or strings[0]
    kTyped,  // type(literal): scalars or strings, flattened row-major
    kBlob,   // type(BLOBFILE(path = text, offset = offset))
    kList,   // (a, b, c)
    kDict,   // dict<...>({...}), contents not kept
};

struct Value {
    ValueKind kind = ValueKind::kName;
    Position position;
    std::string text;
    TensorType type;
    uint64_t offset = 0;
    bool is_bool = false;  // bare true or false
    std::vector<Scalar> scalars;
    std::vector<std::string> strings;
    std::vector<Value> list;
};

struct Argument {
    std::string name;
    Position position;
    Value value;
};

struct Declaration {
    TensorType type;
    std::string name;
    Position position;
};

struct Operation {
    std::vector<Declaration> results;
    std::string op;
    Position position;
    std::vector<Argument> arguments;
    std::vector<Argument> attributes;
};

struct Program {
    std::string version;
    std::string function;
    std::string opset;
    std::vector<Declaration> inputs;
    std::vector<Operation> operations;
    std::vector<Declaration> outputs;  // types empty: names of values
};

}  // namespace jax_ane::software::mil
