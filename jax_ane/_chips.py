# SPDX-License-Identifier: Apache-2.0
"""The chip files: limits, rates and quirks of each chip, with the source of every number."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "chips"


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Returns a chip's file: `name`, `family`, and {"value": ..., "source": ...} by fact.

    Raises:
        ValueError: no such chip file.
    """
    path = _FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.json")))
        raise ValueError(f"no chip {name!r}: there are {known}")
    return json.loads(path.read_text())
