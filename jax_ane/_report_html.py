# SPDX-License-Identifier: Apache-2.0
"""The report as HTML: a fragment for notebooks, and a page with the graph of programs and a search.

Both are self-contained: no file, font or script from elsewhere.
"""

from __future__ import annotations

import collections
import html
from collections.abc import Iterable

from jax_ane._report_graph import draw
from jax_ane.compiler.placement import OpRecord, Placement, spills_text

_STYLE = """<style>
.jax-ane{font:13px system-ui,sans-serif}
.jax-ane table{border-collapse:collapse}
.jax-ane td,.jax-ane th{text-align:left;padding:1px 8px;font:12px ui-monospace,monospace;
vertical-align:top}
.jax-ane th{cursor:default}
.jax-ane td.n{text-align:right}
.jax-ane tr.ane{background:#9cd39c44}
.jax-ane tr.warn{background:#f0b44c44}
.jax-ane pre{font-size:11px;max-height:30em;overflow:auto}
</style>"""
_PAGE_STYLE = """<style>
:root{color-scheme:light dark}
body{margin:1.5em auto;max-width:100em;padding:0 1em;font:14px system-ui,sans-serif}
h1{font-size:1.3em}h2{font-size:1.1em;margin-top:1.6em}
nav{position:sticky;top:0;padding:.5em 0;background:Canvas;display:flex;gap:1em}
nav input{flex:1;font:inherit;padding:.3em .6em}
.flow{overflow:auto;max-height:40em;border:1px solid #8886}
.flow text{font:11px ui-monospace,monospace;fill:CanvasText}
.flow rect{stroke:#888;fill:color-mix(in srgb,Canvas 90%,#888)}
.flow rect.ane{fill:color-mix(in srgb,Canvas 70%,#4a9c4a)}.flow rect.border{fill:Canvas}
.flow path{fill:none;stroke:#888;opacity:.7}
[hidden]{display:none}
</style>"""
# Rows and programs that do not hold every word of the search disappear.
_SCRIPT = """<script>
const box = document.querySelector("#search"), count = document.querySelector("#count");
const items = [...document.querySelectorAll("tr[data-row], details")]
  .map(item => [item, item.textContent.toLowerCase()]);
function search() {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const [item, text] of items) {
    item.hidden = !words.every(word => text.includes(word));
    shown += !item.hidden;
  }
  count.textContent = words.length ? `${shown} of ${items.length}` : "";
}
box.addEventListener("input", search);
</script>"""
_COLUMNS = ("place", "count", "FLOPs", "op", "result", "where", "why", "what to do", "program")


def render(placement: Placement) -> str:
    """Returns a fragment: summary, hazards, ops, each program's MIL."""
    return (
        f'{_STYLE}<div class="jax-ane"><p>{_summary(placement)}</p>{_hazards(placement)}'
        f"{_ops(placement)}{''.join(_programs(placement))}</div>"
    )


def render_page(placement: Placement, title: str) -> str:
    """Returns a whole page: the fragment's parts, the graph of programs and a search.

    Args:
        title: what the report is about.
    """
    name = html.escape(title)
    graph = draw(placement.parts)
    flow = f'<h2>Programs and what flows between them</h2><div class="flow">{graph}</div>'
    hazards = _hazards(placement)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>jax-ane: {name}</title>{_STYLE}{_PAGE_STYLE}</head><body>"
        f'<div class="jax-ane"><h1>{name}</h1><p>{_summary(placement)}</p>'
        '<nav><input id="search" type="search" placeholder="Search ops, lines, reasons, MIL" '
        'aria-label="Search"><span id="count"></span></nav>'
        f"{flow if placement.parts else ''}"
        f"{f'<h2>fp16 hazards</h2>{hazards}' if hazards else ''}"
        f"<h2>Ops</h2>{_ops(placement)}"
        f"<h2>ANE programs</h2>{''.join(_programs(placement))}</div>{_SCRIPT}</body></html>"
    )


def _summary(placement: Placement) -> str:
    return (
        f"{100 * placement.ane_flop_fraction:.2f} % of {placement.total_flops:,} FLOPs on the ANE "
        f"in {len(placement.programs)} program(s), chip {html.escape(placement.chip)}, "
        f"{html.escape(placement.numerics)} numerics"
        + (f"; estimated {placement.estimate}" if placement.programs else "")
    )


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{html.escape(text)}</td>" for text in texts)


def _hazards(placement: Placement) -> str:
    rows = "".join(
        f'<tr data-row class="{"note" if h.is_note else "warn"}">'
        f"{_cells((h.code, h.op, str(h.location), h.text, h.remedy))}</tr>"
        for h in placement.hazards
    )
    head = "".join(f"<th>{n}</th>" for n in ("hazard", "op", "where", "why", "what to do"))
    return f"<table><tr>{head}</tr>{rows}</table>" if rows else ""


def _ops(placement: Placement) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    return f"<table><tr>{head}</tr>{''.join(_rows(placement.ops))}</table>"


def _rows(ops: Iterable[OpRecord]) -> Iterable[str]:
    """One row for ops of one kind, line and reason."""
    groups: dict[tuple[str, ...], list[OpRecord]] = collections.defaultdict(list)
    for op in ops:
        if op.reason.code != "constant":
            name = op.op.removeprefix("stablehlo.")
            key = (op.placement, name, op.result, str(op.location), op.reason.text)
            groups[(*key, op.reason.remedy, op.program or "")].append(op)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -_flops(item[1])))
    for (place, *texts), group in ordered:
        yield (
            f'<tr data-row class="{place}"><td>{place}</td><td class="n">{len(group)}</td>'
            f'<td class="n">{_flops(group):,}</td>{_cells(texts)}</tr>'
        )


def _flops(ops: Iterable[OpRecord]) -> int:
    return sum(op.flops for op in ops)


def _programs(placement: Placement) -> Iterable[str]:
    for program in placement.programs:
        title = (
            f"{program.name}: {program.op_count} MIL ops, {program.flops:,} FLOPs, called "
            f"{placement.calls[program.name]}x, from {program.location}; estimated "
            f"{program.estimate} on {placement.chip}"
        )
        yield (
            f'<details id="{program.name}"><summary>{html.escape(title)}</summary>'
            f"<pre>{html.escape(spills_text(program))}{html.escape(program.text)}</pre></details>"
        )
