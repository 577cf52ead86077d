# SPDX-License-Identifier: Apache-2.0
"""Programs from JAX functions or StableHLO text, their plans, and runs on both devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

import jax_ane
from jax_ane import _jax_internals, report
from jax_ane.compiler import frontend, partition
from jax_ane.compiler.placement import OpRecord


def stablehlo_of(fn: Callable, *args: Any) -> bytes:
    """Returns the StableHLO bytecode of `fn(*args)` as the `ane` device gets it."""
    return report._stablehlo(fn, args, {})


def main(body: str, signature: str, results: str) -> str:
    """Returns a StableHLO module of one function."""
    return f"module {{ func.func public @main({signature}) -> ({results}) {{\n{body}\n}} }}"


def plans_of(
    program: bytes | str, placement: str = "auto", chip: str = "M4"
) -> list[partition.Plan]:
    """Returns the plan of each block, main's first."""
    module = frontend.parse(program)
    frontend.normalise(module)
    blocks = frontend.code_blocks(module)
    plans = [partition.plan_block(b, placement, chip) for b in blocks]
    plans[0].block.keep_module = module  # type: ignore[attr-defined]  # MLIR ops die with it
    return plans


def records(program: bytes | str, placement: str = "auto") -> dict[str, OpRecord]:
    """Returns the last record of each op name (without its dialect)."""
    with jax_ane.config(placement=placement):
        ops = report.explain_program(program).ops
    return {op.op.split(".", 1)[1]: op for op in ops}


def artifact_of(text: str) -> bytes:
    """Returns a program text as a portable artifact, as PJRT hands it over."""
    with _jax_internals.make_ir_context():
        module = ir.Module.parse(text)
        version = stablehlo.get_current_version()
        return stablehlo.serialize_portable_artifact(module, version)


def compile_options(device: jax.Device) -> Any:
    """Returns PJRT options that name the one device, as JAX's own always do."""
    from jax._src.lib import xla_client as xc

    options = xc.CompileOptions()
    options.device_assignment = xc.DeviceAssignment.create(np.array([[device.id]]))
    return options


def run_text_on_engine(text: str, *args: np.ndarray) -> list[np.ndarray]:
    """Runs a text with placement='ane', and fails unless the engine evaluated something."""
    before = jax_ane.stats().evaluations
    with jax_ane.config(placement="ane"):
        results = run_text(text, *args)
    assert jax_ane.stats().evaluations > before, "nothing ran on the ANE"
    return results


def run_text(text: str, *args: np.ndarray, device: str = "ane") -> list[np.ndarray]:
    """Compiles a StableHLO text through PJRT, under the flags in force, and runs it on one device.

    The flags of a `with` block reach the compiler through JAX's own entry only.
    """
    from jax._src.compiler import backend_compile_and_load
    from jax._src.lib import xla_client as xc

    target = jax.devices(device)[0]
    with _jax_internals.make_ir_context():
        module = ir.Module.parse(text)
        module.operation.attributes["sym_name"] = ir.StringAttr.get("text")
        executable = backend_compile_and_load(
            target.client, module, xc.DeviceList((target,)), compile_options(target), []
        )
    buffers = [jax.device_put(a, target) for a in args]
    results = executable.execute_sharded(buffers).disassemble_into_single_device_arrays()
    return [np.asarray(shards[0]) for shards in results]
