// SPDX-License-Identifier: Apache-2.0
// Space to batch and back: blocks of the last two axes of [N, C, H, W] move into the batch, the
// block's index outermost.
#include <cstring>

#include "device/software/ops/op.h"
#include "device/software/ops/strided_copy.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

// Blocks, and the margins that are added (to batch) or cut (from batch): top, bottom, left, right.
struct Blocks {
    Dims block, margin;
};

bool ReadBlocks(OpContext& c, const char* margins, Blocks* b) {
    if (c.Type("x").rank() != 4) {
        return c.Fail(Rule::kShapes, "x must be [N, C, H, W]: there is no 3-D form");
    }
    b->block = c.Ints("block_shape");
    b->margin = c.Ints(margins);
    if (b->block.size() != 2 || c.Dims(margins) != Dims{2, 2}) {
        return c.BadValue("block_shape",
                          std::string("it needs 2 numbers, and ") + margins + " [2, 2]");
    }
    for (int64_t block : b->block) {
        if (block < 1 || block > 1024) return c.BadValue("block_shape", "out of range");
        if (!CheckBlock(c, "block_shape", block)) return false;
    }
    for (int64_t margin : b->margin) {
        if (margin < 0 || margin > 1 << 24) return c.BadValue(margins, "out of range");
    }
    return true;
}

bool InferToBatch(OpContext& c) {
    Blocks b;
    if (!ReadBlocks(c, "paddings", &b)) return false;
    TensorType out = c.Type("x");
    for (size_t i = 0; i < 2; ++i) {
        const int64_t padded = out.dims[2 + i] + b.margin[2 * i] + b.margin[2 * i + 1];
        if (padded % b.block[i] != 0) {
            return c.BadValue("block_shape",
                              "it does not divide the padded axes of " + ToString(c.Type("x")));
        }
        out.dims[2 + i] = padded / b.block[i];
    }
    out.dims[0] *= b.block[0] * b.block[1];
    c.results.push_back(std::move(out));
    return true;
}

// Copies plane by plane: `to_batch` tells which side has the blocks in its batch.
Step PlanBlocks(PlanContext& p, const Blocks& b, bool to_batch) {
    const Dims& flat = to_batch ? p.Dims("x") : p.OutType().dims;  // no blocks in the batch
    const Dims& deep = to_batch ? p.OutType().dims : p.Dims("x");
    const int64_t n = flat[0], channels = flat[1], h = flat[2], w = flat[3];
    const int64_t dh = deep[2], dw = deep[3], bh = b.block[0], bw = b.block[1];
    const int64_t top = b.margin[0], left = b.margin[2];
    const Ref x = p.In("x"), out = p.Out();
    const auto bytes = static_cast<size_t>(p.OutType().bytes());
    ThreadPool* pool = p.pool();
    return [=](const Run& run) {
        const Half* from = run.At<Half>(x);
        Half* to = run.At<Half>(out);
        if (to_batch) std::memset(to, 0, bytes);
        ParallelFor(pool, n * channels, 1, [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin * h * w; i < end * h * w; ++i) {
                const int64_t plane = i / (h * w), row = i / w % h + top, column = i % w + left;
                const int64_t batch = (row % bh * bw + column % bw) * n + plane / channels;
                const int64_t at =
                    ((batch * channels + plane % channels) * dh + row / bh) * dw + column / bw;
                if (to_batch) {
                    to[at] = from[i];
                } else {
                    to[i] = from[at];
                }
            }
        });
    };
}

Step PlanToBatch(PlanContext& p) {
    Blocks b;
    ReadBlocks(p, "paddings", &b);
    return PlanBlocks(p, b, true);
}

bool InferFromBatch(OpContext& c) {
    Blocks b;
    if (!ReadBlocks(c, "crops", &b)) return false;
    TensorType out = c.Type("x");
    if (out.dims[0] % (b.block[0] * b.block[1]) != 0) {
        return c.BadValue("block_shape", "it does not divide the batch of " + ToString(out));
    }
    out.dims[0] /= b.block[0] * b.block[1];
    for (size_t i = 0; i < 2; ++i) {
        out.dims[2 + i] = out.dims[2 + i] * b.block[i] - b.margin[2 * i] - b.margin[2 * i + 1];
        if (out.dims[2 + i] < 1) return c.BadValue("crops", "they leave nothing");
    }
    c.results.push_back(std::move(out));
    return true;
}

Step PlanFromBatch(PlanContext& p) {
    Blocks b;
    ReadBlocks(p, "crops", &b);
    return PlanBlocks(p, b, false);
}

constexpr NumericClass kExact = NumericClass::kBitExact;

const OpDef kOps[] = {
    {"space_to_batch", "x,block_shape:i!,paddings:i!", kExact, kPlain, InferToBatch, PlanToBatch},
    {"batch_to_space", "x,block_shape:i!,crops:i!", kExact, kPlain, InferFromBatch, PlanFromBatch},
};

}  // namespace

OpTable BatchOps() { return {kOps, std::size(kOps)}; }

}  // namespace jax_ane::software
