# SPDX-License-Identifier: Apache-2.0
"""The chip files: limits, rates and quirks of each chip, with the source of every number."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "chips"


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of all chips, oldest first."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Returns a chip's file: `name`, `family`, and {"value": ..., "source": ...} by fact.

    Raises:
        ValueError: no such chip file.
    """
    path = _FOLDER / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"no chip {name!r}: there are {', '.join(names())}")
    return json.loads(path.read_text())
