# SPDX-License-Identifier: Apache-2.0
"""Runs cases on `cpu` and on `ane` and says where they differ."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

import jax_ane
from jax_ane.compiler import optable

from .case import ANE, AUTO, DEVICE, EAGER, HOST, Case
from .coverage import ops_of

_PLACEMENTS = {HOST: "host", AUTO: "auto", ANE: "ane", EAGER: "host", DEVICE: "auto"}
_FLOAT32_TOLERANCE = 2e-5  # |error| / max|value|, of the mode auto
_LARGEST = 60000.0  # beyond, fp16 has no numbers, and the engine saturates
_SLACK = 4.0  # roundings of a case's few ops add up
_FP16 = 2.0**-10


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One result: its values and what JAX says of it."""

    values: np.ndarray
    weak_type: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a call gave: leaves and the result's structure, or an error; and its warnings."""

    leaves: tuple[Leaf, ...] = ()
    structure: str = ""
    error: str = ""
    warnings: tuple[str, ...] = ()


_cpu_outcomes: dict[tuple[int, bool], Outcome] = {}


def check(group: Sequence[Case], mode: str) -> dict[Case, str]:
    """Returns what is wrong with each case of a group; empty texts where nothing is."""
    wants = _on_cpu(group, mode)
    gots = _outcomes(group, jax.devices("ane")[0], mode)
    return {
        case: _difference(case, mode, got, want)
        for case, got, want in zip(group, gots, wants, strict=True)
    }


def forget() -> None:
    """Drops cpu's results, and what JAX compiled."""
    _cpu_outcomes.clear()
    jax.clear_caches()


def _on_cpu(group: Sequence[Case], mode: str) -> list[Outcome]:
    """Returns cpu's results: one run for all jitted modes."""
    kind = mode in (EAGER, DEVICE)
    if any((id(case), kind) not in _cpu_outcomes for case in group):
        outcomes = _outcomes(group, jax.devices("cpu")[0], mode if kind else HOST)
        for case, outcome in zip(group, outcomes, strict=True):
            _cpu_outcomes[id(case), kind] = outcome
    return [_cpu_outcomes[id(case), kind] for case in group]


def _outcomes(group: Sequence[Case], device: jax.Device, mode: str) -> list[Outcome]:
    """Runs the group as one program if it can be, else one by one."""
    if len(group) > 1 and mode in (HOST, AUTO, ANE):
        together = _together(group, device, mode)
        if together is not None:
            return together
    return [_alone(case, device, mode) for case in group]


@contextlib.contextmanager
def _settings(case: Case, device: jax.Device, mode: str) -> Iterator[list[Any]]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax_ane.config(placement=_PLACEMENTS[mode]))
        stack.enter_context(jax.default_device(device))
        stack.enter_context(jax.enable_x64(case.x64))
        if mode in (AUTO, DEVICE):
            stack.enter_context(jax.default_matmul_precision("highest"))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        yield caught


def _together(group: Sequence[Case], device: jax.Device, mode: str) -> list[Outcome] | None:
    """Returns the outcomes of one program that does all cases; None if one raises or warns."""
    with _settings(group[0], device, mode) as caught:
        try:
            arguments = jax.device_put([list(case.args) for case in group], device)
            jitted = jax.jit(
                lambda all_: [case.fn(*args) for case, args in zip(group, all_, strict=True)]
            )
            results = [_outcome(result) for result in jitted(arguments)]
        except Exception:
            return None
        return None if caught else results


def _alone(case: Case, device: jax.Device, mode: str) -> Outcome:
    with _settings(case, device, mode) as caught:
        try:
            if mode == DEVICE:
                result = case.fn(device)
            else:
                arguments = jax.device_put(list(case.args), device)
                fn = case.fn if mode == EAGER else jax.jit(lambda *a: case.fn(*a))
                result = fn(*arguments)
            outcome = _outcome(result)
        except Exception as error:
            outcome = Outcome(error=f"{type(error).__name__}: {error}")
        said = tuple(sorted({f"{w.category.__name__}: {w.message}" for w in caught}))
        return dataclasses.replace(outcome, warnings=said)


def _outcome(result: Any) -> Outcome:
    leaves, structure = jax.tree.flatten(result)
    return Outcome(tuple(_leaf(leaf) for leaf in leaves), str(structure))


def _leaf(leaf: Any) -> Leaf:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return Leaf(np.asarray(leaf), bool(getattr(leaf, "weak_type", False)))


def _difference(case: Case, mode: str, got: Outcome, want: Outcome) -> str:
    """Returns how `got` is not what it must be; empty if it is."""
    if case.raises is not None and bool(want.error) is not case.raises:
        return f"cpu raises {want.error or 'nothing'!r}: the case compares nothing"
    if got.error or want.error:
        got_error, want_error = (_neutral(o.error) for o in (got, want))
        if got_error == want_error:
            return ""
        return f"raises {got.error or 'nothing'!r} where cpu raises {want.error or 'nothing'!r}"
    if [_neutral(w) for w in got.warnings] != [_neutral(w) for w in want.warnings]:
        return f"warns {got.warnings} where cpu warns {want.warnings}"
    if got.structure != want.structure:
        return f"returns {got.structure} where cpu returns {want.structure}"
    for number, (a, b) in enumerate(zip(got.leaves, want.leaves, strict=True)):
        problem = _leaf_difference(case, mode, a, b)
        if problem:
            return f"result {number}: {problem}"
    return ""


def _neutral(text: str) -> str:
    """Returns a message without what must differ: names of devices, addresses, tracebacks."""
    text = re.sub(r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*", "", text)
    text = re.sub(r"\s*Suspected Python Code Location:.*", "", text, flags=re.DOTALL)
    text = re.sub(r"Software ANE \(\w+\)", "cpu", text)
    text = re.sub(r"\bAneDevice\b|\bCpuDevice\b|TFRT_CPU_\d+|ANE_\d+", "Device", text)
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    return re.sub(r"\bane\b|\bcpu\b", "platform", text, flags=re.IGNORECASE).strip()


def _leaf_difference(case: Case, mode: str, got: Leaf, want: Leaf) -> str:
    a, b = got.values, want.values
    if a.dtype.kind in "USO" or b.dtype.kind in "USO":
        texts = [_neutral(str(x.tolist())) for x in (a, b)]
        return "" if texts[0] == texts[1] else f"{texts[0]} where cpu has {texts[1]}"
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype}{a.shape} where cpu has {b.dtype}{b.shape}"
    if got.weak_type != want.weak_type:
        return f"weak_type {got.weak_type} where cpu has {want.weak_type}"
    if a.tobytes() == b.tobytes():
        return ""
    is_number = jax.numpy.issubdtype(b.dtype, np.inexact)
    if mode in (HOST, EAGER, DEVICE) or not is_number:
        return f"not cpu's bits: {_worst(a, b)}"
    tolerance = _FLOAT32_TOLERANCE if mode == AUTO else _tolerance(case)
    if mode == AUTO and b.dtype.itemsize < 4:
        tolerance = 8 * float(jax.numpy.finfo(b.dtype).eps)
    return _beyond(a, b, tolerance, mode)


def _tolerance(case: Case) -> float:
    """Returns what the rows of the case's ops allow on the engine."""
    if case.tolerance is not None:
        return case.tolerance
    rows = [optable.row(name) for name in ops_of(case)]
    return _SLACK * max([_FP16, *(row.tolerance for row in rows)])


def _beyond(a: np.ndarray, b: np.ndarray, tolerance: float, mode: str) -> str:
    wide = np.complex128 if np.iscomplexobj(b) else np.float64
    a, b = a.astype(wide).ravel(), b.astype(wide).ravel()
    finite = np.isfinite(b)
    if mode == ANE:
        finite &= abs(b) < _LARGEST
    elif not np.array_equal(np.isnan(a), np.isnan(b)):
        return f"NaN elsewhere: {_worst(a, b)}"
    if not finite.any():
        return ""
    largest = abs(b[finite]).max()
    error = abs(a - b)[finite]
    relative = float(np.nan_to_num(error, nan=np.inf).max()) / max(float(largest), 1e-30)
    if relative <= tolerance:
        return ""
    return f"{relative:.3g} > {tolerance:.3g} of the largest: {_worst(a, b)}"


def _worst(a: np.ndarray, b: np.ndarray) -> str:
    """Describes the largest difference."""
    a, b = np.atleast_1d(a).ravel(), np.atleast_1d(b).ravel()
    if a.size == 0:
        return "empty"
    differs = np.array([x.tobytes() != y.tobytes() for x, y in zip(a, b, strict=True)])
    with np.errstate(all="ignore"):
        wide = np.complex128 if np.iscomplexobj(b) else np.float64
        gap = np.where(differs, abs(a.astype(wide) - b.astype(wide)), -1.0)
        place = int(np.argmax(np.nan_to_num(gap, nan=np.inf)))
    return f"{int(differs.sum())} of {a.size}, at {place} {a[place]!r} where cpu has {b[place]!r}"
