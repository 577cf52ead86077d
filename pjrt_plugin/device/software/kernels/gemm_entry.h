// SPDX-License-Identifier: Apache-2.0
// The GEMM entries of the kernel table, and those that go by its steps: packing ahead, and the
// choice between the direct form (a few rows, packed right-hand side) and the blocked one.
#pragma once

#include "device/software/kernels/gemm_direct.h"
#include "device/software/kernels/taps_vector.h"
#include "device/software/kernels/winograd.h"

namespace jax_ane::software::blocked {
namespace {

template <typename Isa>
size_t ScratchBytes(int64_t m, int64_t, int64_t k, int threads) {
    const size_t tiles = sizeof(Scratch<Isa>) * static_cast<size_t>(std::max(threads, 1));
    if (m > DirectGeometry<Isa>::kMaxFastRows) return tiles;
    return std::max(tiles, static_cast<size_t>(2 * m * k) * sizeof(float));
}

inline size_t PackedBytes(int64_t n, int64_t k) { return PackedPanels::Bytes(n, k); }

// One panel and its range.
template <typename Isa>
PanelRange PackPanel(const MatrixView& b, int64_t column, int64_t columns, int64_t k, Half* panel) {
    constexpr int64_t kWidth = PackedPanels::kColumns;
    alignas(64) Half turned[kWidth * kDepth];
    float squares[kWidth] = {};
    PanelRange range;
    for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, k - k0);
        int64_t stride = 0;
        const Half* rows =
            AsRows<Isa>(b.data + k0 * b.row_stride + column * b.column_stride, b.row_stride,
                        b.column_stride, depth, columns, turned, &stride);
        for (int64_t i = 0; i < depth; ++i) {
            Half* row = panel + (k0 + i) * kWidth;
            std::memcpy(row, rows + i * stride, static_cast<size_t>(columns) * sizeof(Half));
            std::fill(row + columns, row + kWidth, Half{0});
            for (int64_t j = 0; j < kWidth; ++j) {
                const uint16_t bits = row[j] & 0x7FFF;
                const auto field = static_cast<uint16_t>(std::max(bits >> 10, 1));
                range.min_field = std::min(range.min_field, bits == 0 ? uint16_t{64} : field);
                range.max_bits = std::max(range.max_bits, bits);
                const float value = MacFloat(bits);
                squares[j] += value * value;
            }
        }
    }
    // The factor covers the rounding of the sums.
    range.max_square = *std::max_element(squares, squares + kWidth) * 1.001f;
    return range;
}

template <typename Isa>
void PackPanels(const MatrixView& b, int64_t n, int64_t k, void* memory, ThreadPool* pool) {
    const PackedPanels packed(memory, n, k);
    ParallelFor(pool, PackedPanels::Count(n), 4, [&](int64_t begin, int64_t end, int) {
        for (int64_t p = begin; p < end; ++p) {
            const int64_t column = p * PackedPanels::kColumns;
            const int64_t columns = std::min(PackedPanels::kColumns, n - column);
            const_cast<PanelRange&>(packed.range(p)) =
                PackPanel<Isa>(b, column, columns, k, const_cast<Half*>(packed.panel(p)));
        }
    });
}

template <typename Isa>
void RunExact(const GemmArgs& g) {
    if (!RunExactDirect<Isa>(g)) Run<Isa, ExactTile<Isa>>(g);
}

template <typename Isa>
void RunFast(const GemmArgs& g) {
    if (!RunFastDirect<Isa>(g)) Run<Isa, FastTile<Isa>>(g);
}

template <typename Isa>
void Fill(KernelTable& table) {
    table.gemm[static_cast<int>(NumericsMode::kExact)] = {ScratchBytes<Isa>, PackedBytes,
                                                          PackPanels<Isa>, RunExact<Isa>};
    table.gemm[static_cast<int>(NumericsMode::kFast)] = {ScratchBytes<Isa>, PackedBytes,
                                                         PackPanels<Isa>, RunFast<Isa>};
    winograd::Fill<winograd::Vector<Isa>>(table);
    FillTaps<Isa>(table);
}

}  // namespace
}  // namespace jax_ane::software::blocked
