# SPDX-License-Identifier: Apache-2.0
"""Tells the software ANE the flags `threads`, `isa` and `faults`, before its first program."""

from __future__ import annotations

import functools
import platform
import sys


@functools.cache
def configure() -> None:
    """Hands the start flags to the native library; later calls do nothing.

    Raises:
        ImportError: the native library does not load.
        ValueError: a flag has a wrong value, or names instructions that this machine has not.
    """
    from jax_ane import _native
    from jax_ane._config import FLAGS, config

    config.mark_started()
    try:
        _native.configure(config.get("threads"), config.get("isa"))
    except ValueError as error:
        raise ValueError(f"{error} ({FLAGS['isa'].env}, {FLAGS['threads'].env})") from None


def set_faults() -> None:
    """Hands the flag `faults` to the native library, which reads the plan.

    Raises:
        ValueError: the plan is not written in the grammar, which the text tells.
    """
    from jax_ane._config import FLAGS, config

    if not config.faults:
        return
    from jax_ane import _native

    try:
        _native.set_faults(config.faults)
    except ValueError as error:
        raise ValueError(f"{FLAGS['faults'].env}={config.faults!r}: {error}") from None


def device_kind() -> str:
    """Returns the device's kind: which engine and which chip, never ambiguous."""
    from jax_ane._config import config

    return f"Software ANE ({config.chip})"


def why_software() -> str:
    """Returns why the software model runs and not the hardware."""
    from jax_ane._config import config

    if config.device == "software":
        return "device=software asks for it"
    return why_not_apple()


def why_not_apple() -> str:
    """Returns what keeps this version from the hardware on this machine."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "the bridge to the hardware is not part of this version"
    return "the hardware needs macOS on Apple silicon"


def check_device() -> None:
    """Raises when the flag `device` asks for an engine that is not there.

    Raises:
        RuntimeError: `device=apple`.
    """
    from jax_ane._config import FLAGS, config

    if config.device == "apple":
        raise RuntimeError(
            f"{FLAGS['device'].env}=apple asks for the Neural Engine itself, and "
            f"{why_not_apple()}; use auto or software"
        )
