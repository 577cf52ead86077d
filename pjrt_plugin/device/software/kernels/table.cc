// SPDX-License-Identifier: Apache-2.0
// Which kernels run: one table per instruction set, chosen by name or by what the CPU has.
#include "device/software/kernels/kernels.h"
#include "device/software/kernels/reference.h"
#include "device/software/kernels/vector_tables.h"

#if defined(JAX_ANE_HAS_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace jax_ane::software {

const KernelTable& ReferenceKernels() {
    static const KernelTable table = [] {
        KernelTable t{};
        FillReferenceGemm(t);
        FillReferenceElementwise(t);
        FillReferenceReduce(t);
        FillReferenceRows(t);
        FillReferenceMovement(t);
        FillReferenceTaps(t);
        return t;
    }();
    return table;
}

namespace {

// An instruction set: its name, whether this CPU has it, and what overwrites the reference. Best
// first.
struct Isa {
    std::string_view name;
    bool (*available)();
    const KernelTable& (*table)();
};

#if defined(__x86_64__)
bool HasAvx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

// Every CPU with AVX2 has F16C; clang 14 cannot ask for it.
bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

const KernelTable& Avx2Kernels() {
    static const KernelTable table = [] {
        KernelTable t = ReferenceKernels();
        t.isa = "avx2";
        FillAvx2Gemm(t);
        FillAvx2Elementwise(t);
        return t;
    }();
    return table;
}

const KernelTable& Avx512Kernels() {
    static const KernelTable table = [] {
        KernelTable t = Avx2Kernels();
        t.isa = "avx512";
        FillAvx512Gemm(t);
        FillAvx512Elementwise(t);
        return t;
    }();
    return table;
}

#if defined(JAX_ANE_HAS_AMX)
// The tiles' state is large, so Linux gives it only to processes that ask.
bool HasAmx() {
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // of arch_prctl
    constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!HasAvx512() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
    static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
    return permitted;
}

const KernelTable& AmxKernels() {
    static const KernelTable table = [] {
        KernelTable t = Avx512Kernels();
        t.isa = "amx";
        FillAmxGemm(t);
        return t;
    }();
    return table;
}
#endif
#endif

#if defined(__aarch64__)
const KernelTable& NeonKernels() {
    static const KernelTable table = [] {
        KernelTable t = ReferenceKernels();
        t.isa = "neon";
        FillNeonGemm(t);
        FillNeonElementwise(t);
        return t;
    }();
    return table;
}
#endif

const Isa kIsas[] = {
#if defined(__x86_64__)
#if defined(JAX_ANE_HAS_AMX)
    {"amx", HasAmx, AmxKernels},
#endif
    {"avx512", HasAvx512, Avx512Kernels},
    {"avx2", HasAvx2, Avx2Kernels},
#endif
#if defined(__aarch64__)
    {"neon", [] { return true; }, NeonKernels},
#endif
    {"scalar", [] { return true; }, ReferenceKernels},
};

}  // namespace

const KernelTable* FindKernels(std::string_view name) {
    for (const Isa& isa : kIsas) {
        if ((name == "auto" || name == isa.name) && isa.available()) return &isa.table();
    }
    return nullptr;
}

}  // namespace jax_ane::software
