// SPDX-License-Identifier: Apache-2.0
// Which kernels run: one table per instruction set, chosen by name or by what the CPU has.
#include "device/software/kernels/kernels.h"
#include "device/software/kernels/reference.h"

namespace jax_ane::software {

const KernelTable& ReferenceKernels() {
    static const KernelTable table = [] {
        KernelTable t{};
        FillReferenceGemm(t);
        FillReferenceElementwise(t);
        FillReferenceReduce(t);
        FillReferenceMovement(t);
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

const Isa kIsas[] = {
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
