// SPDX-License-Identifier: Apache-2.0
// What a chip accepts and how it differs from the others: the numbers of jax_ane/chips/<name>.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "util/status.h"

namespace jax_ane::software {

struct ChipTraits {
    std::string name = "M4";
    std::string family = "H16";
    int64_t max_axis = 65536;      // width, height, depth
    int64_t max_channels = 65536;  // third axis from the end
    int64_t max_batch = 65536;     // first axis of rank 4 and 5
    int64_t max_rank = 5;
    int64_t max_matmul_rank = 4;
    int64_t max_matmul_inner = 32768;
    int64_t max_conv_kernel_width = 15;
    int64_t max_conv_kernel_height = 31;
    int64_t max_pool_window = 31;
    int64_t max_max_pool_width = 31;
    int64_t max_loaded_programs = 128;
    int64_t queue_depth = 127;                    // evaluations of one program under way
    int64_t max_weight_bytes = int64_t{7} << 29;  // of all loaded programs
    int64_t compile_budget = 119;                 // reported for a process, not enforced
    int64_t max_surfaces = 128;                   // inputs and outputs of one program
    int64_t engines = 1;
    // Idle milliseconds until the engine naps or powers off, and what the next call then costs in
    // microseconds; 0 where nobody has measured it.
    int64_t nap_after_ms = 0;
    int64_t nap_call_us = 0;
    int64_t power_off_after_ms = 0;
    int64_t power_off_call_us = 0;
    int64_t long_reduction = 384;  // sums of this many terms go by the transpose route
    bool slice_hazard = false;   // slices that start inside the last axis turn |x| > 4094 into inf
    bool winograd = false;       // dense 3x3 stride-1 convolutions use F(2,3)
    bool float32_border = true;  // fp32 inputs and outputs with a cast
    bool native_sin = true;      // sin and cos exist
    bool texture_engine = true;  // resample and affine exist
    bool native_topk = true;
    bool native_range = true;  // range_1d
    bool reflect_pad = true;   // pad modes reflect and replicate
    bool logical_and = false;
    bool conv3d = false;
    bool int4_blockwise = true;        // constexpr_blockwise_shift_scale of int4 and uint4 compiles
    bool late_softplus = false;        // softplus collapses at ln 65504 instead of ln 32768
    bool drops_rounded_scale = false;  // its compiler drops x from floor(..) * x, x a scalar
};

// Reads the keys of a chip file; `values` maps each key to its number (truth values as 0 and 1).
// Unknown keys are for others (costs, rates) and are passed over.
StatusOr<ChipTraits> MakeChipTraits(const std::string& name, const std::string& family,
                                    const std::map<std::string, double>& values);

}  // namespace jax_ane::software
