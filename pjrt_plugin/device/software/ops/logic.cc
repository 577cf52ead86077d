// SPDX-License-Identifier: Apache-2.0
// Logic on bool values, which live inside programs only.
#include "device/software/ops/broadcast.h"
#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

bool InferAnd(OpContext& c) {
    if (!c.chip().logical_and) {
        return c.Fail(Rule::kChipTooOld, c.chip().name +
                                             " has no lowering for it (M4 has): use "
                                             "mul or minimum on 0 and 1 in fp16");
    }
    TensorType out{DType::kBool, {}};
    if (!BroadcastDims(c.Dims("x"), c.Dims("y"), &out.dims)) {
        return c.Fail(Rule::kShapes, "x is " + ToString(c.Type("x")) + " and y is " +
                                         ToString(c.Type("y")) + ": they do not broadcast");
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanAnd(PlanContext& p) {
    const BroadcastLoop loop(p.OutType().dims, {{&p.Dims("x")}, {&p.Dims("y")}});
    const Ref x = p.In("x"), y = p.In("y"), out = p.Out();
    return p.Elementwise([=](const Run& run, int64_t begin, int64_t end) {
        loop.Run(begin, end, [&](const auto& at, int64_t o, int64_t n) {
            const uint8_t* a = run.At<uint8_t>(x) + at[0];
            const uint8_t* b = run.At<uint8_t>(y) + at[1];
            uint8_t* to = run.At<uint8_t>(out) + o;
            for (int64_t i = 0; i < n; ++i) {
                to[i] = a[i * loop.step(0)] != 0 && b[i * loop.step(1)] != 0;
            }
        });
    });
}

const OpDef kOps[] = {
    {"logical_and", "x:b,y:b", NumericClass::kBitExact, kElementwise, InferAnd, PlanAnd},
};

}  // namespace

OpTable LogicOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
