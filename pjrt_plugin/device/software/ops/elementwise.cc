// SPDX-License-Identifier: Apache-2.0
// Elementwise operations: binary arithmetic, comparisons, select, and all unary functions by table.
#include <cstring>
#include <utility>

#include "device/software/ops/broadcast.h"
#include "device/software/ops/op.h"
#include "device/software/unary.h"

namespace jax_ane::software {
namespace {

bool InferBinary(OpContext& c, DType result) {
    TensorType type{result, {}};
    if (!BroadcastDims(c.Dims("x"), c.Dims("y"), &type.dims)) {
        return c.Fail(Rule::kShapes, "x is " + ToString(c.Type("x")) + " and y is " +
                                         ToString(c.Type("y")) + ": they do not broadcast");
    }
    c.results.push_back(std::move(type));
    return true;
}
bool InferArithmetic(OpContext& c) { return InferBinary(c, DType::kFp16); }
bool InferCompare(OpContext& c) { return InferBinary(c, DType::kBool); }

// Whether an operand comes right out of an operation that rounds to whole numbers.
bool IsRounded(const OpContext& c, std::string_view operand) {
    const int producer = c.Value(operand).producer;
    if (producer < 0) return false;
    const std::string& op = c.graph().nodes[static_cast<size_t>(producer)].name;
    return op == "floor" || op == "ceil" || op == "round";
}

// The compiler bug is known from one report (M5, macOS 26.5), which says that a full-shape constant
// avoids it; what else does, and how near the two must stand, nobody has tried.
bool InferProduct(OpContext& c) {
    if (c.chip().drops_rounded_scale) {
        for (const auto& [factor, other] : {std::pair{"x", "y"}, std::pair{"y", "x"}}) {
            const bool scalar = c.Value(factor).constant && c.Type(factor).elements() == 1 &&
                                c.Dims(factor) != c.Dims(other);
            if (!scalar || !IsRounded(c, other)) continue;
            return c.Fail(Rule::kScaledRounding,
                          "argument " + std::string(factor) + ": " + c.chip().name +
                              " drops a scalar factor right after floor, ceil or round: make it a "
                              "constant of the full shape");
        }
    }
    return InferArithmetic(c);
}

Step PlanDirect(PlanContext& p, const DirectUnary& direct) {
    const Ref x = p.In("x"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        direct.kernel(run.At<Half>(x) + begin, run.At<Half>(out) + begin, end - begin, direct.a,
                      direct.b);
    });
}

// square and relu in the exact mode: bit for bit what their tables hold, and several times faster.
Step PlanPlanar(PlanContext& p, bool square) {
    const BinaryOp op = square ? BinaryOp::kMul : BinaryOp::kMaximum;
    const BinaryFn kernel = p.kernels().binary[p.mode_index()][static_cast<int>(op)];
    const Ref x = p.In("x"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        static constexpr Half kZero = 0;
        const Half* from = run.At<Half>(x) + begin;
        // Of two zeros the maximum is its first operand, so that -0 becomes +0.
        kernel(square ? from : &kZero, square ? 1 : 0, from, 1, run.At<Half>(out) + begin,
               end - begin);
    });
}

// In the fast mode by arithmetic where a kernel does it, else by the operation's table.
Step PlanTable(PlanContext& p, std::string_view op, const UnaryParameters& parameters) {
    if (p.mode() == NumericsMode::kFast) {
        const DirectUnary direct = FindDirectUnary(op, parameters, p.kernels());
        if (direct.kernel != nullptr) return PlanDirect(p, direct);
    } else if (op == "square" || op == "relu") {
        return PlanPlanar(p, op == "square");
    }
    auto table = GetUnaryTable(op, p.mode(), parameters);
    p.Keep(table);
    const Half* entries = table->data();
    const Ref x = p.In("x"), out = p.Out();
    const LookupFn lookup = p.kernels().lookup;
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        lookup(entries, run.At<Half>(x) + begin, run.At<Half>(out) + begin, end - begin);
    });
}

template <BinaryOp kOp>
Step PlanBinary(PlanContext& p) {
    // A power with a constant scalar exponent is a unary function, and the common one (x^-0.5).
    if (kOp == BinaryOp::kPow && p.Value("y").constant && p.Type("y").elements() == 1 &&
        p.OutType() == p.Type("x")) {
        UnaryParameters parameters;
        parameters.alpha = HalfToDouble(*static_cast<const Half*>(p.In("y").fixed));
        return PlanTable(p, "pow_scalar", parameters);
    }
    const BinaryFn kernel = p.kernels().binary[p.mode_index()][static_cast<int>(kOp)];
    const StridedView* x_view = p.StridedViewOf("x");
    const StridedView* y_view = p.StridedViewOf("y");
    const BroadcastLoop loop(p.OutType().dims,
                             {{&p.Dims("x"), x_view ? &x_view->strides : nullptr},
                              {&p.Dims("y"), y_view ? &y_view->strides : nullptr}});
    const int64_t x_offset = x_view ? x_view->offset : 0;
    const int64_t y_offset = y_view ? y_view->offset : 0;
    const Ref x = p.In("x"), y = p.In("y"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        const Half* a = run.At<Half>(x) + x_offset;
        const Half* b = run.At<Half>(y) + y_offset;
        Half* to = run.At<Half>(out);
        loop.Run(begin, end, [&](const auto& at, int64_t o, int64_t n) {
            kernel(a + at[0], loop.step(0), b + at[1], loop.step(1), to + o, n);
        });
    });
}

template <CompareOp kOp>
Step PlanCompare(PlanContext& p) {
    const CompareFn kernel = p.kernels().compare[static_cast<int>(kOp)];
    const BroadcastLoop loop(p.OutType().dims, {{&p.Dims("x")}, {&p.Dims("y")}});
    const Ref x = p.In("x"), y = p.In("y"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        const Half* a = run.At<Half>(x);
        const Half* b = run.At<Half>(y);
        uint8_t* to = run.At<uint8_t>(out);
        loop.Run(begin, end, [&](const auto& at, int64_t o, int64_t n) {
            kernel(a + at[0], loop.step(0), b + at[1], loop.step(1), to + o, n);
        });
    });
}

bool InferSelect(OpContext& c) {
    TensorType type{DType::kFp16, {}};
    std::vector<int64_t> both;
    if (!BroadcastDims(c.Dims("a"), c.Dims("b"), &both) ||
        !BroadcastDims(c.Dims("cond"), both, &type.dims)) {
        return c.Fail(Rule::kShapes, "cond, a and b do not broadcast: " + ToString(c.Type("cond")) +
                                         ", " + ToString(c.Type("a")) + ", " +
                                         ToString(c.Type("b")));
    }
    c.results.push_back(std::move(type));
    return true;
}

Step PlanSelect(PlanContext& p) {
    const SelectFn kernel = p.kernels().select;
    const BroadcastLoop loop(p.OutType().dims, {{&p.Dims("cond")}, {&p.Dims("a")}, {&p.Dims("b")}});
    const Ref cond = p.In("cond"), a = p.In("a"), b = p.In("b"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        const uint8_t* condition = run.At<uint8_t>(cond);
        const Half* yes = run.At<Half>(a);
        const Half* no = run.At<Half>(b);
        Half* to = run.At<Half>(out);
        loop.Run(begin, end, [&](const auto& at, int64_t o, int64_t n) {
            kernel(condition + at[0], loop.step(0), yes + at[1], loop.step(1), no + at[2],
                   loop.step(2), to + o, n);
        });
    });
}

bool InferNot(OpContext& c) {
    c.results.push_back(c.Type("x"));
    return true;
}

Step PlanNot(PlanContext& p) {
    const Ref x = p.In("x"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        const uint8_t* from = run.At<uint8_t>(x);
        uint8_t* to = run.At<uint8_t>(out);
        for (int64_t i = begin; i < end; ++i) to[i] = from[i] == 0;
    });
}

bool InferUnary(OpContext& c) {
    for (const char* name : {"alpha", "beta", "epsilon"}) {
        if (c.Has(name) && c.Type(name).elements() != 1) {
            return c.BadValue(name, "it must be a scalar");
        }
    }
    c.results.push_back(c.Type("x"));
    return true;
}

bool InferGelu(OpContext& c) {
    if (!c.Has("mode")) {
        return c.Fail(Rule::kGeluMode,
                      "without a mode the compiler fails: pass mode as a named string const");
    }
    const std::string mode = c.String("mode", "");
    if (mode != "EXACT" && mode != "TANH_APPROXIMATION" && mode != "SIGMOID_APPROXIMATION") {
        return c.BadValue("mode", "\"" + mode +
                                      "\" is none of EXACT, TANH_APPROXIMATION, "
                                      "SIGMOID_APPROXIMATION");
    }
    return InferUnary(c);
}

bool InferTrigonometric(OpContext& c) {
    if (!c.chip().native_sin) {
        return c.Fail(Rule::kChipTooOld, c.chip().name +
                                             " has no sin and cos (M3 and later have): use a "
                                             "polynomial");
    }
    return InferUnary(c);
}

// MIL's default of epsilon, by operation; alpha and beta have none except where the op defines
// them.
Step PlanUnary(PlanContext& p) {
    const std::string_view op = p.node().name;
    UnaryParameters parameters;
    const double epsilon = op == "rsqrt" ? 1e-12 : op == "log" ? 1e-45 : 1e-4;
    if (op == "rsqrt" || op == "log" || op == "inverse") {
        parameters.alpha = p.Real("epsilon", epsilon);
    } else {
        parameters.alpha = p.Real("alpha", 0);
        parameters.beta = p.Real("beta", 0);
    }
    parameters.late_softplus = op == "softplus" && p.chip().late_softplus;
    return PlanTable(p, op, parameters);
}

constexpr uint32_t kFlags = kInPlace | kElementwise;
constexpr uint32_t kBinary = kFlags | kWalks;
constexpr NumericClass kExact = NumericClass::kBitExact;
constexpr NumericClass kBounded = NumericClass::kBounded;
constexpr NumericClass kUnknown = NumericClass::kUnknown;

const OpDef kOps[] = {
    {"add", "x,y", kExact, kBinary, InferArithmetic, PlanBinary<BinaryOp::kAdd>},
    {"sub", "x,y", kExact, kBinary, InferArithmetic, PlanBinary<BinaryOp::kSub>},
    {"mul", "x,y", kExact, kBinary, InferProduct, PlanBinary<BinaryOp::kMul>},
    {"real_div", "x,y", kBounded, kBinary, InferArithmetic, PlanBinary<BinaryOp::kDiv>},
    {"maximum", "x,y", kExact, kBinary, InferArithmetic, PlanBinary<BinaryOp::kMaximum>},
    {"minimum", "x,y", kExact, kBinary, InferArithmetic, PlanBinary<BinaryOp::kMinimum>},
    {"pow", "x,y", kBounded, kFlags, InferArithmetic, PlanBinary<BinaryOp::kPow>},
    {"floor_div", "x,y", kBounded, kFlags, InferArithmetic, PlanBinary<BinaryOp::kFloorDiv>},
    {"equal", "x,y", kExact, kElementwise, InferCompare, PlanCompare<CompareOp::kEqual>},
    {"not_equal", "x,y", kExact, kElementwise, InferCompare, PlanCompare<CompareOp::kNotEqual>},
    {"less", "x,y", kExact, kElementwise, InferCompare, PlanCompare<CompareOp::kLess>},
    {"less_equal", "x,y", kExact, kElementwise, InferCompare, PlanCompare<CompareOp::kLessEqual>},
    {"greater", "x,y", kExact, kElementwise, InferCompare, PlanCompare<CompareOp::kGreater>},
    {"greater_equal", "x,y", kExact, kElementwise, InferCompare,
     PlanCompare<CompareOp::kGreaterEqual>},
    {"select", "cond:b,a,b", kExact, kFlags, InferSelect, PlanSelect},
    {"logical_not", "x:b", kExact, kFlags, InferNot, PlanNot},
    {"abs", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"square", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"sign", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"floor", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"ceil", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"round", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"relu", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"relu6", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"leaky_relu", "x,alpha:r!", kExact, kFlags, InferUnary, PlanUnary},
    {"clip", "x,alpha:r!,beta:r!", kExact, kFlags, InferUnary, PlanUnary},
    {"clamped_relu", "x,alpha:r!,beta:r!", kUnknown, kFlags, InferUnary, PlanUnary},
    {"linear_activation", "x,alpha:r!,beta:r!", kUnknown, kFlags, InferUnary, PlanUnary},
    {"sigmoid_hard", "x,alpha:r!,beta:r!", kUnknown, kFlags, InferUnary, PlanUnary},
    {"threshold", "x,alpha:r!", kUnknown, kFlags, InferUnary, PlanUnary},
    {"thresholded_relu", "x,alpha:r!", kUnknown, kFlags, InferUnary, PlanUnary},
    {"scaled_tanh", "x,alpha:r!,beta:r!", kUnknown, kFlags, InferUnary, PlanUnary},
    {"exp", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"exp2", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"tanh", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"sigmoid", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"erf", "x", kBounded, kFlags, InferUnary, PlanUnary},
    {"gelu", "x,mode:s?!", kExact, kFlags, InferGelu, PlanUnary},
    {"silu", "x", kBounded, kFlags, InferUnary, PlanUnary},
    {"softplus", "x", kBounded, kFlags, InferUnary, PlanUnary},
    {"softsign", "x", kBounded, kFlags, InferUnary, PlanUnary},
    {"elu", "x,alpha:r!", kBounded, kFlags, InferUnary, PlanUnary},
    {"sqrt", "x", kExact, kFlags, InferUnary, PlanUnary},
    {"rsqrt", "x,epsilon:r?!", kExact, kFlags, InferUnary, PlanUnary},
    {"inverse", "x,epsilon:r?!", kBounded, kFlags, InferUnary, PlanUnary},
    {"log", "x,epsilon:r?!", kBounded, kFlags, InferUnary, PlanUnary},
    {"atan", "x", kBounded, kFlags, InferUnary, PlanUnary},
    {"sin", "x", kBounded, kFlags, InferTrigonometric, PlanUnary},
    {"cos", "x", kBounded, kFlags, InferTrigonometric, PlanUnary},
};

}  // namespace

OpTable ElementwiseOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
