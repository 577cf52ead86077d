# SPDX-License-Identifier: Apache-2.0
"""Runs or judges anyone's MIL program on the software ANE, without JAX.

Example:
    >>> import numpy as np
    >>> from jax_ane import mil
    >>> text = '''program(1.3)
    ... {
    ...     func main<ios18>(tensor<fp16, [1, 4]> x) {
    ...         tensor<fp16, [1, 4]> y = add(x = x, y = x)[name = string("y")];
    ...     } -> (y);
    ... }'''
    >>> mil.run(text, {"x": np.arange(4).reshape(1, 4)})["y"]
    array([[0., 2., 4., 6.]], dtype=float16)
    >>> mil.check(text)
    []
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jax_ane import _engine, _native
from jax_ane._config import config
from jax_ane._errors import AneError, MilError, UnsupportedOpError

Blobs = Mapping[str, bytes] | str | Path

_CHIPS = Path(__file__).parent / "chips"
_PREFIX = "@model_path"
_DTYPES = {
    "fp16": np.float16,
    "fp32": np.float32,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
}
_LOCATED = re.compile(r"InvalidMILProgram: (ANE\d+) at line (\d+), column (\d+)")
_INVALID_ARGUMENT, _UNIMPLEMENTED = 3, 12


@dataclasses.dataclass(frozen=True)
class Finding:
    """One refusal of a MIL program.

    Attributes:
        id: constraint number, such as `"ANE017"`; `jax_ane/compiler/constraints.json` tells its
            title and source.
        line: line in the text, from 1.
        column: column in bytes, from 1.
        message: what is wrong, and what to write instead.
    """

    id: str
    line: int
    column: int
    message: str


@dataclasses.dataclass(frozen=True)
class Operation:
    """A MIL operation that the software ANE models.

    Attributes:
        name: MIL's name.
        numerics: `"bit-exact"` (the chip's bits), `"bounded"`, or `"unknown"` (no data).
        chips: on which chips that was seen; `"all"` for what holds of every chip.
        bound: of bounded operations, the largest |error| that tests allow against exact
            arithmetic, relative to the largest |result|; None for the others.
        evidence: what the class rests on.
    """

    name: str
    numerics: str
    chips: str
    bound: float | None
    evidence: str


def run(
    text: str,
    inputs: Mapping[str, npt.ArrayLike],
    blobs: Blobs | None = None,
    chip: str | None = None,
    numerics: str | None = None,
) -> dict[str, np.ndarray]:
    """Compiles, loads and evaluates a MIL program once.

    Args:
        text: the program.
        inputs: an array for each of the program's inputs, of its shape; cast to its type with
            NumPy's rounding.
        blobs: a folder (what `@model_path` stands for), or `{path as written: bytes}`.
        chip: name of a file in `jax_ane/chips`; the flag `chip` by default.
        numerics: `"exact"` (the chip's bits) or `"fast"`; the flag `numerics` by default.

    Returns:
        `{output name: array}` in the order of the function's return tuple.

    Raises:
        UnsupportedOpError: an operation without a path on the engine, or outside this model.
        MilError: the text, its blobs or the inputs are refused.
        AneError: the program cannot be loaded.
    """
    program = load(text, blobs, chip, numerics)
    return evaluate(program, inputs)


def load(
    text: str,
    blobs: Blobs | None = None,
    chip: str | None = None,
    numerics: str | None = None,
) -> Any:
    """Compiles and loads a MIL program, to be evaluated more than once.

    Args:
        text: the program.
        blobs: as for `run`; copied, so later changes do nothing.
        chip: as for `run`.
        numerics: as for `run`.

    Returns:
        A loaded program for `evaluate`.

    Raises:
        UnsupportedOpError: as for `run`.
        MilError: as for `run`.
        AneError: as for `run`.
        ValueError: `numerics`, or one of the flags `isa` and `threads`, has a wrong value.
    """
    _engine.configure()
    mode = config.numerics if numerics is None else numerics
    if mode not in ("exact", "fast"):
        raise ValueError(f"numerics={mode!r} is not one of the choices: exact, fast")
    files = _read_blobs(text, blobs)
    try:
        return _native.MilProgram(text, files, _read_chip(chip), mode == "exact")
    except RuntimeError as error:
        raise _public_error(error) from None


def load_with_weights(program: Any, blobs: Blobs) -> Any:
    """Loads a program once more with other weights, without compiling it again.

    The program given keeps the weights that it was loaded with: nothing is overwritten.

    Args:
        program: what `load` or this function returned.
        blobs: as for `run`: files of the same paths and layouts, with other values.

    Returns:
        A loaded program for `evaluate`.

    Raises:
        MilError: a blob is missing or has another layout.
        AneError: the program cannot be loaded.
    """
    try:
        return program.with_weights(_read_blobs(program.text, blobs))
    except RuntimeError as error:
        raise _public_error(error) from None


def evaluate(program: Any, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, np.ndarray]:
    """Evaluates a program of `load`.

    Args:
        program: what `load` returned.
        inputs: as for `run`.

    Returns:
        As `run`.

    Raises:
        MilError: an input is missing, unknown or of the wrong shape.
    """
    wanted = {name: (dtype, tuple(dims)) for name, dtype, dims, *_ in program.inputs}
    unknown = sorted(set(inputs) - set(wanted))
    if unknown:
        raise MilError(
            f"the program has no input {', '.join(unknown)}; it has {', '.join(wanted) or 'none'}"
        )
    packed = {}
    for name, (dtype, dims) in wanted.items():
        if name not in inputs:
            raise MilError(f"input {name!r} is missing")
        array = np.asarray(inputs[name])
        if array.shape != dims:
            raise MilError(f"input {name!r} has shape {array.shape}, the program wants {dims}")
        with np.errstate(over="ignore", invalid="ignore"):
            packed[name] = np.ascontiguousarray(array, _DTYPES[dtype]).tobytes()
    try:
        results = program.run(packed)
    except RuntimeError as error:
        raise _public_error(error) from None
    return {
        name: np.frombuffer(data, _DTYPES[dtype]).reshape(dims).copy()
        for name, (dtype, dims, data) in results.items()
    }


def check(text: str, chip: str | None = None, blobs: Blobs | None = None) -> list[Finding]:
    """Tells which numbered constraints a MIL program breaks on a chip.

    Args:
        text: the program.
        chip: as for `run`.
        blobs: as for `run`; a program that names blob files needs them.

    Returns:
        The findings in the order of the text; empty when the program is accepted. Reading stops
        at the first syntax error.
    """
    found = _native.mil_check(text, _read_blobs(text, blobs), _read_chip(chip))
    return [Finding(*row) for row in found]


def operations() -> list[Operation]:
    """Returns the operations that the software ANE models, by name."""
    table = []
    for name, numerics in _native.mil_ops():
        row = _native.mil_evidence(name)
        chips, evidence, bound = row or ("none", "", 0.0)
        table.append(Operation(name, numerics, chips, bound or None, evidence))
    return table


def _read_chip(name: str | None) -> dict[str, Any]:
    name = config.chip if name is None else name
    known = sorted(path.stem for path in _CHIPS.glob("*.json"))
    if name not in known:
        raise ValueError(f"chip={name!r} is not one of the choices: {', '.join(known)}")
    return json.loads((_CHIPS / f"{name}.json").read_text())


def _read_blobs(text: str, blobs: Blobs | None) -> dict[str, bytes]:
    """Returns `{path as written: bytes}`; of a folder, the files that the text names."""
    if blobs is None:
        return {}
    if isinstance(blobs, Mapping):
        return {str(path): bytes(data) for path, data in blobs.items()}
    folder = Path(blobs).resolve()
    files = {}
    for path in set(re.findall(rf'"({_PREFIX}/[^"\n]*)"', text)):
        file = (folder / path[len(_PREFIX) + 1 :]).resolve()
        # A hostile text must not read files elsewhere.
        if file.is_relative_to(folder) and file.is_file():
            files[path] = file.read_bytes()
    return files


def _public_error(error: RuntimeError) -> Exception:
    if len(error.args) != 2:
        return error
    code, message = error.args
    located = _LOCATED.search(message)
    where = (located[1], int(located[2]), int(located[3])) if located else ("", 0, 0)
    if code == _UNIMPLEMENTED:
        return UnsupportedOpError(message, *where)
    if code == _INVALID_ARGUMENT:
        return MilError(message, *where)
    return AneError(message)
