// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/gemm_step.h"

#include <numeric>

#include "util/aligned_memory.h"

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

// Packs the right-hand side into memory of its own.
std::shared_ptr<const void> Pack(const GemmKernel& kernel, const GemmPlan& g, const Half* data,
                                 size_t bytes, ThreadPool* pool) {
    std::shared_ptr<void> memory = AllocateAligned(bytes);
    if (memory == nullptr) return nullptr;
    kernel.pack_b({data, g.b_row_stride, g.b_column_stride}, g.n, g.k, memory.get(), pool);
    return memory;
}

// With so many rows a product costs far more than packing its right-hand side on the way, and the
// kernels do the same either way. Weights in training never see a second evaluation.
constexpr int64_t kManyRows = 64;

// Whether this is the first request for what `key` names.
bool IsFirstRequest(device::SurfaceContents& contents, device::DerivedKey key) {
    static const char seen = 0;
    key.numbers.back() = reinterpret_cast<intptr_t>(key.maker);
    key.maker = &seen;
    if (contents.Find(key) != nullptr) return false;
    contents.Insert(key, std::shared_ptr<const void>(std::shared_ptr<void>(), &seen), 0);
    return true;
}

// The packed form of a right-hand side that its owner vouches for: made at its first evaluation,
// or its second of many rows, and found at all later ones. Null where nobody vouches, or where
// there is no memory for it.
const void* PackedOperand(const GemmKernel& kernel, const GemmPlan& g, const Run& run,
                          ThreadPool* pool) {
    device::SurfaceContents* contents = run.contents[g.b.base];
    if (contents == nullptr) return nullptr;
    const int64_t offset = static_cast<int64_t>(g.b.offset) + g.b_offsets[0] * 2;
    const device::DerivedKey key{reinterpret_cast<const void*>(kernel.pack_b),
                                 {g.n, g.k, g.b_row_stride, g.b_column_stride, offset}};
    if (const void* found = contents->Find(key)) return found;
    if (g.m >= kManyRows && IsFirstRequest(*contents, key)) return nullptr;
    const size_t bytes = kernel.packed_b_bytes(g.n, g.k);
    auto packed = Pack(kernel, g, run.At<Half>(g.b) + g.b_offsets[0], bytes, pool);
    return packed == nullptr ? nullptr : contents->Insert(key, std::move(packed), bytes);
}

// Gathered rows as the kernels take them, neighbouring pieces put together.
struct Gather {
    std::vector<int64_t> rows, taps;
    int64_t tap_length = 0;

    explicit Gather(const GatheredRows* gathered) {
        if (gathered == nullptr) return;
        rows = gathered->RowOffsets();
        taps = gathered->taps;
        tap_length = gathered->tap_length;
        // As many neighbours as every run of them has.
        size_t run = taps.size();
        for (size_t i = 0, begin = 0; i < taps.size(); ++i) {
            if (i + 1 < taps.size() && taps[i + 1] == taps[i] + tap_length) continue;
            run = std::gcd(run, i + 1 - begin);
            begin = i + 1;
        }
        for (size_t i = 0; i * run < taps.size(); ++i) taps[i] = taps[i * run];
        taps.resize(taps.size() / run);
        tap_length *= static_cast<int64_t>(run);
    }
    RowGather View() const {
        return rows.empty() ? RowGather{} : RowGather{rows.data(), taps.data(), tap_length};
    }
};

}  // namespace

Step PlanGemm(PlanContext& p, const GemmPlan& g) {
    const Gather gather(g.a_rows.get());
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
    const bool packs = g.b.fixed == nullptr && batches == 1 && kernel.packed_b_bytes(g.n, g.k) > 0;
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
                args.a_gather = gather.View();
                args.packed_b = packs ? PackedOperand(kernel, g, run, pool) : packed;
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
