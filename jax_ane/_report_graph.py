# SPDX-License-Identifier: Apache-2.0
"""Draws the parts of a compilation as SVG: one row a rank, ANE calls and host code as boxes."""

from __future__ import annotations

import collections
import html
from collections.abc import Iterable, Sequence

from jax_ane.compiler.dataflow import Part

_WIDTH, _HEIGHT = 190, 40
_GAP_X, _GAP_Y = 24, 44
_MARGIN = 16
_MOST_PARTS = 400  # a larger graph tells nobody anything


def draw(parts: Sequence[Part]) -> str:
    """Returns one SVG of all regions, below each other; text instead when there are too many."""
    if len(parts) > _MOST_PARTS:
        return f"<p>{len(parts)} parts: too many to draw. The table below has them all.</p>"
    places: dict[int, tuple[int, int]] = {}
    labels: list[str] = []
    top, width = _MARGIN, 0
    for region in dict.fromkeys(part.region for part in parts):
        labels.append(f'<text x="{_MARGIN}" y="{top}">{html.escape(region)}</text>')
        top += 12
        rows: dict[int, list[int]] = collections.defaultdict(list)
        for position, part in enumerate(parts):
            if part.region == region:
                rows[part.rank].append(position)
        for rank in sorted(rows):
            for column, position in enumerate(rows[rank]):
                places[position] = (_MARGIN + column * (_WIDTH + _GAP_X), top)
            width = max(width, len(rows[rank]) * (_WIDTH + _GAP_X))
            top += _HEIGHT + _GAP_Y
    body = "".join((*_edges(parts, places), *_boxes(parts, places), *labels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 2 * _MARGIN}" height="{top}" '
        f'role="img" aria-label="Programs and what flows between them">{body}</svg>'
    )


def _boxes(parts: Sequence[Part], places: dict[int, tuple[int, int]]) -> Iterable[str]:
    for position, part in enumerate(parts):
        x, y = places[position]
        work = f"{part.ops} ops, {_si(part.flops)}FLOP" if part.ops else ""
        title = html.escape(f"{part.name}: {work}" if work else part.name)
        box = (
            f'<g><title>{title}</title><rect class="{part.kind}" x="{x}" y="{y}" rx="5" '
            f'width="{_WIDTH}" height="{_HEIGHT}"/>'
            f'<text x="{x + 8}" y="{y + 16}">{html.escape(part.name)}</text>'
            f'<text x="{x + 8}" y="{y + 31}">{work}</text></g>'
        )
        yield f'<a href="#{part.name}">{box}</a>' if part.kind == "ane" else box


def _edges(parts: Sequence[Part], places: dict[int, tuple[int, int]]) -> Iterable[str]:
    for target, part in enumerate(parts):
        for source, count in part.sources.items():
            (x0, y0), (x1, y1) = places[source], places[target]
            x0, x1, y0 = x0 + _WIDTH // 2, x1 + _WIDTH // 2, y0 + _HEIGHT
            # What passes other rows by swings out to the side of their boxes.
            skipped = part.rank - parts[source].rank - 1
            swing = (_WIDTH * 3 // 4 if skipped else 0) if x0 == x1 else 0
            middle = (y0 + y1) // 2
            yield (
                f"<g><title>{_si(count)}B</title>"
                f'<path d="M{x0} {y0}C{x0 + swing} {middle} {x1 + swing} {middle} {x1} {y1}"/></g>'
            )


def _si(count: float) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if count < 1000:
            return f"{count:.3g} {prefix}"
        count /= 1000
    return f"{count:.3g} P"
