# SPDX-License-Identifier: Apache-2.0
"""Process-wide counters of compile-time events; the native library counts run-time ones."""

from __future__ import annotations

import collections
import threading

_lock = threading.Lock()
_counts: collections.Counter[str] = collections.Counter()
_fallbacks: collections.Counter[str] = collections.Counter()


def add(name: str, amount: int = 1) -> None:
    """Adds to a counter."""
    with _lock:
        _counts[name] += amount


def add_fallback(code: str, amount: int = 1) -> None:
    """Counts ops that stay on the host, by reason code."""
    with _lock:
        _fallbacks[code] += amount


def snapshot() -> tuple[dict[str, int], dict[str, int]]:
    """Returns (counters, host fallbacks by reason code)."""
    with _lock:
        return dict(_counts), dict(_fallbacks)


def reset() -> None:
    """Sets every counter to zero."""
    with _lock:
        _counts.clear()
        _fallbacks.clear()
