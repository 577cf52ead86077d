# SPDX-License-Identifier: Apache-2.0
"""What a case is, how cases are made, and the seeded data that they take."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# The ways to run a case, each compared with `cpu`:
#   host    placement=host: the same bits
#   auto    placement=auto with matmul precision "highest": float32 tolerance
#   ane     placement=ane: everything that is legal runs on the engine, in fp16
#   eager   placement=host, not jitted: the same bits as `cpu` not jitted
#   device  the function takes the device and says what it saw: the same observations
HOST, AUTO, ANE, EAGER, DEVICE = "host", "auto", "ane", "eager", "device"
MODES = (HOST, AUTO, ANE, EAGER, DEVICE)
EXACT = (HOST, AUTO)  # of cases whose values the chip does not have, or that stay on the host
COMPUTED = (HOST, AUTO, ANE)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One function with arguments.

    Attributes:
        family: what it is about; a row of the summary.
        name: unique in its family.
        fn: takes `args`, or the device where the mode is `device`; returns a pytree.
        args: arrays of NumPy.
        modes: how it is run.
        x64: under `jax.enable_x64(True)`.
        tolerance: for the mode `ane`, instead of what its ops' rows say: |error| / max|value|.
        known: mode -> why it fails today; it must fail, or the run does.
        raises: it raises, on cpu too; a case that does so otherwise would compare nothing.
            None where jax and XLA decide, as for types below a byte: then both do the same.
        alone: compiled by itself, for what must not share a program with other cases.
    """

    family: str
    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    modes: tuple[str, ...] = COMPUTED
    x64: bool = False
    tolerance: float | None = None
    known: Mapping[str, str] = dataclasses.field(default_factory=dict)
    raises: bool | None = False
    alone: bool = False

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}"


class Family:
    """Collects the cases of a family: a module of `families` makes one or more."""

    def __init__(self, name: str, **defaults: Any) -> None:
        self.name = name
        self.cases: list[Case] = []
        self.left_out: list[str] = []  # functions that this version of jax lacks
        self._defaults = defaults
        self._names: set[str] = set()

    def add(self, name: str, fn: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Adds a case.

        Raises:
            ValueError: the family has one of that name.
        """
        if name in self._names:
            raise ValueError(f"two cases are called {self.name}/{name}")
        self._names.add(name)
        self.cases.append(Case(self.name, name, fn, args, **{**self._defaults, **options}))

    def add_all(self, table: Mapping[str, Callable[..., Any]], *args: Any, **options: Any) -> None:
        """Adds a case for each function of a table, all with the same arguments."""
        for name, fn in table.items():
            self.add(name, fn, *args, **options)

    def lacks(self, name: str) -> None:
        """Says that a function is not in this version of jax."""
        self.left_out.append(f"{self.name}/{name}")


GROUP_SIZE = 8  # cases that share a program


def groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Splits cases into those that may share a program: neighbours with the same settings."""
    found: list[list[Case]] = []
    for case in cases:
        last = found[-1] if found else []
        fits = (
            last
            and len(last) < GROUP_SIZE
            and not (case.alone or last[0].alone or case.known or last[0].known)
            and (case.family, case.modes, case.x64) == (last[0].family, last[0].modes, last[0].x64)
        )
        if fits:
            last.append(case)
        else:
            found.append([case])
    return found


def _rng(shape: tuple[int, ...], dtype: Any, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(str(np.dtype(dtype)).encode()), *shape])


def grid(*shape: int, seed: int = 0, dtype: Any = np.float32, limit: float = 3.0) -> np.ndarray:
    """Returns multiples of 1/16 in [-limit, limit], none of them 0: fp16 holds them exactly.

    So a step function of an argument is the same on the engine as in float32.
    """
    steps = int(limit * 16)
    values = _rng(shape, dtype, seed).integers(1, steps + 1, shape)
    signs = _rng(shape, dtype, seed + 1000).choice([-1, 1], shape)
    return np.asarray(values * signs / 16).astype(dtype)


def positive(*shape: int, seed: int = 0, dtype: Any = np.float32, limit: float = 3.0) -> np.ndarray:
    """Returns multiples of 1/16 in (0, limit]."""
    return abs(grid(*shape, seed=seed, dtype=dtype, limit=limit))


def unit(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Returns multiples of 1/16 in (0, 1)."""
    values = _rng(shape, dtype, seed).integers(1, 16, shape)
    return np.asarray(values / 16).astype(dtype)


def integers(
    *shape: int, low: int = -9, high: int = 10, seed: int = 0, dtype: Any = np.int32
) -> np.ndarray:
    """Returns integers in [low, high)."""
    return np.asarray(_rng(shape, dtype, seed).integers(low, high, shape)).astype(dtype)


def booleans(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns a mask."""
    return np.asarray(_rng(shape, np.bool_, seed).integers(0, 2, shape)).astype(np.bool_)


def complexes(*shape: int, seed: int = 0, dtype: Any = np.complex64) -> np.ndarray:
    """Returns complex numbers whose parts are multiples of 1/16."""
    return (grid(*shape, seed=seed) + 1j * grid(*shape, seed=seed + 1)).astype(dtype)


def definite(n: int, *batch: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Returns symmetric positive definite matrices [*batch, n, n]."""
    a = grid(*batch, n, n, seed=seed, dtype=np.float64, limit=1.0)
    return (a @ np.swapaxes(a, -1, -2) + n * np.eye(n)).astype(dtype)
