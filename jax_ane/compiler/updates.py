# SPDX-License-Identifier: Apache-2.0
"""The custom call that updates parameters natively (training/_adamw.py), as the compiler sees it.

Its operands are an array of scalars, then of each parameter itself, its two moments, its gradient
and a float32 scalar that the gradient is multiplied by, 1 in the program. Where a gradient is a
result of the engine's, the call reads the fp16 that was written, and the scalar undoes its scale.
"""

TARGET = "jax_ane_adamw"  # the FFI handler's name (pjrt_plugin/runtime/adamw.cc)
SCALARS, PER_PARAMETER, GRADIENT = 1, 5, 3
