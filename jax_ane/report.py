# SPDX-License-Identifier: Apache-2.0
"""Answers about a function on the ANE: what goes where and why, and the programs themselves."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax_ane.compiler.placement import OpRecord, Placement
from jax_ane.compiler.programs import AneProgram


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """Placement of every op of one function.

    Attributes:
        ops: one record an op: `op`, `result`, `location` (file, line, function), `placement`
            ("ane" or "host"), `reason` (code, text, remedy), `flops`, `bytes`, `program`.
        programs: the distinct ANE programs, with `text` (MIL) and `blobs`.
        ane_flop_fraction: share of the FLOPs on the ANE, 0 to 1.
    """

    placement: Placement

    @property
    def ops(self) -> list[OpRecord]:
        return self.placement.ops

    @property
    def programs(self) -> list[AneProgram]:
        return self.placement.programs

    @property
    def ane_flop_fraction(self) -> float:
        return self.placement.ane_flop_fraction

    def to_text(self) -> str:
        """Returns the table as text."""
        return self.placement.to_text()

    def to_dict(self) -> dict[str, Any]:
        """Returns the whole as JSON-ready data."""
        return self.placement.to_dict()

    def to_html(self) -> str:
        """Returns a self-contained HTML fragment: summary, table of ops, programs."""
        return _to_html(self.placement)

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()


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
        *args: example arguments: arrays, or `jax.ShapeDtypeStruct`s.
        **kwargs: keyword arguments of `fn`.

    Returns:
        The report; printing it shows the table.

    Example:
        >>> import jax.numpy as jnp, jax_ane
        >>> report = jax_ane.explain(lambda x: jnp.tanh(x @ x), jnp.ones((64, 64)))
        >>> report.ane_flop_fraction > 0.9
        True
    """
    return explain_program(_stablehlo(fn, args, kwargs))


def explain_program(program: bytes | str) -> Report:
    """Reports on a StableHLO program: artifact, bytecode or text.

    Raises:
        ValueError: the bytes are not a program.
    """
    from jax_ane import compiler

    return Report(compiler.compile(program, load=False).placement)


def lower(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Lowered:
    """Returns the ANE programs of `fn(*args)` and its host module, without running it.

    Args:
        fn: a JAX function, jitted or not.
        *args: example arguments: arrays, or `jax.ShapeDtypeStruct`s.
        **kwargs: keyword arguments of `fn`.

    Example:
        >>> import jax.numpy as jnp, jax_ane
        >>> programs = jax_ane.lower(lambda x: x @ x, jnp.ones((64, 64))).programs
        >>> "matmul" in programs[0].text
        True
    """
    from jax_ane import compiler
    from jax_ane.compiler import frontend

    compiled = compiler.compile(_stablehlo(fn, args, kwargs), load=False)
    return Lowered(compiled.placement.programs, str(frontend.parse(compiled.host_module)))


def _stablehlo(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Traces `fn` for the platform `ane` and returns its StableHLO as bytecode."""
    import jax

    from jax_ane import _jax_internals

    jitted = fn if hasattr(fn, "lower") else jax.jit(fn)
    with jax.default_device(jax.devices("ane")[0]):
        lowered = jitted.lower(*args, **kwargs)
    lowered = getattr(lowered, "lowered", lowered)  # flax wraps JAX's object
    return _jax_internals.module_to_bytecode(lowered.compiler_ir())


_STYLE = (
    "<style>.jax-ane td,.jax-ane th{text-align:left;padding:1px 8px;font-family:monospace;"
    "font-size:12px}.jax-ane .ane{background:#e2f3e2}</style>"
)


def _to_html(placement: Placement) -> str:
    rows = []
    for op in placement.ops:
        if op.reason.code == "constant":
            continue
        cells = (
            op.placement, op.op.removeprefix("stablehlo."), op.result, str(op.location),
            f"{op.flops:,}", op.reason.text, op.program or "",
        )  # fmt: skip
        body = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{op.placement}">{body}</tr>')
    head = "".join(
        f"<th>{name}</th>" for name in ("place", "op", "result", "where", "FLOPs", "why", "program")
    )
    summary = (
        f"{100 * placement.ane_flop_fraction:.2f} % of {placement.total_flops:,} FLOPs on the ANE "
        f"in {len(placement.programs)} program(s), chip {html.escape(placement.chip)}"
    )
    return (
        f'{_STYLE}<div class="jax-ane"><p>{summary}</p><table><tr>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )
