# SPDX-License-Identifier: Apache-2.0
"""Lists every published figure next to ours: `python tests/numerics/report.py [--slow] [--only X]`.

Exits with 1 when a figure that ought to be reproduced is missed: bit-exact ones beyond 1e-12
relative (or the digits that were published), bounded ones beyond their bound.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from figures import Figure, figures


def difference(published: float, ours: float) -> float:
    """The relative difference; absolute where nothing but zero was published."""
    if published == ours:
        return 0.0
    if not math.isfinite(published) or not math.isfinite(ours):
        return math.inf
    return abs(ours - published) / (abs(published) or 1.0)


def judge(figure: Figure, off: float) -> str:
    """ "ok", "MISS", or "open" for figures that are known not to follow from the rules."""
    if off <= figure.tolerance:
        return "ok"
    return "open" if figure.kind == "open" else "MISS"


def main(argv: list[str] | None = None) -> int:
    """Prints the report; returns 1 after a miss."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--slow", action="store_true", help="with the figures that take long")
    parser.add_argument("--only", default="", help="figures whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    rows, skipped = [], 0
    head = f"{'figure':44} {'published':>22} {'ours':>22} {'difference':>10}  class, verdict"
    if not options.json:
        print(head)
    for figure in figures():
        if options.only not in figure.name:
            continue
        if figure.slow and not options.slow:
            skipped += 1
            continue
        ours = figure.ours()
        off = difference(figure.published, ours)
        verdict = judge(figure, off)
        rows.append((figure.name, figure.published, ours, off, figure.kind, verdict))
        if not options.json:
            numbers = f"{figure.published:22.16g} {ours:22.16g} {off:10.2e}"
            print(f"{figure.name:44} {numbers}  {figure.kind}, {verdict}", flush=True)
    misses = [row[0] for row in rows if row[5] == "MISS"]
    if options.json:
        names = ("name", "published", "ours", "difference", "class", "verdict")
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
    else:
        print(f"{len(rows)} figures, {len(misses)} missed, {skipped} slow ones left out")
    return int(bool(misses))


if __name__ == "__main__":
    sys.exit(main())
