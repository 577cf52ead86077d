// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/gemm_step.h"

namespace jax_ane::software {
namespace {

GemmArgs Arguments(const GemmPlan& g, const Run& run, size_t batch) {
    GemmArgs args;
    args.m = g.m;
    args.n = g.n;
    args.k = g.k;
    args.a = {run.At<Half>(g.a) + g.a_offsets[batch], g.a_row_stride, g.a_column_stride};
    args.b = {run.At<Half>(g.b) + g.b_offsets[batch], g.b_row_stride, g.b_column_stride};
    args.c = run.At<Half>(g.c) + static_cast<int64_t>(batch) * g.m * g.n;
    args.c_row_stride = g.n;
    args.bias_kind = g.bias_kind;
    if (g.bias_kind != BiasKind::kNone) args.bias = run.At<Half>(g.bias);
    return args;
}

}  // namespace

Step PlanGemm(PlanContext& p, const GemmPlan& g) {
    const GemmKernel kernel = p.kernels().gemm[p.mode_index()];
    const size_t batches = g.a_offsets.size();
    ThreadPool* pool = p.pool();
    const void* packed = nullptr;
    if (g.b.fixed != nullptr && batches == 1) {
        if (const size_t bytes = kernel.packed_b_bytes(g.n, g.k); bytes > 0) {
            uint8_t* memory = p.Hold(bytes);
            const MatrixView b{static_cast<const Half*>(g.b.fixed), g.b_row_stride,
                               g.b_column_stride};
            kernel.pack_b(b, g.n, g.k, memory, pool);
            packed = memory;
        }
    }
    // Many small products: a thread for each. Few or large ones: all threads inside each.
    const bool by_batch = batches >= static_cast<size_t>(p.threads()) && p.threads() > 1 &&
                          g.m * g.n * g.k < (int64_t{1} << 26);
    const size_t one = (kernel.scratch_bytes(g.m, g.n, g.k, 1) + 63) / 64 * 64;
    const Ref scratch = p.Scratch(by_batch ? one * static_cast<size_t>(p.threads())
                                           : kernel.scratch_bytes(g.m, g.n, g.k, p.threads()));
    return [=](const Run& run) {
        auto* memory = run.At<uint8_t>(scratch);
        if (!by_batch) {
            for (size_t i = 0; i < batches; ++i) {
                GemmArgs args = Arguments(g, run, i);
                args.packed_b = packed;
                args.scratch = memory;
                args.pool = pool;
                kernel.run(args);
            }
            return;
        }
        pool->ParallelFor(static_cast<int64_t>(batches), 1,
                          [&](int64_t begin, int64_t end, int slot) {
                              for (int64_t i = begin; i < end; ++i) {
                                  GemmArgs args = Arguments(g, run, static_cast<size_t>(i));
                                  args.scratch = memory + one * static_cast<size_t>(slot);
                                  kernel.run(args);
                              }
                          });
    };
}

}  // namespace jax_ane::software
