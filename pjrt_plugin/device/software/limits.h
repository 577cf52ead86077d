// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most, for benchmarks to compare with: how fast memory is read and how
// many float32 multiply-adds its cores do.
#pragma once

#include <cstddef>
#include <cstdint>

#include "util/thread_pool.h"

namespace jax_ane::software {

// Float32 operations a second (a multiply-add is two) of independent multiply-adds in registers, on
// all threads of the pool. Takes about `seconds`.
double MeasureFmaPeak(ThreadPool& pool, double seconds);

// Bytes a second that all threads read together from `bytes` of memory, walked over and over in 12
// streams a thread.
double MeasureReadBandwidth(ThreadPool& pool, size_t bytes, double seconds);

}  // namespace jax_ane::software
