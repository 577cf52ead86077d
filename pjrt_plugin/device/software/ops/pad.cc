// SPDX-License-Identifier: Apache-2.0
// Padding of the last two axes with zeros, or (M2 and later) with reflected or repeated elements.
#include <cstring>

#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

bool CheckMode(OpContext& c, const std::string& mode) {
    if (mode != "constant" && mode != "reflect" && mode != "replicate") {
        return c.BadValue("mode", "\"" + mode + "\" is none of constant, reflect, replicate");
    }
    if (mode == "constant" && c.Real("constant_val", 0) != 0) {
        return c.Fail(Rule::kPad, "only the value 0 has a lowering: pad with zeros and select");
    }
    return mode == "constant" || c.chip().reflect_pad ||
           c.Fail(Rule::kPad,
                  c.chip().name + " pads with zeros only: mode \"" + mode + "\" came with M2");
}

bool InferPad(OpContext& c) {
    TensorType out = c.Type("x");
    const Dims pad = c.Ints("pad");
    const std::string mode = c.String("mode", "constant");
    const size_t rank = out.dims.size();
    if (pad.size() % 2 != 0 || pad.size() > 2 * rank) {
        return c.BadValue("pad", "it needs a pair of numbers for each of the last axes");
    }
    if (!CheckMode(c, mode)) return false;
    const size_t first = rank - pad.size() / 2;
    for (size_t i = 0; i < pad.size(); ++i) {
        const size_t axis = first + i / 2;
        if (pad[i] < 0 || pad[i] > (int64_t{1} << 30)) {
            return c.BadValue("pad", std::to_string(pad[i]) + " is out of range");
        }
        if (pad[i] > 0 && axis + 2 < rank) {
            return c.Fail(Rule::kPad, "axis " + std::to_string(axis) +
                                          " cannot be padded: only the last two can, so transpose "
                                          "or concat zeros");
        }
        if (mode == "reflect" && pad[i] >= c.Dims("x")[axis]) {
            return c.BadValue("pad", std::to_string(pad[i]) + " reflects more than axis " +
                                         std::to_string(axis) + " has");
        }
        out.dims[axis] += pad[i];
    }
    c.results.push_back(std::move(out));
    return true;
}

// Where each element of a padded axis comes from.
Dims Sources(int64_t before, int64_t in, int64_t out, bool reflect) {
    Dims sources(static_cast<size_t>(out));
    for (int64_t i = 0; i < out; ++i) {
        int64_t at = i - before;
        if (at < 0) at = reflect ? -at : 0;
        if (at >= in) at = reflect ? 2 * (in - 1) - at : in - 1;
        sources[static_cast<size_t>(i)] = at;
    }
    return sources;
}

Step PlanMirrored(PlanContext& p, const Dims& before, bool reflect) {
    // Rank 1 is a single row.
    Dims in = p.Dims("x"), out = p.OutType().dims, first = before;
    if (in.size() == 1) {
        for (Dims* dims : {&in, &out}) dims->insert(dims->begin(), 1);
        first.insert(first.begin(), 0);
    }
    const size_t h = in.size() - 2, w = h + 1;
    const Dims rows = Sources(first[h], in[h], out[h], reflect);
    const Dims columns = Sources(first[w], in[w], out[w], reflect);
    const int64_t in_h = in[h], in_w = in[w], out_h = out[h], out_w = out[w];
    const int64_t planes = p.Type("x").elements() / (in_h * in_w);
    const Ref x = p.In("x"), result = p.Out();
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(result);
        const int64_t grain = std::max<int64_t>(1, 16384 / out_w);
        ParallelFor(pool, planes * out_h, grain, [&](int64_t begin, int64_t end, int) {
            for (int64_t r = begin; r < end; ++r) {
                const int64_t row = r / out_h * in_h + rows[static_cast<size_t>(r % out_h)];
                for (int64_t i = 0; i < out_w; ++i) {
                    to[r * out_w + i] = from[row * in_w + columns[static_cast<size_t>(i)]];
                }
            }
        });
    };
}

Step PlanPad(PlanContext& p) {
    const Dims& dims = p.Dims("x");
    const Dims& out = p.OutType().dims;
    const Dims pad = p.Ints("pad"), to = DenseStrides(out);
    Dims before(dims.size(), 0);
    int64_t offset = 0;
    for (size_t i = 0; i < pad.size(); i += 2) {
        const size_t axis = dims.size() - pad.size() / 2 + i / 2;
        before[axis] = pad[i];
        offset += pad[i] * to[axis];
    }
    const std::string mode = p.String("mode", "constant");
    if (mode != "constant" && !dims.empty()) return PlanMirrored(p, before, mode == "reflect");
    const StridedCopy copy(2, dims, DenseStrides(dims), to, 0, offset);
    const KernelTable* kernels = &p.kernels();
    ThreadPool* pool = p.pool();
    const Ref x = p.In("x"), result = p.Out();
    const auto bytes = static_cast<size_t>(p.OutType().bytes());
    return [=](const Run& run) {
        std::memset(run.At<uint8_t>(result), 0, bytes);
        copy.Run(*kernels, pool, run.At<uint8_t>(x), run.At<uint8_t>(result));
    };
}

const OpDef kOps[] = {
    {"pad", "x,pad:i!,mode:s?!,constant_val:r?!", NumericClass::kBitExact, kPlain, InferPad,
     PlanPad},
};

}  // namespace

OpTable PadOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
