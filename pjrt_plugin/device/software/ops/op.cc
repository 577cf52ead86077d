// SPDX-License-Identifier: Apache-2.0
// Looking operations up, and reading a node's constant arguments.
#include "device/software/ops/op.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace jax_ane::software {
namespace {

// Ops without a lowering on any chip (constraints.md K-NOPATH, op-legality.csv), with what to write
// instead.
const std::unordered_map<std::string_view, const char*>& NoPathOps() {
    static const auto& map = *new std::unordered_map<std::string_view, const char*>{
        {"acos", "compose it from other functions or run it on the host"},
        {"acosh", "compose it from log and sqrt"},
        {"argsort", "run it on the host"},
        {"asin", "compose it from other functions or run it on the host"},
        {"asinh", "compose it from log and sqrt"},
        {"atanh", "compose it from log"},
        {"band_part", "multiply by a constant mask"},
        {"cond", "run both sides and select, or branch on the host"},
        {"cosh", "compose it from exp"},
        {"crop_resize", "run it on the host"},
        {"cumsum", "multiply by a constant triangular matrix"},
        {"gru", "unroll it into matmul, sigmoid and tanh"},
        {"list_gather", "unroll it"},
        {"list_length", "unroll it"},
        {"list_read", "unroll it"},
        {"list_scatter", "unroll it"},
        {"list_write", "unroll it"},
        {"logical_or", "use maximum on 0 and 1 in fp16"},
        {"logical_xor", "use not_equal on 0 and 1 in fp16"},
        {"lstm", "unroll it into matmul, sigmoid and tanh"},
        {"make_list", "unroll it"},
        {"mod", "write x - y * floor(x / y)"},
        {"non_zero", "run it on the host"},
        {"one_hot", "compare with a constant, or run it on the host"},
        {"random_bernoulli", "feed random numbers as an input"},
        {"random_categorical", "feed random numbers as an input"},
        {"random_normal", "feed random numbers as an input"},
        {"random_uniform", "feed random numbers as an input"},
        {"reduce_argmax", "its int32 result has no place on the engine: run it on the host"},
        {"reduce_argmin", "its int32 result has no place on the engine: run it on the host"},
        {"reduce_prod", "write exp of a sum of logs, or a tree of mul"},
        {"reshape_like", "use reshape with a constant shape"},
        {"reverse_sequence", "run it on the host"},
        {"rnn", "unroll it into matmul and tanh"},
        {"scatter", "use a one-hot matmul or the host"},
        {"scatter_along_axis", "use a one-hot matmul or the host"},
        {"scatter_nd", "use a one-hot matmul or the host"},
        {"shape", "shapes are static: write a constant"},
        {"sinh", "compose it from exp"},
        {"slice_update", "rebuild the value with concat or select"},
        {"sliding_windows", "use slices and concat"},
        {"tan", "divide sin by cos"},
        {"while_loop", "unroll it, or loop on the host"},
    };
    return map;
}

// Ops that MIL and some route to the chip have, with why this model lacks them.
struct Elsewhere {
    const char* name;
    const char* reason;
};
constexpr Elsewhere kElsewhere[] = {
    {"call", "programs have one function"},
    {"non_maximum_suppression", "runs on the CPU or GPU"},
    {"read_state", "states need plumbing that programs of one function do not have: pass them"},
    {"write_state", "states need plumbing that programs of one function do not have: return them"},
};

// Ops that came after ios15.
struct Newer {
    const char* name;
    int opset;
};
constexpr Newer kNewer[] = {
    {"constexpr_affine_dequantize", 16},
    {"constexpr_blockwise_shift_scale", 18},
    {"constexpr_cast", 16},
    {"constexpr_lut_to_dense", 16},
    {"constexpr_lut_to_sparse", 18},
    {"constexpr_sparse_blockwise_shift_scale", 18},
    {"constexpr_sparse_to_dense", 16},
    {"dequantize", 17},
    {"fill_like", 16},
    {"pixel_unshuffle", 16},
    {"quantize", 17},
    {"resize", 17},
    {"scaled_dot_product_attention", 18},
};

}  // namespace

std::vector<const OpDef*> AllOps() {
    std::vector<const OpDef*> all;
    for (const OpTable& table :
         {MatmulOps(),        ConvOps(),      ElementwiseOps(), ReduceOps(),
          NormOps(),          ShapeOps(),     ViewOps(),        IndexOps(),
          PoolOps(),          CastOps(),      ConstexprOps(),   SparseConstexprOps(),
          ConvTransposeOps(), ResizeOps(),    ResampleOps(),    PadOps(),
          BatchOps(),         ChannelOps(),   FillOps(),        SortOps(),
          GatherOps(),        AttentionOps(), QuantizeOps(),    LogicOps()}) {
        for (size_t i = 0; i < table.count; ++i) all.push_back(&table.rows[i]);
    }
    std::sort(all.begin(), all.end(), [](const OpDef* a, const OpDef* b) {
        return std::string_view(a->name) < std::string_view(b->name);
    });
    return all;
}

const OpDef* FindOp(std::string_view name) {
    static const auto& map = *[] {
        auto* ops = new std::unordered_map<std::string_view, const OpDef*>;
        for (const OpDef* op : AllOps()) ops->emplace(op->name, op);
        return ops;
    }();
    const auto it = map.find(name);
    return it == map.end() ? nullptr : it->second;
}

std::optional<std::pair<Rule, std::string>> RefuseOp(std::string_view name, int opset) {
    if (FindOp(name) != nullptr) {
        for (const Newer& row : kNewer) {
            if (name != row.name || row.opset <= opset) continue;
            return {{Rule::kOpsetTooOld, "it came with opset ios" + std::to_string(row.opset) +
                                             ", the function's is ios" + std::to_string(opset)}};
        }
        return std::nullopt;
    }
    if (name == "identity") {
        return {{Rule::kIdentity,
                 "the compiler hangs on it as an operation of its own: drop it or multiply by 1"}};
    }
    if (const auto it = NoPathOps().find(name); it != NoPathOps().end()) {
        return {{Rule::kNoAnePath, std::string("no chip has a lowering for it: ") + it->second}};
    }
    for (const Elsewhere& row : kElsewhere) {
        if (name != row.name) continue;
        return {{Rule::kUnimplementedOp,
                 std::string("the software ANE does not model this operation: ") + row.reason}};
    }
    return {{Rule::kUnknownOp, "MIL has no such operation"}};
}

const std::vector<int>& OpContext::Indices(std::string_view name) const {
    static const std::vector<int>& none = *new std::vector<int>;
    for (const auto& [argument, indices] : node_.arguments) {
        if (argument == name) return indices;
    }
    return none;
}

namespace {

template <typename T>
T Load(const uint8_t* bytes, int64_t i) {
    T value;
    std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
}

double ReadElement(const GraphValue& value, int64_t i) {
    const uint8_t* bytes = value.constant->bytes;
    switch (value.type.dtype) {
        case DType::kFp16:
            return HalfToDouble(Load<Half>(bytes, i));
        case DType::kFp32:
            return Load<float>(bytes, i);
        case DType::kInt8:
            return Load<int8_t>(bytes, i);
        case DType::kUint8:
        case DType::kBool:
            return Load<uint8_t>(bytes, i);
        case DType::kInt16:
            return Load<int16_t>(bytes, i);
        case DType::kUint16:
            return Load<uint16_t>(bytes, i);
        case DType::kInt32:
            return Load<int32_t>(bytes, i);
        case DType::kUint32:
            return Load<uint32_t>(bytes, i);
        case DType::kInt64:
            return static_cast<double>(Load<int64_t>(bytes, i));
        case DType::kUint64:
            return static_cast<double>(Load<uint64_t>(bytes, i));
        default:
            return 0;
    }
}

}  // namespace

std::vector<int64_t> OpContext::Ints(std::string_view name, std::vector<int64_t> otherwise) const {
    if (!Has(name)) return otherwise;
    const GraphValue& value = Value(name);
    std::vector<int64_t> out(static_cast<size_t>(value.type.elements()));
    for (size_t i = 0; i < out.size(); ++i) {
        // Bound so that sums of a few of them cannot overflow.
        const double element = ReadElement(value, static_cast<int64_t>(i));
        out[i] = static_cast<int64_t>(std::clamp(element, -4e15, 4e15));
    }
    return out;
}

int64_t OpContext::Int(std::string_view name, int64_t otherwise) const {
    return Has(name) ? Ints(name)[0] : otherwise;
}

double OpContext::Real(std::string_view name, double otherwise) const {
    return Has(name) ? ReadElement(Value(name), 0) : otherwise;
}

std::vector<double> OpContext::Reals(std::string_view name) const {
    std::vector<double> out;
    if (!Has(name)) return out;
    const GraphValue& value = Value(name);
    for (int64_t i = 0; i < value.type.elements(); ++i) out.push_back(ReadElement(value, i));
    return out;
}

bool OpContext::Bool(std::string_view name, bool otherwise) const {
    return Has(name) ? ReadElement(Value(name), 0) != 0 : otherwise;
}

std::string OpContext::String(std::string_view name, std::string otherwise) const {
    return Has(name) ? Value(name).constant->strings[0] : otherwise;
}

bool OpContext::Axis(std::string_view name, int64_t otherwise, int64_t rank, int64_t* axis) {
    const int64_t value = Int(name, otherwise);
    if (value < -rank || value >= rank) {
        return BadValue(name, std::to_string(value) + " is no axis of a rank-" +
                                  std::to_string(rank) + " tensor");
    }
    *axis = value < 0 ? value + rank : value;
    return true;
}

bool OpContext::Axes(std::string_view name, int64_t rank, std::vector<int64_t>* axes) {
    axes->clear();
    if (!Has(name)) {
        for (int64_t i = 0; i < rank; ++i) axes->push_back(i);
        return true;
    }
    for (int64_t value : Ints(name)) {
        if (value < -rank || value >= rank) {
            return BadValue(name, std::to_string(value) + " is no axis of a rank-" +
                                      std::to_string(rank) + " tensor");
        }
        axes->push_back(value < 0 ? value + rank : value);
    }
    std::sort(axes->begin(), axes->end());
    if (std::adjacent_find(axes->begin(), axes->end()) != axes->end()) {
        return BadValue(name, "an axis is named twice");
    }
    return true;
}

bool OpContext::Fail(Rule rule, std::string message) {
    findings_->push_back({rule, node_.position, node_.name + ": " + std::move(message)});
    return false;
}

bool OpContext::BadValue(std::string_view argument, std::string why) {
    return Fail(Rule::kArgumentValue, "argument " + std::string(argument) + ": " + std::move(why));
}

bool MovableType(OpContext& c, const TensorType& type) {
    if (type.dtype == DType::kFp16 || type.dtype == DType::kBool) return true;
    return c.Fail(Rule::kInteriorType,
                  ToString(type) + " cannot be moved inside a program: cast it at the border");
}

bool CheckBlock(OpContext& c, std::string_view argument, int64_t block) {
    if (block == 1 || block == 2 || block == 3 || block == 4 || block == 8) return true;
    return c.Fail(Rule::kShuffleFactor, "argument " + std::string(argument) + ": a factor of " +
                                            std::to_string(block) +
                                            " has no lowering (2, 3, 4 and 8 have): reshape and "
                                            "transpose instead");
}

bool BroadcastDims(const std::vector<int64_t>& a, const std::vector<int64_t>& b,
                   std::vector<int64_t>* out) {
    const size_t rank = std::max(a.size(), b.size());
    out->assign(rank, 1);
    for (size_t i = 0; i < rank; ++i) {
        const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
        const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
        if (x != y && x != 1 && y != 1) return false;
        (*out)[rank - 1 - i] = std::max(x, y);
    }
    return true;
}

}  // namespace jax_ane::software
