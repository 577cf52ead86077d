# SPDX-License-Identifier: Apache-2.0
"""Answers about a function on the ANE: what goes where and why, and the programs themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax  # first: it quiets jaxlib's C++ logs, which jaxlib.mlir alone does not
import jax.export
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from jax_ane import _jax_internals
from jax_ane.compiler import frontend, pipeline
from jax_ane.compiler.graph import Location
from jax_ane.compiler.hazards import Hazard
from jax_ane.compiler.placement import OpRecord, Placement
from jax_ane.compiler.programs import AneProgram

_PACKAGE = Path(__file__).parent


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """Placement of every op of one function.

    Attributes:
        ops: one record an op: `op`, `result`, `location` (file, line, function), `placement`
            ("ane" or "host"), `reason` (code, text, remedy), `flops`, `bytes`, `program`.
        programs: the distinct ANE programs, with `text` (MIL) and `blobs`.
        ane_flop_fraction: share of the FLOPs on the ANE, 0 to 1.
        hazards: what can go wrong in fp16: `code`, `op` (MIL), `location`, `value`, `text`,
            `remedy`; also on the ops of the same line.
    """

    placement: Placement

    @property
    def ops(self) -> list[OpRecord]:
        return self.placement.ops

    @property
    def programs(self) -> list[AneProgram]:
        return self.placement.programs

    @property
    def hazards(self) -> list[Hazard]:
        return self.placement.hazards

    @property
    def ane_flop_fraction(self) -> float:
        return self.placement.ane_flop_fraction

    def to_text(self) -> str:
        """Returns the table as text."""
        return self.placement.to_text()

    def to_dict(self) -> dict[str, Any]:
        """Returns the whole as JSON-ready data."""
        return self.placement.to_dict()

    def to_html(self, title: str = "placement") -> str:
        """Returns a self-contained HTML page: graph of programs, hazards, ops, MIL, a search.

        Args:
            title: what the report is about.
        """
        from jax_ane import _report_html

        return _report_html.render_page(self.placement, title)

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from jax_ane import _report_html

        return _report_html.render(self.placement)


@dataclasses.dataclass(frozen=True, eq=False)
class Lowered:
    """The ANE programs of a function and the host module that calls them.

    Attributes:
        programs: the distinct programs; each has `name`, `text` (MIL) and `blobs` (path -> bytes).
        host_module: the rest as StableHLO text, with a custom call per program.
    """

    programs: list[AneProgram]
    host_module: str

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes `<name>/model.mil`, `<name>/weights/*.bin` and `host.mlir`; returns the folder."""
        from jax_ane.compiler.dump import save_program

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for program in self.programs:
            save_program(program, target / program.name)
        (target / "host.mlir").write_text(self.host_module)
        return target


def explain(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Report:
    """Reports where each op of `fn(*args)` goes and why, without running it.

    Args:
        fn: a JAX function, jitted or not (an `nnx.jit` one too).
        *args: example arguments: arrays, or `jax.ShapeDtypeStruct`s. They may live on any device:
            only their shapes and dtypes are read.
        **kwargs: keyword arguments of `fn`.

    Returns:
        The report; printing it shows the table.

    Raises:
        TypeError: `fn` cannot be called, or JAX cannot trace it with these arguments.

    Example:
        >>> import jax.numpy as jnp, jax_ane
        >>> report = jax_ane.explain(lambda x: jnp.tanh(x @ x), jnp.ones((64, 64)))
        >>> report.ane_flop_fraction > 0.9
        True
    """
    report = _report(_stablehlo(fn, args, kwargs))
    caller = _caller()
    report.placement.ops[:] = [_with_user_line(op, fn, caller) for op in report.placement.ops]
    return report


def explain_program(program: bytes | bytearray | str) -> Report:
    """Reports on a program that is written down already.

    Args:
        program: StableHLO as text, bytecode or portable artifact, or what
            `jax.export.export(...)(...).serialize()` returned.

    Raises:
        ValueError: the bytes are no program.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jax_ane.report import explain_program
        >>> text = jax.jit(lambda x: x @ x).lower(jnp.ones((64, 64))).as_text()
        >>> explain_program(text).ane_flop_fraction
        1.0
    """
    return _report(_readable(bytes(program) if isinstance(program, bytearray) else program))


def lower(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Lowered:
    """Returns the ANE programs of `fn(*args)` and its host module, without running it.

    Args:
        fn: as for `explain`.
        *args: as for `explain`.
        **kwargs: as for `explain`.

    Raises:
        TypeError: as for `explain`.

    Example:
        >>> import jax.numpy as jnp, jax_ane
        >>> programs = jax_ane.lower(lambda x: x @ x, jnp.ones((64, 64))).programs
        >>> "matmul" in programs[0].text
        True
    """
    compiled = pipeline.compile(_stablehlo(fn, args, kwargs), load=False)
    return Lowered(compiled.placement.programs, str(frontend.parse(compiled.host_module)))


def _report(program: bytes | str) -> Report:
    return Report(pipeline.compile(program, load=False).placement)


def _stablehlo(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Traces `fn` for the platform `ane` and returns its StableHLO as bytecode."""
    if not callable(fn):
        raise TypeError(f"explain and lower want a function, got {type(fn).__name__}")
    device = jax.devices("ane")[0]

    def movable(leaf: Any) -> Any:
        """Returns a stand-in for an array that is committed to another platform."""
        if not isinstance(leaf, jax.Array) or leaf.devices() == {device}:
            return leaf
        if len(leaf.devices()) > 1 and all(d.platform == "ane" for d in leaf.devices()):
            return leaf  # split over devices: what is asked about is each one's part
        weak = getattr(leaf, "weak_type", False)  # random keys have none
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=weak)

    jitted: Any = fn if hasattr(fn, "lower") else jax.jit(fn)
    args, kwargs = jax.tree.map(movable, (args, kwargs))
    with jax.default_device(device):
        lowered = jitted.lower(*args, **kwargs)
    lowered = getattr(lowered, "lowered", lowered)  # flax wraps JAX's object
    return _jax_internals.module_to_bytecode(lowered.compiler_ir())


def _caller() -> tuple[str, int]:
    """Returns file and line of the call that came into this package from outside."""
    frame = inspect.currentframe()
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
        frame = frame.f_back
    return ("", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def _with_user_line(op: OpRecord, fn: Any, caller: tuple[str, int]) -> OpRecord:
    """Returns the record with a place in the user's function.

    What JAX adds to a program outside of any line of `fn`, such as the constants it shares, carries
    the line of the call to `explain`, or none; the line of the function's `def` says more.
    """
    file = op.location.file
    inside = Path(file).is_relative_to(_PACKAGE) and Path(file).name != "demo.py"
    if file and not inside and (file, op.location.line) != caller:
        return op
    code = getattr(inspect.unwrap(fn), "__code__", None)
    if code is None:
        return op
    place = Location(code.co_filename, code.co_firstlineno, code.co_qualname)
    return dataclasses.replace(op, location=place)


def _readable(program: bytes | str) -> bytes | str:
    """Returns a program that the compiler can read, unpacked from a `jax.export` artifact."""
    data = program.encode() if isinstance(program, str) else program
    diagnostics = (
        _read_diagnostics(data) if data.strip(b"\0 \t\r\n") else "there is no text in them"
    )
    if diagnostics is None:
        return program
    hint = ""
    try:
        return jax.export.deserialize(bytearray(data)).mlir_module_serialized
    except ImportError as error:
        hint = f" (if it is a jax.export artifact: {error})"
    except Exception:  # of many types: flatbuffers checks nothing
        pass
    raise ValueError(
        f"{len(data)} bytes are neither StableHLO nor a jax.export artifact: {diagnostics}{hint}"
    )


def _read_diagnostics(data: bytes) -> str | None:
    """Returns why MLIR cannot read the program, with line and column, or None if it can."""
    context = _jax_internals.make_ir_context()
    context.allow_unregistered_dialects = True
    with context.attach_diagnostic_handler(lambda _: True):  # or they go to stderr
        if data.startswith(b"ML\xefR"):
            with contextlib.suppress(ValueError, ir.MLIRError):
                stablehlo.deserialize_portable_artifact(context, data)
                return None
        try:
            ir.Module.parse(data, context=context)
        except (ValueError, ir.MLIRError) as error:
            text = " ".join(str(error).split()).removeprefix("Unable to parse module assembly: ")
            return re.sub(r'"-":(\d+):(\d+)', r"line \1, column \2", text)
    return None
