// SPDX-License-Identifier: Apache-2.0
// The fast mode's GEMM on Intel's AMX tiles, which multiply bf16 sixteen times as fast as AVX-512
// multiplies float32. An fp16 number is the sum of two bf16 ones, its upper 8 significant bits and
// the 3 that are left, so four tile products give what fp16 operands give with float32 sums.
// Subnormals of fp16 are ordinary numbers in bf16. Infinities and NaN have no lower part to speak
// of: tiles that hold one go the way of AVX-512.
#if defined(JAX_ANE_HAS_AMX)

#include "device/software/kernels/avx512_gemm_isa.h"
#include "device/software/kernels/vector_tables.h"

namespace jax_ane::software {
namespace {

using blocked::Tile;

constexpr int64_t kDepth = 512;                // k between two packings
constexpr int64_t kStep = 32;                  // k of one tile product
constexpr int64_t kEdge = 16;                  // rows and columns of a tile of sums
constexpr int64_t kTileWords = kEdge * kStep;  // bf16 numbers in an operand tile
constexpr int64_t kPair = 2 * kTileWords;      // the tile of upper parts, then that of lower ones
constexpr int64_t kStrip = kDepth / kStep * kPair;  // 16 rows of A or columns of B
constexpr int kRowBytes = 64;

struct Geometry {
    static constexpr int kRows = 32;
    static constexpr int64_t kTileRows = 256;
    static constexpr int64_t kTileColumns = 256;
};

// One thread's packed blocks and sums; all that the other form needs instead where a tile holds an
// infinity or a NaN.
union Scratch {
    struct {
        alignas(64) uint16_t a[Geometry::kTileRows / kEdge * kStrip];
        alignas(64) uint16_t b[Geometry::kTileColumns / kEdge * kStrip];
        alignas(64) Half turned[Geometry::kTileRows * kDepth];
        alignas(64) int32_t sum[Geometry::kTileRows * Geometry::kTileColumns];
    } amx;
    blocked::Scratch<Avx512> avx512;
};
constexpr int kSumBytes = Geometry::kTileColumns * sizeof(int32_t);

// ---- Packing

// What bf16 leaves of each value when its lower half is cut off.
__m512i Rest(__m512 value) {
    const __m512 upper = _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(~0xFFFF)));
    return _mm512_castps_si512(_mm512_sub_ps(value, upper));
}

// Notes whether an infinity or a NaN came by.
class SpecialValues {
  public:
    void Look(__m512i halves) {
        largest_ = _mm512_max_epu16(largest_, _mm512_and_si512(halves, _mm512_set1_epi16(0x7FFF)));
    }
    bool found() const { return _mm512_cmpge_epu16_mask(largest_, _mm512_set1_epi16(0x7C00)) != 0; }

  private:
    __m512i largest_ = _mm512_setzero_si512();
};

__mmask32 FirstLanes(int64_t count) {
    return count >= 32 ? ~__mmask32{0} : (__mmask32{1} << std::max<int64_t>(count, 0)) - 1;
}

__m512 WidenLow(__m512i halves) { return _mm512_cvtph_ps(_mm512_castsi512_si256(halves)); }
__m512 WidenHigh(__m512i halves) { return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)); }

// One row of A: [step][upper, lower][16 rows][32 k].
void PackRow(const Half* source, int64_t depth, uint16_t* strip, SpecialValues& special) {
    alignas(64) static constexpr uint16_t kOddWords[32] = {
        1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
        33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    const __m512i odd = _mm512_load_si512(kOddWords);
    for (int64_t k = 0; k < depth; k += kStep, strip += kPair) {
        const __m512i halves = _mm512_maskz_loadu_epi16(FirstLanes(depth - k), source + k);
        special.Look(halves);
        const __m512 low = WidenLow(halves), high = WidenHigh(halves);
        _mm512_store_si512(strip, _mm512_permutex2var_epi16(_mm512_castps_si512(low), odd,
                                                            _mm512_castps_si512(high)));
        _mm512_store_si512(strip + kTileWords,
                           _mm512_permutex2var_epi16(Rest(low), odd, Rest(high)));
    }
}

// The upper halves of two rows, column by column.
__m512i Interleave(__m512i first, __m512i second) {
    return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(first, 16), second);
}

void StorePair(__m512 first, __m512 second, uint16_t* row) {
    _mm512_store_si512(row, Interleave(_mm512_castps_si512(first), _mm512_castps_si512(second)));
    _mm512_store_si512(row + kTileWords, Interleave(Rest(first), Rest(second)));
}

// Up to 32 columns of B, two strips: [step][upper, lower][16 pairs of k][16 columns][2].
void PackColumns(const Half* rows, int64_t stride, int64_t columns, int64_t depth, uint16_t* strips,
                 SpecialValues& special) {
    const __mmask32 lanes = FirstLanes(columns);
    for (int64_t k0 = 0; k0 < depth; k0 += kStep, strips += kPair) {
        uint16_t* row = strips;
        for (int64_t k = k0; k < k0 + kStep; k += 2, rows += 2 * stride, row += kStep) {
            __m512i first = _mm512_setzero_si512(), second = first;
            if (k < depth) first = _mm512_maskz_loadu_epi16(lanes, rows);
            if (k + 1 < depth) second = _mm512_maskz_loadu_epi16(lanes, rows + stride);
            special.Look(first);
            special.Look(second);
            StorePair(WidenLow(first), WidenLow(second), row);
            StorePair(WidenHigh(first), WidenHigh(second), row + kStrip);
        }
    }
}

// A[tile rows, k0 .. k0 + depth); false when an infinity or a NaN is in it.
bool PackA(const GemmArgs& g, const Tile& t, int64_t k0, int64_t depth, Scratch& s) {
    int64_t stride = depth;
    const Half* rows = s.amx.turned;
    if (g.a_gather.rows != nullptr) {
        blocked::GatherRows(g, t.row, t.rows, k0, depth, s.amx.turned);
    } else {
        rows = blocked::AsRows<Avx512>(g.a.data + t.row * g.a.row_stride + k0 * g.a.column_stride,
                                       g.a.row_stride, g.a.column_stride, t.rows, depth,
                                       s.amx.turned, &stride);
    }
    SpecialValues special;
    for (int64_t i = 0; i < t.rows; ++i) {
        PackRow(rows + i * stride, depth, s.amx.a + i / kEdge * kStrip + i % kEdge * kStep,
                special);
    }
    return !special.found();
}

// B[k0 .. k0 + depth, tile columns), likewise.
bool PackB(const GemmArgs& g, const Tile& t, int64_t k0, int64_t depth, Scratch& s) {
    SpecialValues special;
    for (int64_t first = 0; first < t.columns; first += PackedPanels::kColumns) {
        const int64_t column = t.column + first;
        int64_t columns = std::min(PackedPanels::kColumns, t.columns - first);
        int64_t stride = PackedPanels::kColumns;
        const Half* rows = nullptr;
        if (g.packed_b != nullptr) {
            const PackedPanels packed(g.packed_b, g.n, g.k);
            rows = packed.panel(column / PackedPanels::kColumns) + k0 * stride;
            columns = stride;
        } else {
            rows = blocked::AsRows<Avx512>(
                g.b.data + k0 * g.b.row_stride + column * g.b.column_stride, g.b.row_stride,
                g.b.column_stride, depth, columns, s.amx.turned, &stride);
        }
        PackColumns(rows, stride, columns, depth, s.amx.b + first / kEdge * kStrip, special);
    }
    return !special.found();
}

// ---- Products. The tiles of sums take turns, for one has to wait three products for the next.

void Configure() {
    struct {
        uint8_t palette = 1;
        uint8_t start_row = 0;
        uint8_t reserved[14] = {};
        uint16_t row_bytes[16] = {};
        uint8_t rows[16] = {};
    } config;
    static_assert(sizeof config == 64);
    for (int i = 0; i < 8; ++i) {
        config.row_bytes[i] = kRowBytes;
        config.rows[i] = kEdge;
    }
    _tile_loadconfig(&config);
}

void ZeroSums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

// clang-format off
// 2 strips of A by 2 of B.
void Multiply32x32(const uint16_t* a, const uint16_t* b, int64_t steps, bool first, int32_t* sum) {
    int32_t* below = sum + kEdge * Geometry::kTileColumns;
    if (first) {
        ZeroSums();
    } else {
        _tile_loadd(0, sum, kSumBytes);
        _tile_loadd(1, sum + kEdge, kSumBytes);
        _tile_loadd(2, below, kSumBytes);
        _tile_loadd(3, below + kEdge, kSumBytes);
    }
    for (int64_t step = 0; step < steps; ++step, a += kPair, b += kPair) {
        _tile_loadd(4, a, kRowBytes);  // upper parts of both
        _tile_loadd(5, a + kStrip, kRowBytes);
        _tile_loadd(6, b, kRowBytes);
        _tile_loadd(7, b + kStrip, kRowBytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, b + kTileWords, kRowBytes);  // lower parts of B
        _tile_loadd(7, b + kStrip + kTileWords, kRowBytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(4, a + kTileWords, kRowBytes);  // lower parts of both
        _tile_loadd(5, a + kStrip + kTileWords, kRowBytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(6, b, kRowBytes);  // upper parts of B again
        _tile_loadd(7, b + kStrip, kRowBytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sum, kSumBytes);
    _tile_stored(1, sum + kEdge, kSumBytes);
    _tile_stored(2, below, kSumBytes);
    _tile_stored(3, below + kEdge, kSumBytes);
}

// 1 strip of A by 4 of B.
void Multiply16x64(const uint16_t* a, const uint16_t* b, int64_t steps, bool first, int32_t* sum) {
    if (first) {
        ZeroSums();
    } else {
        _tile_loadd(0, sum, kSumBytes);
        _tile_loadd(1, sum + kEdge, kSumBytes);
        _tile_loadd(2, sum + 2 * kEdge, kSumBytes);
        _tile_loadd(3, sum + 3 * kEdge, kSumBytes);
    }
    for (int64_t step = 0; step < steps; ++step, a += kPair, b += kPair) {
        _tile_loadd(4, a, kRowBytes);
        _tile_loadd(5, a + kTileWords, kRowBytes);
        for (int part = 0; part < 2; ++part) {
            const uint16_t* columns = b + part * kTileWords;
            _tile_loadd(6, columns, kRowBytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, columns + kStrip, kRowBytes);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(0, 5, 6);
            _tile_loadd(6, columns + 2 * kStrip, kRowBytes);
            _tile_dpbf16ps(2, 4, 6);
            _tile_dpbf16ps(1, 5, 7);
            _tile_loadd(7, columns + 3 * kStrip, kRowBytes);
            _tile_dpbf16ps(3, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sum, kSumBytes);
    _tile_stored(1, sum + kEdge, kSumBytes);
    _tile_stored(2, sum + 2 * kEdge, kSumBytes);
    _tile_stored(3, sum + 3 * kEdge, kSumBytes);
}
// clang-format on

// Rows and columns that are only there to fill a tile hold anything; their sums are not stored.
void MultiplyBlock(const Tile& t, bool first, int64_t depth, Scratch& s) {
    const int64_t steps = (depth + kStep - 1) / kStep;
    const int64_t whole = t.rows % (2 * kEdge) > kEdge ? t.rows : t.rows / (2 * kEdge) * 2 * kEdge;
    for (int64_t column = 0; column < t.columns; column += 2 * kEdge) {
        for (int64_t row = 0; row < whole; row += 2 * kEdge) {
            Multiply32x32(s.amx.a + row / kEdge * kStrip, s.amx.b + column / kEdge * kStrip, steps,
                          first, s.amx.sum + row * Geometry::kTileColumns + column);
        }
    }
    for (int64_t column = 0; whole < t.rows && column < t.columns; column += 4 * kEdge) {
        Multiply16x64(s.amx.a + whole / kEdge * kStrip, s.amx.b + column / kEdge * kStrip, steps,
                      first, s.amx.sum + whole * Geometry::kTileColumns + column);
    }
}

// A tile with an infinity or a NaN, in pieces of the other form's size.
void SpecialTile(const GemmArgs& g, const Tile& t, Scratch& s) {
    using G = blocked::Geometry<Avx512>;
    static_assert(G::kTileColumns == Geometry::kTileColumns);
    for (int64_t row = 0; row < t.rows; row += G::kTileRows) {
        blocked::FastTile<Avx512>(
            g, {t.row + row, std::min(G::kTileRows, t.rows - row), t.column, t.columns}, s.avx512);
    }
}

void AmxTile(const GemmArgs& g, const Tile& t, Scratch& s) {
    const int64_t blocks = (g.k + kDepth - 1) / kDepth;
    const int64_t even = (g.k + blocks * kStep - 1) / (blocks * kStep) * kStep;
    bool ordinary = true;
    Configure();
    for (int64_t k0 = 0; k0 < g.k && ordinary; k0 += even) {
        const int64_t depth = std::min(even, g.k - k0);
        ordinary = PackB(g, t, k0, depth, s) && PackA(g, t, k0, depth, s);
        if (ordinary) MultiplyBlock(t, k0 == 0, depth, s);
    }
    _tile_release();
    if (!ordinary) return SpecialTile(g, t, s);
    for (int64_t i = 0; i < t.rows; ++i) {
        blocked::StoreFastRow<Avx512>(
            g, t, i, reinterpret_cast<float*>(s.amx.sum + i * Geometry::kTileColumns));
    }
}

// Up to so many rows the time goes into reading B, and what AVX-512 does with it is enough.
constexpr int64_t kMinRows = 12;

size_t ScratchBytes(int64_t m, int64_t n, int64_t k, int threads) {
    if (m < kMinRows) return blocked::ScratchBytes<Avx512>(m, n, k, threads);
    return sizeof(Scratch) * static_cast<size_t>(std::max(threads, 1));
}

void RunAmx(const GemmArgs& g) {
    if (g.m < kMinRows) {
        blocked::RunFast<Avx512>(g);
    } else {
        blocked::RunTiles<Geometry, Scratch, AmxTile>(g);
    }
}

}  // namespace

void FillAmxGemm(KernelTable& table) {
    GemmKernel& kernel = table.gemm[static_cast<int>(NumericsMode::kFast)];
    kernel.scratch_bytes = ScratchBytes;
    kernel.run = RunAmx;
}

}  // namespace jax_ane::software

#endif
