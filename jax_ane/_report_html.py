# SPDX-License-Identifier: Apache-2.0
"""The report as HTML: one row for ops of one kind, line and reason; each program's MIL below."""

from __future__ import annotations

import collections
import html
from collections.abc import Iterable

from jax_ane.compiler.placement import OpRecord, Placement

_STYLE = (
    "<style>.jax-ane td,.jax-ane th{text-align:left;padding:1px 8px;font-family:monospace;"
    "font-size:12px}.jax-ane td.n{text-align:right}.jax-ane tr.ane{background:#9cd39c44}"
    ".jax-ane pre{font-size:11px;max-height:30em;overflow:auto}</style>"
)
_COLUMNS = ("place", "count", "FLOPs", "op", "result", "where", "why", "what to do", "program")


def render(placement: Placement) -> str:
    """Returns a self-contained HTML fragment."""
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    summary = (
        f"{100 * placement.ane_flop_fraction:.2f} % of {placement.total_flops:,} FLOPs on the ANE "
        f"in {len(placement.programs)} program(s), chip {html.escape(placement.chip)}, "
        f"{html.escape(placement.numerics)} numerics"
    )
    return (
        f'{_STYLE}<div class="jax-ane"><p>{summary}</p><table><tr>{head}</tr>'
        f"{''.join(_rows(placement.ops))}</table>{''.join(_programs(placement))}</div>"
    )


def _rows(ops: Iterable[OpRecord]) -> Iterable[str]:
    groups: dict[tuple[str, ...], list[OpRecord]] = collections.defaultdict(list)
    for op in ops:
        if op.reason.code != "constant":
            name = op.op.removeprefix("stablehlo.")
            key = (op.placement, name, op.result, str(op.location), op.reason.text)
            groups[(*key, op.reason.remedy, op.program or "")].append(op)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -_flops(item[1])))
    for (place, name, result, where, why, remedy, program), group in ordered:
        cells = "".join(
            f"<td>{html.escape(cell)}</td>" for cell in (name, result, where, why, remedy, program)
        )
        yield (
            f'<tr class="{place}"><td>{place}</td><td class="n">{len(group)}</td>'
            f'<td class="n">{_flops(group):,}</td>{cells}</tr>'
        )


def _flops(ops: Iterable[OpRecord]) -> int:
    return sum(op.flops for op in ops)


def _programs(placement: Placement) -> Iterable[str]:
    for program in placement.programs:
        title = (
            f"{program.name}: {program.op_count} MIL ops, {program.flops:,} FLOPs, called "
            f"{placement.calls[program.name]}x, from {program.location}"
        )
        yield (
            f"<details><summary>{html.escape(title)}</summary>"
            f"<pre>{html.escape(program.text)}</pre></details>"
        )
