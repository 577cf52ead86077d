# SPDX-License-Identifier: Apache-2.0
"""Keeps Python's cycle collector off while a program is compiled.

A compilation makes some hundred thousand records that all live until it ends. The collector walks
them, and everything else that the process holds, again and again and finds nothing: a sixth of the
compiler's time on GPT-2's training step.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_holders = 0  # compilations that are running, on any thread
_was_enabled = False


@contextmanager
def paused() -> Iterator[None]:
    """Leaves the collector as it was once the last of overlapping holders is done."""
    global _holders, _was_enabled
    with _lock:
        if _holders == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _was_enabled:
                gc.enable()
