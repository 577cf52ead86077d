# SPDX-License-Identifier: Apache-2.0
"""The entry point `jax_plugins: ane`: registers the device with JAX.

JAX calls `initialize` at its first backend use in every process where jax-ane is installed, so it
is cheap, may run twice, and never raises. What went wrong is kept in `findings` for `doctor` and
said by `jax.devices("ane")`; the rest of JAX keeps working.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import re
from pathlib import Path
from typing import Any

logger = logging.getLogger("jax_ane")

# What kept the device, or a part of it, from being registered, in plain words.
findings: list[str] = []

_DEFAULT_RANGE = ">=0.10.2,<0.13"


def initialize() -> None:
    """Registers the platform `ane`, below the CPU, so that nothing changes until asked for."""
    try:
        _register()
    except Exception as error:
        _report(f"the ane device could not be registered: {type(error).__name__}: {error}")


def _register() -> None:
    from jax_ane import _jax_internals as internals

    if internals.is_registered():
        return
    set_log_level()
    problem = version_problem()
    path = library_path()
    if problem is None and path is None:
        problem = (
            "jax-ane's native library (jax_ane/_native) is not installed for this Python; "
            "install the wheel again or build the source tree"
        )
    if problem is None:
        try:
            internals.register_plugin(str(path), client_options)
        except Exception as error:
            problem = f"jax-ane's native library {path} does not load: {error}"
    if problem is not None:
        _report(problem)
        if not internals.is_registered():
            internals.register_failing_backend(problem)
        return
    internals.adapt_lowering()
    _attach_config()
    for finding in internals.findings:
        _report(finding)


def _attach_config() -> None:
    """Lets a change of a compile flag recompile what is compiled already."""
    import jax

    from jax_ane import _jax_internals as internals
    from jax_ane._config import config

    config.attach(jax.make_user_context(None))
    internals.carry_flags(config.local_flags)
    internals.use_persistent_cache(_cache_key_part)


def _cache_key_part() -> str | None:
    """Returns what a compiled program depends on beside its own text and JAX's options."""
    from jax_ane import _stored
    from jax_ane.compiler.settings import Settings

    settings = Settings.current()
    return None if settings.is_watched else f"{settings} {_stored.environment()}"


def _report(finding: str) -> None:
    if finding not in findings:
        findings.append(finding)
        logger.error("%s", finding)


def set_log_level() -> None:
    """Gives the logger `jax_ane` its level, and a way to stderr for what Python would not show."""
    from jax_ane._config import config

    try:
        level = config.log_level
    except ValueError:  # `client_options` says so to those who ask for the device
        return
    logger.setLevel({"warn": logging.WARNING}.get(level) or level.upper())
    if level in ("info", "debug") and not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())


def library_path() -> Path | None:
    """Returns where the native library lies, without loading it."""
    spec = importlib.util.find_spec("jax_ane._native")
    return Path(spec.origin) if spec is not None and spec.origin else None


def client_options() -> dict[str, str | int]:
    """Returns the options of the PJRT client; JAX asks when it creates the client.

    Raises:
        ValueError: a `JAX_ANE_*` variable has a wrong value; JAX then reports it for `ane` only.
        RuntimeError: the engine that the flag `device` asks for is not there.
    """
    from jax_ane import __version__, _engine
    from jax_ane._config import config

    config.validate()
    _engine.check_device()
    _engine.set_faults()
    config.mark_started()
    return {
        "device_kind": _engine.device_kind(),
        "version": __version__,
        "num_devices": config.num_devices,
    }


def version_problem() -> str | None:
    """Returns why this jax does not fit, or None."""
    wanted = _required_range()
    for package in ("jax", "jaxlib"):
        version = importlib.metadata.version(package)
        if not _in_range(version, wanted):
            return f"{package} {version} is installed and jax-ane needs {package}{wanted}"
    return None


def _required_range() -> str:
    try:
        requirements = importlib.metadata.requires("jax-ane") or []
    except importlib.metadata.PackageNotFoundError:
        return _DEFAULT_RANGE
    for requirement in requirements:
        match = re.fullmatch(r"jax\s*\(?([<>=!~0-9.,\s]+)\)?", requirement.split(";")[0].strip())
        if match:
            return match[1].replace(" ", "")
    return _DEFAULT_RANGE


def _in_range(version: str, wanted: str) -> bool:
    have = _numbers(version)
    for clause in wanted.split(","):
        operator, bound = clause[:2].rstrip("0123456789."), _numbers(clause.lstrip("<>=!~"))
        if operator == ">=" and have < bound:
            return False
        if operator == "<" and have >= bound:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[+a-z]", version)[0]))


def status() -> dict[str, Any]:
    """Returns the findings and the library's place, for `doctor` and `info`."""
    return {"findings": list(findings), "library": str(library_path() or "")}
