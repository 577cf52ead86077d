# SPDX-License-Identifier: Apache-2.0
"""The custom call that updates parameters natively (training/_adamw.py), as the compiler sees it.

Its operands are an array of scalars, then of each parameter itself, its two moments, its gradient
and a float32 scalar that the gradient is multiplied by, 1 in the program. Where a gradient is a
result of the engine's, the call reads the fp16 that was written, and the scalar undoes its scale.
"""

from __future__ import annotations

import functools

import jax
from jaxlib.mlir import ir

TARGET = "jax_ane_adamw"  # the FFI handler's name (pjrt_plugin/runtime/adamw.cc)
SCALARS, PER_PARAMETER, GRADIENT = 1, 5, 3
RESULTS = 3  # of each parameter: itself and its two moments; then one count


@functools.cache
def register() -> None:
    """Tells XLA:CPU the handler behind the call, once a process."""
    from jax_ane import _native

    handler = {"execute": _native.adamw_handler()}
    jax.ffi.register_ffi_target(TARGET, handler, platform="cpu", api_version=1)


def is_native(op: ir.Operation) -> bool:
    """Whether an op is such a call."""
    name = op.operation.name
    return name == "stablehlo.custom_call" and (
        ir.StringAttr(op.attributes["call_target_name"]).value == TARGET
    )


def is_gradient(position: int) -> bool:
    """Whether the operand at a position is a gradient; its scale is the next one."""
    return position >= SCALARS and (position - SCALARS) % PER_PARAMETER == GRADIENT


def operand_of(result: int) -> int:
    """Returns the position of the operand that a result, not the count, replaces."""
    return SCALARS + PER_PARAMETER * (result // RESULTS) + result % RESULTS
