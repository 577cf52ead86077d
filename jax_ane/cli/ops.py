# SPDX-License-Identifier: Apache-2.0
"""`jax-ane ops`: where JAX's operations run, and how far the engine's numbers can be trusted.

Without a flag, a row for each StableHLO operation that the compiler knows: what it is to the
compiler, its tolerance, the chips that have it, or why it stays on the host and what to do. With
`--numerics`, a row for each operation of the software ANE. `python -m jax_ane.cli.ops --write FILE`
rewrites that table in a Markdown file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

EXAMPLE = "example: jax-ane ops --json"

_BEGIN, _END = "<!-- begin: jax-ane ops --numerics -->", "<!-- end: jax-ane ops --numerics -->"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--numerics",
        action="store_true",
        help="the software ANE's operations, with the evidence and the bound of each",
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def _operations() -> list[dict[str, object]]:
    """Returns the software ANE's operations."""
    from jax_ane import mil

    keys = ("name", "numerics", "chips", "bound", "evidence")
    return [{key: getattr(op, key) for key in keys} for op in mil.operations()]


def _lowered() -> list[dict[str, object]]:
    """Returns the compiler's table: operations of the ANE first, then those of the host."""
    from jax_ane import _chips
    from jax_ane.compiler import optable

    rows: list[dict[str, object]] = []
    for row in optable.TABLE.values():
        on_ane = row.lowered and row.kind is not optable.Kind.HOST
        having = [n for n in _chips.names() if not row.needs or _chips.load(n)[row.needs]["value"]]
        rows.append(
            {
                "name": row.name.removeprefix("stablehlo."),
                "place": "ane" if on_ane else "host",
                "kind": row.kind.value,
                "tolerance": row.tolerance if on_ane else None,
                "chips": ("all" if not row.needs else " ".join(having)) if on_ane else "",
                "code": row.reason.code if row.reason else "",
                "why": row.reason.text if row.reason else "",
                "do": row.reason.remedy if row.reason else "",
            }
        )
    return sorted(rows, key=lambda row: (str(row["place"]), str(row["name"])))


def run(arguments: argparse.Namespace) -> int:
    """Prints a row for each operation."""
    rows = _operations() if arguments.numerics else _lowered()
    if arguments.json:
        print(json.dumps(rows))
        return 0
    cells = [list(rows[0]), *([_text(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    return 0


def markdown() -> str:
    """Returns the table of `jax-ane ops --numerics` in Markdown."""
    from jax_ane import mil

    lines = ["| operation | class | chips | bound | evidence |", "|---|---|---|---|---|"]
    for op in mil.operations():
        evidence = op.evidence.replace("|", "\\|")
        lines.append(
            f"| `{op.name}` | {op.numerics} | {op.chips} | {_text(op.bound)} | {evidence} |"
        )
    return "\n".join(lines)


def with_table(text: str) -> str:
    """Returns a Markdown page with the table between its two marks made anew.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"no table to write: the page lacks the marks {_BEGIN} and {_END}")
    return f"{before}{begin}\n{markdown()}\n{end}{after}"


def _text(value: object) -> str:
    return "" if value is None else f"{value:.1e}" if isinstance(value, float) else str(value)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m jax_ane.cli.ops", description=__doc__)
    parser.add_argument("--write", type=Path, required=True, metavar="FILE")
    path = parser.parse_args().write
    path.write_text(with_table(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
