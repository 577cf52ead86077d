// SPDX-License-Identifier: Apache-2.0
// Operations that only rename axes: their results are the operand itself, so they plan no step.
#include <algorithm>

#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

// Another shape for the same elements: the planner works it out (FindLayouts).
bool Renames(OpContext&, StridedView*) { return true; }

Step NoStep(PlanContext&) {
    return [](const Run&) {};
}

bool InferReshape(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    const int64_t elements = c.Type("x").elements();
    Dims shape = c.Ints("shape");
    int64_t known = 1;
    int open = -1;
    for (size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == -1 && open < 0) {
            open = static_cast<int>(i);
            continue;
        }
        if (shape[i] == 0 && i < c.Dims("x").size()) shape[i] = c.Dims("x")[i];
        if (shape[i] <= 0 || shape[i] > elements / known) {
            return c.Fail(Rule::kShapes, "the new shape does not have the operand's " +
                                             std::to_string(elements) + " elements");
        }
        known *= shape[i];
    }
    if (open >= 0) shape[static_cast<size_t>(open)] = elements / known;
    if ((open >= 0 && elements % known != 0) || (open < 0 && known != elements)) {
        return c.Fail(Rule::kShapes, "the new shape does not have the operand's " +
                                         std::to_string(elements) + " elements");
    }
    c.results.push_back({c.Type("x").dtype, std::move(shape)});
    return true;
}

bool InferExpandDims(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    const Dims& dims = c.Dims("x");
    std::vector<int64_t> axes;
    const auto rank = static_cast<int64_t>(dims.size() + c.Ints("axes").size());
    if (rank > 16) return c.BadValue("axes", "too many of them");
    if (!c.Axes("axes", rank, &axes)) return false;
    Dims out;
    size_t next = 0;
    for (int64_t i = 0; i < rank; ++i) {
        const bool added = std::find(axes.begin(), axes.end(), i) != axes.end();
        out.push_back(added ? 1 : dims[next++]);
    }
    c.results.push_back({c.Type("x").dtype, std::move(out)});
    return true;
}

bool InferSqueeze(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    const Dims& dims = c.Dims("x");
    std::vector<int64_t> axes;
    if (!c.Axes("axes", static_cast<int64_t>(dims.size()), &axes)) return false;
    Dims out;
    for (size_t i = 0; i < dims.size(); ++i) {
        const bool named =
            std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
        if (named && dims[i] != 1 && c.Has("axes")) {
            return c.BadValue("axes", "axis " + std::to_string(i) + " has " +
                                          std::to_string(dims[i]) + " elements, not 1");
        }
        if (!named || dims[i] != 1) out.push_back(dims[i]);
    }
    c.results.push_back({c.Type("x").dtype, std::move(out)});
    return true;
}

bool InferFlatten(OpContext& c) {
    if (!MovableType(c, c.Type("x"))) return false;
    const Dims& dims = c.Dims("x");
    const int64_t rank = static_cast<int64_t>(dims.size());
    const int64_t given = c.Int("axis", 1);
    const int64_t axis = given < 0 ? given + rank : given;
    if (axis < 0 || axis > rank) return c.BadValue("axis", "no axis of the operand");
    Dims out{1, 1};
    for (int64_t i = 0; i < rank; ++i) out[i < axis ? 0 : 1] *= dims[static_cast<size_t>(i)];
    c.results.push_back({c.Type("x").dtype, std::move(out)});
    return true;
}

constexpr NumericClass kExact = NumericClass::kBitExact;

const OpDef kOps[] = {
    {"reshape", "x:a,shape:i!", kExact, kView, InferReshape, NoStep, Renames},
    {"expand_dims", "x:a,axes:i!", kExact, kView, InferExpandDims, NoStep, Renames},
    {"squeeze", "x:a,axes:i?!", kExact, kView, InferSqueeze, NoStep, Renames},
    {"flatten2d", "x:a,axis:n?!", kExact, kView, InferFlatten, NoStep, Renames},
};

}  // namespace

OpTable ViewOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
