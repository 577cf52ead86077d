# SPDX-License-Identifier: Apache-2.0
"""Every private name of JAX that jax-ane touches (lead's share; merged with the plugin's)."""

from __future__ import annotations

from typing import Any


def make_mlir_context() -> Any:
    from jax._src.interpreters import mlir

    context = mlir.make_ir_context()
    context.allow_unregistered_dialects = True
    return context


def inlined_func_call(callee: Any, args: list[Any], loc: Any) -> list[Any]:
    from jaxlib.mlir._mlir_libs import _jax_mlir_ext

    return _jax_mlir_ext.inlined_func_call(callee, args, loc)


def module_to_bytecode(module: Any) -> bytes:
    from jax._src.interpreters import mlir

    return mlir.module_to_bytecode(module)
