// SPDX-License-Identifier: Apache-2.0
#include "device/software/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "util/aligned_memory.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace jax_ane::software {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kStreams = 12;
constexpr int64_t kSteps = 1 << 16;
constexpr size_t kLine = 64;

double Seconds(Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
}

// Each does kSteps rounds of 12 independent vector multiply-adds; returns the operations done.
// `seed` and the result keep the compiler from working it out.
#if defined(__x86_64__)
__attribute__((target("avx512f"))) int64_t FmaAvx512(float seed, float* out) {
    __m512 sum[12];
    for (int i = 0; i < 12; ++i) sum[i] = _mm512_set1_ps(seed + static_cast<float>(i));
    const __m512 factor = _mm512_set1_ps(0.999f);
    for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; ++i) sum[i] = _mm512_fmadd_ps(sum[i], factor, factor);
    }
    for (int i = 1; i < 12; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    alignas(64) float lanes[16];
    _mm512_store_ps(lanes, sum[0]);
    for (float lane : lanes) *out += lane;
    return kSteps * 12 * 16 * 2;
}

__attribute__((target("avx2,fma"))) int64_t FmaAvx2(float seed, float* out) {
    __m256 sum[12];
    for (int i = 0; i < 12; ++i) sum[i] = _mm256_set1_ps(seed + static_cast<float>(i));
    const __m256 factor = _mm256_set1_ps(0.999f);
    for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; ++i) sum[i] = _mm256_fmadd_ps(sum[i], factor, factor);
    }
    for (int i = 1; i < 12; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, sum[0]);
    for (float lane : lanes) *out += lane;
    return kSteps * 12 * 8 * 2;
}
#endif

int64_t FmaPlain(float seed, float* out) {
    float sum[32];
    for (int i = 0; i < 32; ++i) sum[i] = seed + static_cast<float>(i);
    for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 32
        for (int i = 0; i < 32; ++i) sum[i] = sum[i] * 0.999f + 0.999f;
    }
    for (float lane : sum) *out += lane;
    return kSteps * 32 * 2;
}

int64_t FmaRound(float seed, float* out) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return FmaAvx512(seed, out);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return FmaAvx2(seed, out);
#endif
    return FmaPlain(seed, out);
}

uint64_t ReadStreams(const char* data, size_t bytes) {
    const size_t each = bytes / kStreams / kLine * kLine;
    uint64_t sum[kStreams] = {};
    for (size_t at = 0; at < each; at += kLine) {
        for (size_t s = 0; s < kStreams; ++s) {
            const char* line = data + s * each + at;
            __builtin_prefetch(line + 8 * kLine);
            uint64_t word;
            std::memcpy(&word, line, sizeof word);
            sum[s] += word;
        }
    }
    uint64_t total = 0;
    for (uint64_t s : sum) total += s;
    return total;
}

// Runs `round` on every thread until the time is over; returns the sum of what it says, a second.
template <typename Round>
double OnAllThreads(ThreadPool& pool, double seconds, Round&& round) {
    const int threads = pool.size();
    std::atomic<double> total{0};
    const Clock::time_point start = Clock::now();
    pool.ParallelFor(threads, 1, [&](int64_t begin, int64_t, int) {
        double done = 0;
        do {
            done += round(begin, threads);
        } while (Seconds(start) < seconds);
        double seen = total.load();
        while (!total.compare_exchange_weak(seen, seen + done)) continue;
    });
    return total.load() / Seconds(start);
}

}  // namespace

double MeasureFmaPeak(ThreadPool& pool, double seconds) {
    std::atomic<float> sink{0};
    return OnAllThreads(pool, seconds, [&](int64_t thread, int) {
        float out = 0;
        const auto operations = static_cast<double>(FmaRound(static_cast<float>(thread), &out));
        sink.store(out, std::memory_order_relaxed);
        return operations;
    });
}

double MeasureReadBandwidth(ThreadPool& pool, size_t bytes, double seconds) {
    const AlignedMemory memory = AllocateAligned(bytes);
    if (memory == nullptr) return 0;
    std::memset(memory.get(), 1, bytes);
    std::atomic<uint64_t> sink{0};
    return OnAllThreads(pool, seconds, [&](int64_t thread, int threads) {
        const size_t share = bytes / static_cast<size_t>(threads) / kLine * kLine;
        const char* data = static_cast<char*>(memory.get()) + static_cast<size_t>(thread) * share;
        sink.fetch_add(ReadStreams(data, share), std::memory_order_relaxed);
        return static_cast<double>(share);
    });
}

}  // namespace jax_ane::software
