// SPDX-License-Identifier: Apache-2.0
#include "device/device.h"

namespace jax_ane::device {

size_t ElementSize(ElementType type) {
    switch (type) {
        case ElementType::kFp32:
        case ElementType::kInt32:
            return 4;
        case ElementType::kFp16:
        case ElementType::kInt16:
        case ElementType::kUint16:
            return 2;
        case ElementType::kInt8:
        case ElementType::kUint8:
        case ElementType::kBool:
            return 1;
    }
    return 0;
}

const char* ElementTypeName(ElementType type) {
    switch (type) {
        case ElementType::kFp16:
            return "fp16";
        case ElementType::kFp32:
            return "fp32";
        case ElementType::kInt8:
            return "int8";
        case ElementType::kUint8:
            return "uint8";
        case ElementType::kInt16:
            return "int16";
        case ElementType::kUint16:
            return "uint16";
        case ElementType::kInt32:
            return "int32";
        case ElementType::kBool:
            return "bool";
    }
    return "?";
}

const char* PowerStateName(PowerState state) {
    switch (state) {
        case PowerState::kUnknown:
            return "unknown";
        case PowerState::kAwake:
            return "awake";
        case PowerState::kNapping:
            return "napping";
        case PowerState::kOff:
            return "off";
    }
    return "?";
}

}  // namespace jax_ane::device
