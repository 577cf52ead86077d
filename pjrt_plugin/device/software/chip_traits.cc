// SPDX-License-Identifier: Apache-2.0
#include "device/software/chip_traits.h"

namespace jax_ane::software {

StatusOr<ChipTraits> MakeChipTraits(const std::string& name, const std::string& family,
                                    const std::map<std::string, double>& values) {
    ChipTraits traits;
    traits.name = name;
    traits.family = family;
    const std::map<std::string, int64_t*> numbers = {
        {"max_axis", &traits.max_axis},
        {"max_channels", &traits.max_channels},
        {"max_batch", &traits.max_batch},
        {"max_rank", &traits.max_rank},
        {"max_matmul_rank", &traits.max_matmul_rank},
        {"max_matmul_inner", &traits.max_matmul_inner},
        {"max_conv_kernel_width", &traits.max_conv_kernel_width},
        {"max_conv_kernel_height", &traits.max_conv_kernel_height},
        {"max_pool_window", &traits.max_pool_window},
        {"max_max_pool_width", &traits.max_max_pool_width},
        {"max_loaded_programs", &traits.max_loaded_programs},
        {"queue_depth", &traits.queue_depth},
        {"max_weight_bytes", &traits.max_weight_bytes},
        {"compile_budget", &traits.compile_budget},
        {"max_surfaces", &traits.max_surfaces},
        {"engines", &traits.engines},
        {"nap_after_ms", &traits.nap_after_ms},
        {"nap_call_us", &traits.nap_call_us},
        {"power_off_after_ms", &traits.power_off_after_ms},
        {"power_off_call_us", &traits.power_off_call_us},
        {"long_reduction", &traits.long_reduction},
    };
    const std::map<std::string, bool*> switches = {
        {"slice_hazard", &traits.slice_hazard},
        {"winograd", &traits.winograd},
        {"float32_border", &traits.float32_border},
        {"native_sin", &traits.native_sin},
        {"texture_engine", &traits.texture_engine},
        {"native_topk", &traits.native_topk},
        {"native_range", &traits.native_range},
        {"reflect_pad", &traits.reflect_pad},
        {"logical_and", &traits.logical_and},
        {"conv3d", &traits.conv3d},
        {"int4_blockwise", &traits.int4_blockwise},
        {"late_softplus", &traits.late_softplus},
        {"drops_rounded_scale", &traits.drops_rounded_scale},
    };
    for (const auto& [key, value] : values) {
        if (auto it = numbers.find(key); it != numbers.end()) {
            if (!(value >= 1 && value <= 1e12)) {
                return InvalidArgument("chip " + name + ": " + key +
                                       " must be a whole number from 1, got " +
                                       std::to_string(value));
            }
            *it->second = static_cast<int64_t>(value);
        } else if (auto flag = switches.find(key); flag != switches.end()) {
            *flag->second = value != 0;
        }
    }
    return traits;
}

}  // namespace jax_ane::software
