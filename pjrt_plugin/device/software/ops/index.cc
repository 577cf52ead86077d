// SPDX-License-Identifier: Apache-2.0
// Operations that pick elements: slices, crops, gather by constant indices.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

size_t Bytes(const TensorType& type) { return static_cast<size_t>(mil::DTypeBits(type.dtype) / 8); }

// Start, step and count of each axis.
struct Slice {
    Dims begin, step, count;
    std::vector<bool> squeezed;
};

// The layout of the slice of something that lies as `view` says.
StridedView ViewOfSlice(StridedView view, const Slice& s) {
    for (size_t i = 0; i < s.begin.size(); ++i) {
        view.offset += s.begin[i] * view.strides[i];
        view.strides[i] *= s.step[i];
    }
    return view;
}

// Whether the chip's copy goes through the fixed-point format.
bool HasHazard(const OpContext& c, const Slice& s) {
    return c.chip().slice_hazard && !s.begin.empty() && s.begin.back() != 0 &&
           c.Type("x").dtype == DType::kFp16;
}

Step PlanSlice(PlanContext& p, const Slice& s) {
    const StridedView view = ViewOfSlice(p.LayoutOf("x"), s);
    const StridedCopy copy(Bytes(p.OutType()), s.count, view.strides, DenseStrides(s.count),
                           view.offset);
    const bool hazard = p.mode() == NumericsMode::kExact && HasHazard(p, s);
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref x = p.In("x"), out = p.Out();
    const int64_t n = p.OutType().elements();
    return [=](const Run& run) {
        copy.Run(*kernels, pool, run.At<uint8_t>(x), run.At<uint8_t>(out));
        if (!hazard) return;
        // M1 and M2 copy through a fixed-point format that multiplies by 16: 4095 and above
        // overflow.
        Half* values = run.At<Half>(out);
        for (int64_t i = 0; i < n; ++i) {
            if ((values[i] & 0x7FFF) > 0x6BFF) values[i] = (values[i] & 0x8000) | kHalfInf;
        }
    };
}

bool ReadSliceBySize(OpContext& c, Slice* s) {
    const Dims& dims = c.Dims("x");
    s->begin = c.Ints("begin");
    s->count = c.Ints("size");
    if (s->begin.size() != dims.size() || s->count.size() != dims.size()) {
        return c.BadValue("begin", "begin and size need one number for each axis of x");
    }
    s->step.assign(dims.size(), 1);
    for (size_t i = 0; i < dims.size(); ++i) {
        if (s->begin[i] < 0) s->begin[i] += dims[i];
        if (s->begin[i] < 0 || s->begin[i] >= dims[i]) {
            return c.BadValue(
                "begin", "it leaves axis " + std::to_string(i) + " of " + ToString(c.Type("x")));
        }
        if (s->count[i] == -1) s->count[i] = dims[i] - s->begin[i];
        if (s->count[i] < 1 || s->count[i] > dims[i] - s->begin[i]) {
            return c.BadValue(
                "size", "it leaves axis " + std::to_string(i) + " of " + ToString(c.Type("x")));
        }
    }
    return true;
}

bool InferSliceBySize(OpContext& c) {
    Slice s;
    if (!MovableType(c, c.Type("x")) || !ReadSliceBySize(c, &s)) return false;
    c.results.push_back({c.Type("x").dtype, s.count});
    return true;
}

bool ViewBySize(OpContext& c, StridedView* view) {
    Slice s;
    if (!ReadSliceBySize(c, &s) || HasHazard(c, s)) return false;
    *view = ViewOfSlice(std::move(*view), s);
    return true;
}

Step PlanSliceBySize(PlanContext& p) {
    Slice s;
    ReadSliceBySize(p, &s);
    return PlanSlice(p, s);
}

bool ReadMask(OpContext& c, const char* name, size_t rank, std::vector<bool>* mask) {
    mask->assign(rank, false);
    if (!c.Has(name)) return true;
    const GraphValue& value = c.Value(name);
    if (value.type.dtype != DType::kBool || !value.constant || value.is_deferred ||
        value.constant->size != rank) {
        return c.BadValue(name, "it needs one truth value for each axis");
    }
    for (size_t i = 0; i < rank; ++i) (*mask)[i] = value.constant->bytes[i] != 0;
    return true;
}

bool ReadSliceByIndex(OpContext& c, Slice* s) {
    const Dims& dims = c.Dims("x");
    const size_t rank = dims.size();
    Dims end = c.Ints("end");
    s->begin = c.Ints("begin");
    s->step = c.Ints("stride", Dims(rank, 1));
    if (s->begin.size() != rank || end.size() != rank || s->step.size() != rank) {
        return c.BadValue("begin", "begin, end and stride need one number for each axis of x");
    }
    std::vector<bool> begin_mask, end_mask;
    if (!ReadMask(c, "begin_mask", rank, &begin_mask) ||
        !ReadMask(c, "end_mask", rank, &end_mask) ||
        !ReadMask(c, "squeeze_mask", rank, &s->squeezed)) {
        return false;
    }
    for (size_t i = 0; i < rank; ++i) {
        const int64_t step = s->step[i], n = dims[i];
        if (step == 0) return c.BadValue("stride", "a stride of 0");
        // As Python slices: negative numbers count from the end, what leaves the axis is cut.
        auto clip = [&](int64_t at) {
            if (at < 0) at += n;
            return step > 0 ? std::min(std::max<int64_t>(at, 0), n)
                            : std::min(std::max<int64_t>(at, -1), n - 1);
        };
        int64_t from = begin_mask[i] ? (step > 0 ? 0 : n - 1) : clip(s->begin[i]);
        int64_t to = end_mask[i] ? (step > 0 ? n : -1) : clip(end[i]);
        if (s->squeezed[i]) {
            from = s->begin[i] < 0 ? s->begin[i] + n : s->begin[i];
            to = from + 1;
            if (from < 0 || from >= n) return c.BadValue("begin", "it leaves x");
            s->step[i] = 1;
        }
        const int64_t width = s->step[i] > 0 ? to - from : from - to;
        const int64_t pace = std::abs(s->step[i]);
        if (width <= 0) {
            return c.BadValue("end", "the slice of axis " + std::to_string(i) + " is empty");
        }
        s->begin[i] = from;
        s->count.push_back((width + pace - 1) / pace);
    }
    return true;
}

bool InferSliceByIndex(OpContext& c) {
    Slice s;
    if (!MovableType(c, c.Type("x")) || !ReadSliceByIndex(c, &s)) return false;
    TensorType out{c.Type("x").dtype, {}};
    for (size_t i = 0; i < s.count.size(); ++i) {
        if (!s.squeezed[i]) out.dims.push_back(s.count[i]);
    }
    c.results.push_back(std::move(out));
    return true;
}

bool ViewByIndex(OpContext& c, StridedView* view) {
    Slice s;
    if (!ReadSliceByIndex(c, &s) || HasHazard(c, s)) return false;
    if (std::find(s.squeezed.begin(), s.squeezed.end(), true) != s.squeezed.end()) return false;
    *view = ViewOfSlice(std::move(*view), s);
    return true;
}

Step PlanSliceByIndex(PlanContext& p) {
    Slice s;
    ReadSliceByIndex(p, &s);
    return PlanSlice(p, s);
}

// ---- gather ----

bool InferGather(OpContext& c) {
    const GraphValue& indices = c.Value("indices");
    int64_t axis;
    if (!MovableType(c, c.Type("x")) || !c.Axis("axis", 0, c.Type("x").rank(), &axis)) return false;
    if (!indices.constant || indices.is_deferred) {
        return c.Fail(Rule::kGatherIndices,
                      "run-time indices have no path on the engine: use a one-hot matmul or the "
                      "host");
    }
    if (c.Int("batch_dims", 0) != 0) {
        return c.BadValue("batch_dims", "only 0 has a lowering");
    }
    if (indices.type.dtype == DType::kFp16 || indices.type.dtype == DType::kFp32 ||
        indices.type.dtype == DType::kString || indices.type.dtype == DType::kBool ||
        mil::DTypeBits(indices.type.dtype) < 8) {
        return c.Fail(Rule::kArgumentType, "indices must be integers");
    }
    const Dims& dims = c.Dims("x");
    const auto a = static_cast<size_t>(axis);
    for (int64_t index : c.Ints("indices")) {
        if (index < -dims[a] || index >= dims[a]) {
            return c.BadValue("indices", std::to_string(index) + " leaves the axis of " +
                                             std::to_string(dims[a]));
        }
    }
    TensorType out{c.Type("x").dtype, {}};
    out.dims.assign(dims.begin(), dims.begin() + axis);
    out.dims.insert(out.dims.end(), indices.type.dims.begin(), indices.type.dims.end());
    out.dims.insert(out.dims.end(), dims.begin() + axis + 1, dims.end());
    if (out.dims.size() > 16) return c.Fail(Rule::kRank, "the result has too many axes");
    c.results.push_back(std::move(out));
    return true;
}

Step PlanGather(PlanContext& p) {
    int64_t axis = 0;
    p.Axis("axis", 0, p.Type("x").rank(), &axis);
    const Dims& dims = p.Dims("x");
    int64_t outer = 1, inner = static_cast<int64_t>(Bytes(p.OutType()));
    for (int64_t i = 0; i < axis; ++i) outer *= dims[static_cast<size_t>(i)];
    for (size_t i = static_cast<size_t>(axis) + 1; i < dims.size(); ++i) inner *= dims[i];
    const int64_t extent = dims[static_cast<size_t>(axis)];
    Dims indices = p.Ints("indices");
    for (int64_t& index : indices) index += index < 0 ? extent : 0;
    const auto count = static_cast<int64_t>(indices.size());
    const Ref x = p.In("x"), out = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const uint8_t* from = run.At<uint8_t>(x);
        uint8_t* to = run.At<uint8_t>(out);
        const int64_t grain = std::max<int64_t>(1, 65536 / inner);
        ParallelFor(pool, outer * count, grain, [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) {
                const int64_t index = indices[static_cast<size_t>(r % count)];
                std::memcpy(to + r * inner, from + (r / count * extent + index) * inner,
                            static_cast<size_t>(inner));
            }
        });
    };
}

// ---- crop ----

bool ReadCrop(OpContext& c, Slice* s) {
    const Dims& dims = c.Dims("x");
    if (dims.size() < 3) return c.Fail(Rule::kShapes, "x must have rank 3 or more");
    s->begin.assign(dims.size(), 0);
    s->step.assign(dims.size(), 1);
    s->count = dims;
    for (size_t i = 0; i < 2; ++i) {
        const char* name = i == 0 ? "crop_height" : "crop_width";
        const size_t axis = dims.size() - 2 + i;
        const Dims crop = c.Ints(name);
        if (crop.size() != 2 || crop[0] < 0 || crop[1] < 0 || crop[0] + crop[1] >= dims[axis]) {
            return c.BadValue(name, "it needs two numbers from 0 that leave something of the " +
                                        std::to_string(dims[axis]) + " elements");
        }
        s->begin[axis] = crop[0];
        s->count[axis] -= crop[0] + crop[1];
    }
    return true;
}

bool InferCrop(OpContext& c) {
    Slice s;
    if (!ReadCrop(c, &s)) return false;
    c.results.push_back({DType::kFp16, s.count});
    return true;
}

bool ViewCrop(OpContext& c, StridedView* view) {
    Slice s;
    if (!ReadCrop(c, &s) || HasHazard(c, s)) return false;
    *view = ViewOfSlice(std::move(*view), s);
    return true;
}

Step PlanCrop(PlanContext& p) {
    Slice s;
    ReadCrop(p, &s);
    return PlanSlice(p, s);
}

constexpr NumericClass kExact = NumericClass::kBitExact;

const OpDef kOps[] = {
    {"slice_by_size", "x:a,begin:i!,size:i!", kExact, kJoins, InferSliceBySize, PlanSliceBySize,
     ViewBySize},
    {"slice_by_index",
     "x:a,begin:i!,end:i!,stride:i?!,begin_mask:a?!,end_mask:a?!,squeeze_mask:a?!", kExact, kJoins,
     InferSliceByIndex, PlanSliceByIndex, ViewByIndex},
    {"gather", "x:a,indices:a,axis:n?!,batch_dims:n?!,validate_indices:b?!", kExact, kPlain,
     InferGather, PlanGather},
    {"crop", "x,crop_height:i!,crop_width:i!", kExact, kJoins, InferCrop, PlanCrop, ViewCrop},
};

}  // namespace

OpTable IndexOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
