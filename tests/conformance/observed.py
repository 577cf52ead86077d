# SPDX-License-Identifier: Apache-2.0
"""Cases that take the device and return observations, the same on `ane` as on `cpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from .case import Family

Observe = Callable[[jax.Device], Any]


def adder(family: Family) -> Callable[[Observe], Observe]:
    """Returns a decorator that adds a function to a family, under its own name."""

    def case(fn: Observe) -> Observe:
        family.add(fn.__name__, fn)
        return fn

    return case


def raised(fn: Callable[[], Any], *, whole: bool = True) -> str:
    """Returns what a call raises: the type, and the message's first line if `whole`."""
    try:
        jax.block_until_ready(fn())
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {text[0]}" if whole else type(error).__name__
    return "nothing"
