// SPDX-License-Identifier: Apache-2.0
// JAX_ANE_ADDRESS_SANITIZER, in builds with AddressSanitizer of either compiler. It keeps freed
// memory for a while.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define JAX_ANE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JAX_ANE_ADDRESS_SANITIZER 1
#endif
#endif
