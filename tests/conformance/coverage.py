# SPDX-License-Identifier: Apache-2.0
"""Which StableHLO ops the cases contain, and the gates between them and the op table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax

from jax_ane import _jax_internals as internals
from jax_ane.compiler import frontend, optable

from .case import DEVICE, Case

# Rows of the op table that no function of jax makes, and why. `check` fails if one does after all.
UNREACHABLE: dict[str, str] = {
    **dict.fromkeys(("after_all", "create_token"), "jax passes tokens as arguments of programs"),
    **dict.fromkeys(("all_to_all", "collective_broadcast", "collective_reduce"),
                    "over one device jax leaves it out; the tests of sharding have several"),
    "replica_id": "jax asks for the place in a mesh, which is partition_id",
    **dict.fromkeys(("cholesky", "triangular_solve"), "jax calls LAPACK, as on cpu: custom_call"),
    **dict.fromkeys(("dynamic_broadcast_in_dim", "dynamic_conv", "dynamic_gather", "dynamic_iota",
                     "dynamic_pad", "dynamic_reshape", "get_dimension_size", "real_dynamic_slice",
                     "set_dimension_size"),
                    "jax makes exported shapes static before a device sees them"),
    "if": "jax writes a branch as case",
    "logistic": "jax writes it out of exponential and divide",
    **dict.fromkeys(("async_done", "async_start"), "of XLA's own scheduling"),
    **dict.fromkeys(("infeed", "outfeed", "recv", "send"), "jax calls the host by custom_call"),
    **dict.fromkeys(("get_tuple_element", "tuple"), "results of jax are flat"),
    **dict.fromkeys(("uniform_dequantize", "uniform_quantize"), "of other frontends"),
}  # fmt: skip

_names: dict[int, frozenset[str]] = {}


def ops_of(case: Case) -> frozenset[str]:
    """Returns the op names of a case as the compiler sees them; none where it raises."""
    if id(case) not in _names:
        _names[id(case)] = frozenset() if case.modes == (DEVICE,) else _lowered(case)
    return _names[id(case)]


def _lowered(case: Case) -> frozenset[str]:
    with jax.enable_x64(case.x64), jax.default_device(jax.devices("cpu")[0]):
        try:
            traced = jax.jit(lambda *a: case.fn(*a)).trace(*case.args)
            program = str(traced.lower(lowering_platforms=("ane",)).compiler_ir())
        except Exception:
            return frozenset()
    module = frontend.parse(program)
    internals.take_flags(module)
    frontend.normalise(module)
    return frozenset(_walk(module.operation))


def _walk(op: Any) -> Iterator[str]:
    for region in op.regions:
        for block in region.blocks:
            for inner in block.operations:
                inner = inner.operation
                if inner.name.startswith(("stablehlo.", "chlo.")):
                    yield inner.name
                yield from _walk(inner)


def check(cases: Iterable[Case]) -> list[str]:
    """Returns what is wrong between the cases' ops and the op table, in both directions."""
    seen: dict[str, str] = {}
    for case in cases:
        for name in ops_of(case):
            seen.setdefault(name, case.id)
    ignored = {"stablehlo.return"}  # ends a region
    problems = [
        f"{name} occurs in {where} and has no row in the op table"
        for name, where in sorted(seen.items())
        if name not in optable.TABLE and name not in ignored
    ]
    for name in sorted(optable.TABLE):
        reason = UNREACHABLE.get(name.removeprefix("stablehlo."))
        if reason is None and name not in seen:
            problems.append(f"{name} has a row in the op table and no case")
        elif reason is not None and name in seen:
            problems.append(f"{name} is said to be unreachable, and occurs in {seen[name]}")
    return problems
