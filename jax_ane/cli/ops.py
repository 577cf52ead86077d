# SPDX-License-Identifier: Apache-2.0
"""`jax-ane ops`: the operations of the software ANE, and how far their numbers can be trusted.

`python -m jax_ane.cli.ops --write FILE` rewrites the table in a Markdown file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

EXAMPLE = "example: jax-ane ops --numerics --json"

_BEGIN, _END = "<!-- begin: jax-ane ops --numerics -->", "<!-- end: jax-ane ops --numerics -->"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--numerics", action="store_true", help="with the evidence and the bound of each operation"
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints a row for each operation."""
    from jax_ane import mil

    table = mil.operations()
    keys = ("name", "numerics", "chips", "bound", "evidence")
    rows = [{key: getattr(op, key) for key in keys[: None if arguments.numerics else 2]}
            for op in table]  # fmt: skip
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
