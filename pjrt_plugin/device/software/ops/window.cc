// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/window.h"

#include <algorithm>

namespace jax_ane::software {
namespace {

bool ReadSpatial(OpContext& c, const char* name, size_t count, int64_t limit, int64_t* to) {
    if (!c.Has(name)) return true;
    const std::vector<int64_t> values = c.Ints(name);
    if (values.size() != count) {
        return c.BadValue(name, "it needs " + std::to_string(count) + " numbers");
    }
    for (size_t i = 0; i < count; ++i) {
        if (values[i] < 1 || values[i] > limit) {
            return c.BadValue(name, std::to_string(values[i]) + " is out of range");
        }
        to[2 - count + i] = values[i];
    }
    return true;
}

bool ReadPadding(OpContext& c, const std::string& type, size_t count, Window* w) {
    const std::vector<int64_t> pad = c.Ints("pad", std::vector<int64_t>(2 * count, 0));
    if (type != "valid" && type != "same" && type != "same_lower" && type != "custom") {
        return c.BadValue("pad_type",
                          "\"" + type + "\" is none of valid, same, same_lower, custom");
    }
    if (type == "custom" && pad.size() != 2 * count) {
        return c.BadValue("pad", "it needs " + std::to_string(2 * count) + " numbers");
    }
    for (size_t i = 0; i < count; ++i) {
        const size_t axis = 2 - count + i;
        if (type == "custom") {
            for (size_t side = 0; side < 2; ++side) {
                const int64_t value = pad[2 * i + side];
                if (value < 0 || value > (1 << 20)) {
                    return c.BadValue("pad", std::to_string(value) + " is out of range");
                }
                (side == 0 ? w->before : w->after)[axis] = value;
            }
        } else if (type != "valid") {
            const int64_t out = (w->in[axis] + w->stride[axis] - 1) / w->stride[axis];
            const int64_t total = std::max<int64_t>(
                0, (out - 1) * w->stride[axis] + w->span(static_cast<int>(axis)) - w->in[axis]);
            w->before[axis] = type == "same" ? total / 2 : total - total / 2;
            w->after[axis] = total - w->before[axis];
        }
    }
    return true;
}

}  // namespace

bool ReadWindow(OpContext& c, const std::vector<int64_t>& kernel, const char* default_pad_type,
                Window* w) {
    const std::vector<int64_t>& dims = c.Dims("x");
    const size_t count = kernel.size();
    for (size_t i = 0; i < count; ++i) {
        w->kernel[2 - count + i] = kernel[i];
        w->in[2 - count + i] = dims[2 + i];
    }
    if (!ReadSpatial(c, "strides", count, 1 << 20, w->stride) ||
        !ReadSpatial(c, "dilations", count, 1 << 20, w->dilation) ||
        !ReadPadding(c, c.String("pad_type", default_pad_type), count, w)) {
        return false;
    }
    const bool ceil = c.Bool("ceil_mode", false);
    for (size_t axis = 2 - count; axis < 2; ++axis) {
        const int64_t room =
            w->in[axis] + w->before[axis] + w->after[axis] - w->span(static_cast<int>(axis));
        if (room < 0) return c.Fail(Rule::kShapes, "the window is larger than the padded operand");
        w->out[axis] = room / w->stride[axis] + 1;
        if (ceil && room % w->stride[axis] != 0 &&
            w->out[axis] * w->stride[axis] < w->in[axis] + w->before[axis]) {
            // The last window starts inside the operand, so it counts, and hangs over the end.
            w->after[axis] += w->stride[axis] - room % w->stride[axis];
            ++w->out[axis];
        }
    }
    return true;
}

}  // namespace jax_ane::software
