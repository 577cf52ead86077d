# SPDX-License-Identifier: Apache-2.0
"""Runs one program on `cpu` and on `ane` under each placement, and compares the results."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import jax_ane

# Relative L2 error of a whole result for well-scaled data: an fp16 product of a few hundred terms
# is 4e-4 to 3e-3 wrong, a table activation up to 4e-3 of its largest value.
TOLERANCE = 5e-3


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32, scale: float = 1.0) -> np.ndarray:
    """Returns seeded N(0, scale) data."""
    rng = np.random.default_rng([seed, *shape])
    return (scale * rng.standard_normal(shape)).astype(dtype)


def run_counted(
    fn: Callable, args: Sequence, device: str, placement: str = "auto"
) -> tuple[list[np.ndarray], int]:
    """Returns the leaves of `fn(*args)` on a device, and how many ANE programs it consists of."""
    target = jax.devices(device)[0]
    with jax_ane.config(placement=placement), jax.default_device(target):
        arguments = jax.device_put(tuple(args), target)
        compiled = jax.jit(lambda *a: fn(*a)).lower(*arguments).compile()
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(compiled(*arguments))]
        programs = len(re.findall(r"^ane_\w+: ", compiled.as_text() or "", re.MULTILINE))
    return leaves, programs


def run(fn: Callable, args: Sequence, device: str, placement: str = "auto") -> list[np.ndarray]:
    """Returns the leaves of `fn(*args)` on a device."""
    return run_counted(fn, args, device, placement)[0]


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """Returns |got - want| / |want| in L2, of the whole array; nan wherever only one is nan."""
    dtype = np.complex128 if np.iscomplexobj(want) else np.float64
    got, want = np.asarray(got, dtype), np.asarray(want, dtype)
    if got.size == 0:
        return 0.0
    return float(np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30))


def assert_same_bits(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> None:
    """Fails unless every leaf has the same dtype, shape and bytes."""
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes(), f"differs by {relative_error(a, b):.3g}"


def assert_close(
    got: Sequence[np.ndarray], want: Sequence[np.ndarray], tolerance: float, what: str = ""
) -> float:
    """Fails unless every leaf is within `tolerance`; exact where it is not floating point."""
    worst = 0.0
    for number, (a, b) in enumerate(zip(got, want, strict=True)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{what} leaf {number}"
        if not np.issubdtype(b.dtype, np.floating):
            assert a.tobytes() == b.tobytes(), f"{what} leaf {number} is not exact"
            continue
        error = relative_error(a, b)
        assert error <= tolerance, f"{what} leaf {number}: {error:.3g} > {tolerance:.3g}"
        worst = max(worst, error)
    return worst


def check_parity(
    fn: Callable,
    *args: Any,
    tolerance: float = TOLERANCE,
    placements: Sequence[str] = ("auto", "ane"),
    on_ane: bool = True,
) -> float:
    """Compares `ane` with `cpu` and returns the worst relative error.

    `placement="host"` must give cpu's bits. With `on_ane`, each other placement must have at
    least one ANE program, so that a comparison cannot pass by running nothing.
    """
    want = run(fn, args, "cpu")
    assert_same_bits(run(fn, args, "ane", "host"), want)
    worst = 0.0
    for placement in placements:
        got, programs = run_counted(fn, args, "ane", placement)
        assert programs or not on_ane, f"{placement}: nothing ran on the ANE"
        worst = max(worst, assert_close(got, want, tolerance, placement))
    return worst


def check_exact(
    fn: Callable, *args: Any, placements: Sequence[str] = ("auto", "ane", "host")
) -> None:
    """Fails unless `ane` gives cpu's bits under each placement, and nothing runs on the ANE."""
    want = run(fn, args, "cpu")
    for placement in placements:
        got, programs = run_counted(fn, args, "ane", placement)
        assert not programs, f"{placement}: ran on the ANE"
        assert_same_bits(got, want)
