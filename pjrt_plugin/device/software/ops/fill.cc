// SPDX-License-Identifier: Apache-2.0
// Constants made at load: fills and ranges.
#include <algorithm>
#include <cmath>

#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

bool CheckScalar(OpContext& c, const char* name) {
    if (!c.Has(name)) return true;
    if (c.Type(name).elements() != 1) return c.BadValue(name, "it must be a scalar");
    return c.Type(name).dtype == DType::kFp16 ||
           c.Fail(Rule::kInteriorType, std::string("argument ") + name + " is " +
                                           ToString(c.Type(name)) +
                                           ": values inside a program are fp16");
}

bool InferFill(OpContext& c) {
    if (!CheckScalar(c, "value")) return false;
    TensorType out{DType::kFp16, c.Ints("shape")};
    if (out.dims.size() > 16) return c.Fail(Rule::kRank, "the result has too many axes");
    int64_t elements = 1;
    for (int64_t dim : out.dims) {
        if (dim < 1) return c.BadValue("shape", "a dimension below 1");
        if (dim > (int64_t{1} << 31) / elements) {
            return c.Fail(Rule::kTooLarge, "the tensor has more than 2^31 elements");
        }
        elements *= dim;
    }
    c.results.push_back(std::move(out));
    return true;
}

bool InferFillLike(OpContext& c) {
    if (!CheckScalar(c, "value")) return false;
    c.results.push_back({DType::kFp16, c.Dims("ref_tensor")});
    return true;
}

Step PlanFill(PlanContext& p) {
    const Half value = FloatToHalf(static_cast<float>(p.Real("value", 0)));
    const Ref out = p.Out();
    const int64_t n = p.OutType().elements();
    return [=](const Run& run) { std::fill_n(run.At<Half>(out), n, value); };
}

bool InferRange(OpContext& c) {
    if (!c.chip().native_range) {
        return c.Fail(Rule::kChipTooOld,
                      c.chip().name + " cannot generate ranges: write the values as a const");
    }
    for (const char* name : {"start", "end", "step"}) {
        if (!CheckScalar(c, name)) return false;
    }
    const double step = c.Real("step", 1);
    const double count = std::ceil((c.Real("end", 0) - c.Real("start", 0)) / step);
    if (!(count >= 1 && count <= 1 << 24))
        return c.BadValue("end", "the range is empty or endless");
    c.results.push_back({DType::kFp16, {static_cast<int64_t>(count)}});
    return true;
}

Step PlanRange(PlanContext& p) {
    const double start = p.Real("start", 0), step = p.Real("step", 1);
    const Ref out = p.Out();
    const int64_t n = p.OutType().elements();
    return [=](const Run& run) {
        for (int64_t i = 0; i < n; ++i) {
            run.At<Half>(out)[i] = DoubleToHalfAway(start + step * static_cast<double>(i));
        }
    };
}

constexpr NumericClass kExact = NumericClass::kBitExact;

const OpDef kOps[] = {
    {"fill", "shape:i!,value:r?!", kExact, kConstexpr, InferFill, PlanFill},
    {"fill_like", "ref_tensor:a,value:r?!", kExact, kConstexpr, InferFillLike, PlanFill},
    {"range_1d", "start:r!,end:r!,step:r!", NumericClass::kBounded, kConstexpr, InferRange,
     PlanRange},
};

}  // namespace

OpTable FillOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
