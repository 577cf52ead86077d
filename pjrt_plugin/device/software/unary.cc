// SPDX-License-Identifier: Apache-2.0
#include "device/software/unary.h"

#include <mutex>
#include <string>
#include <vector>

#include "device/software/unary_exact.h"

namespace jax_ane::software {
namespace {

struct CachedTable {
    std::string op;
    NumericsMode mode;
    UnaryParameters parameters;
    std::weak_ptr<const UnaryTable> table;
};

}  // namespace

UnaryFunction FindUnary(std::string_view op, NumericsMode mode) {
    return mode == NumericsMode::kExact ? FindExactUnary(op) : FindFastUnary(op);
}

std::shared_ptr<const UnaryTable> GetUnaryTable(std::string_view op, NumericsMode mode,
                                                const UnaryParameters& parameters) {
    // Leaked on purpose: programs may still be unloading while static objects are destroyed.
    static std::mutex& mutex = *new std::mutex;
    static std::vector<CachedTable>& cache = *new std::vector<CachedTable>;
    std::lock_guard lock(mutex);
    for (const CachedTable& entry : cache) {
        if (entry.op == op && entry.mode == mode && entry.parameters == parameters) {
            if (auto table = entry.table.lock()) return table;
        }
    }
    std::erase_if(cache, [](const CachedTable& entry) { return entry.table.expired(); });
    auto table = std::make_shared<UnaryTable>();
    const UnaryFunction function = FindUnary(op, mode);
    for (int i = 0; i < 65536; ++i) {
        (*table)[static_cast<size_t>(i)] = function(static_cast<Half>(i), parameters);
    }
    cache.push_back({std::string(op), mode, parameters, table});
    return table;
}

}  // namespace jax_ane::software
