# SPDX-License-Identifier: Apache-2.0
"""What `strict` makes of ops that were refused and of fp16 hazards: nothing, warnings, an error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from jax_ane._errors import AneWarning, UnsupportedOpError
from jax_ane.compiler.placement import OpRecord, Placement


def apply(placement: Placement, strict: str) -> None:
    """Warns of every finding, or raises the first.

    Args:
        placement: the compilation's result.
        strict: the flag's value: "off", "warn" or "error".

    Raises:
        UnsupportedOpError: `strict` is "error" and there is a finding.
    """
    if strict == "off":
        return
    for finding in _findings(placement):
        if strict == "error":
            raise UnsupportedOpError(finding)
        warnings.warn(finding, AneWarning, stacklevel=2)


def _findings(placement: Placement) -> Iterator[str]:
    refused = dict.fromkeys(map(_refusal, (op for op in placement.ops if op.is_refused)))
    yield from refused
    for hazard in placement.hazards:
        if not hazard.is_note:
            yield (
                f"{hazard.op} is not safe in fp16\n  at {hazard.location}\n"
                f"  because {hazard.code}: {hazard.text}\n  do: {hazard.remedy}"
            )


def _refusal(op: OpRecord) -> str:
    name = op.op.removeprefix("stablehlo.")
    remedy = op.reason.remedy or "take it out of jax_ane.place('ane'), or write it in other ops"
    return (
        f"{name} -> {op.result} cannot run on the ANE\n  at {op.location}\n"
        f"  because {op.reason.code}: {op.reason.text}\n  do: {remedy}"
    )
