# SPDX-License-Identifier: Apache-2.0
"""Answers about the installation and the process: `info`, `stats`, `doctor`."""

from __future__ import annotations

import dataclasses
import html
import importlib.metadata
import os
import platform
import sys
from typing import Any, Literal

from jax_ane import _cache, _counters, _engine


@dataclasses.dataclass(frozen=True)
class Info:
    """What is installed and in use. `repr` and notebooks show a table."""

    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Returns the values by name."""
        return dict(self.values)

    def __repr__(self) -> str:
        width = max(map(len, self.values))
        return "\n".join(f"{name:{width}}  {value}" for name, value in self.values.items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"
            for name, value in self.values.items()
        )
        return f"<table>{rows}</table>"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that `doctor` noticed.

    Attributes:
        level: "ok", "warning" or "fatal".
        text: what was found.
        fix: what to do about it; empty when there is nothing to do.
    """

    level: Literal["ok", "warning", "fatal"]
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"[{self.level}] {self.text}" + (f"\n    do: {self.fix}" if self.fix else "")


@dataclasses.dataclass(frozen=True)
class Stats:
    """Counters of this process since its start or the last `reset_stats()`.

    Attributes:
        programs_compiled: ANE programs compiled by the device.
        program_cache_hits: programs found loaded already.
        compilations: JAX programs that went through the compiler.
        weight_donations: programs loaded with new weights, without being compiled.
        cache_hits: JAX programs loaded from the folder that the flag `cache_dir` names.
        cache_misses: those compiled and written there; small ones are not, and not counted.
        cache_dropped: entries found damaged, or made by another version, and removed.
        cache_failures: reads and writes of the folder that failed; they cost a compilation each.
        stored_rejected: serialised programs that did not fit this process and were compiled again.
        evaluations: calls of ANE programs.
        bytes_in, bytes_out: bytes written to and read from surfaces.
        host_fallbacks: ops kept on the host, by reason code.
        programs: one dict a loaded program: name, evaluations, loads, bytes, milliseconds; memory
            of its weights, its arena (beside the least that its schedule allows) and its surfaces.
        devices: one dict a device since the start: compiles and loads, programs and weights loaded
            with the chip's limits, and for each engine its evaluations, its power state and what
            waking it up is predicted to cost.
    """

    programs_compiled: int
    program_cache_hits: int
    compilations: int
    weight_donations: int
    cache_hits: int
    cache_misses: int
    cache_dropped: int
    cache_failures: int
    stored_rejected: int
    evaluations: int
    bytes_in: int
    bytes_out: int
    host_fallbacks: dict[str, int]
    programs: list[dict[str, Any]]
    devices: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Returns the counters by name."""
        return dataclasses.asdict(self)


_CONSTANT = "constant"  # copied to wherever it is used, so not a fallback
_baseline: dict[str, dict[str, Any]] = {}


def stats() -> Stats:
    """Returns the counters of this process.

    Example:
        >>> import jax_ane
        >>> jax_ane.stats().programs_compiled >= 0
        True
    """
    counts, fallbacks = _counters.snapshot()
    rows = [_since_reset(row) for row in _program_stats()]
    return Stats(
        programs_compiled=counts.get("programs_compiled", 0),
        program_cache_hits=counts.get("program_cache_hits", 0),
        compilations=counts.get("compilations", 0),
        weight_donations=sum(row["donations"] for row in rows),
        cache_hits=counts.get("cache_hits", 0),
        cache_misses=counts.get("cache_misses", 0),
        cache_dropped=counts.get("cache_dropped", 0),
        cache_failures=counts.get("cache_failures", 0),
        stored_rejected=counts.get("stored_rejected", 0),
        evaluations=sum(row["evaluations"] for row in rows),
        bytes_in=sum(row["bytes_in"] for row in rows),
        bytes_out=sum(row["bytes_out"] for row in rows),
        host_fallbacks={code: n for code, n in fallbacks.items() if code != _CONSTANT},
        programs=[row for row in rows if row["loaded"]],
        devices=_native_rows("device_stats"),
    )


def reset_stats() -> None:
    """Sets every counter of `stats()` to zero."""
    _counters.reset()
    _baseline.clear()
    _baseline.update({row["name"]: row for row in _program_stats()})


_CUMULATIVE = ("evaluations", "loads", "donations", "bytes_in", "bytes_out", "milliseconds")


def _program_stats() -> list[dict[str, Any]]:
    return _native_rows("program_stats")


def _native_rows(function: str) -> list[dict[str, Any]]:
    """Returns what the native library tells, or nothing while nobody has loaded it."""
    if "jax_ane._native" not in sys.modules:
        return []
    from jax_ane import _native

    return getattr(_native, function)()


def _since_reset(row: dict[str, Any]) -> dict[str, Any]:
    before = _baseline.get(row["name"], {})
    return {k: v - before.get(k, 0) if k in _CUMULATIVE else v for k, v in row.items()}


def info() -> Info:
    """Returns versions, engine, chip, memory, cache, instruction set and flags off their default.

    Example:
        >>> import jax_ane
        >>> jax_ane.info().to_dict()["engine"]
        'Software ANE (M4)'
    """
    from jax_ane import __version__
    from jax_ane._config import config

    values: dict[str, Any] = {
        "jax-ane": __version__,
        "jax": _version("jax"),
        "jaxlib": _version("jaxlib"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "engine": _engine.device_kind(),
        "engine_why": _engine.why_software(),
        "chip": config.chip,
        "numerics": config.numerics,
    }
    try:
        _engine.configure()
        from jax_ane import _native

        values["isa"] = _native.isa()
        used, idle = _native.pool_bytes()
    except (ImportError, ValueError) as error:
        values["isa"] = f"native library not usable: {error}"
        used = idle = 0
    rows = [row for row in _program_stats() if row["loaded"]]
    values["program_cache"] = f"in memory, {len(rows)} programs loaded"
    values["disk_cache"] = _disk_cache(config.cache_dir, config.cache_max_bytes)
    values["program_memory"] = ", ".join(
        f"{part} {sum(row[f'{key}_bytes'] for row in rows) / 2**20:.1f} MiB"
        for part, key in (("weights", "weight"), ("arenas", "arena"), ("surfaces", "surface"))
    )
    values["memory_pool"] = f"{used / 2**20:.1f} MiB in use, {idle / 2**20:.1f} MiB idle"
    values["flags_off_default"] = config.off_default()
    return Info(values)


def _disk_cache(cache_dir: str, max_bytes: int) -> str:
    folder = _cache.folder(cache_dir)
    if folder is None:
        return "off"
    entries = _cache.Cache(folder, max_bytes).entries()
    used = sum(entry.size_bytes for entry in entries) / 2**20
    counts, _ = _counters.snapshot()
    hits, misses = counts.get("cache_hits", 0), counts.get("cache_misses", 0)
    return (
        f"{folder}: {len(entries)} program(s), {used:.1f} MiB of {max_bytes / 2**20:.0f} MiB, "
        f"{hits} hit(s) and {misses} miss(es) in this process"
    )


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return "unknown"
    return f"{total / 2**30:.1f} GiB"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def doctor() -> list[Finding]:
    """Examines the installation and returns findings, worst first.

    Example:
        >>> import jax_ane
        >>> [f.text for f in jax_ane.doctor() if f.level == "fatal"]
        []
    """
    findings = [*_check_flags(), *_check_jax_range(), *_check_library()]
    if not any(f.level == "fatal" for f in findings):
        findings += _check_device()
    order = {"fatal": 0, "warning": 1, "ok": 2}
    return sorted(findings, key=lambda finding: order[finding.level])


def _check_flags() -> list[Finding]:
    import warnings

    from jax_ane._config import config

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            config.validate()
        except ValueError as error:
            return [Finding("fatal", str(error), "set it to one of the choices, or unset it")]
    if caught:
        return [Finding("warning", str(w.message), "correct the name or unset it") for w in caught]
    off = config.off_default()
    return [Finding("ok", f"flags: {off or 'all at their default'}")]


def _check_jax_range() -> list[Finding]:
    from jax_ane import _jax_internals, _plugin

    findings = []
    problem = _plugin.version_problem()
    if problem:
        findings.append(Finding("fatal", problem, "pip install a jax in that range"))
    else:
        findings.append(Finding("ok", f"jax {_version('jax')} is in the supported range"))
    for name in _jax_internals.missing():
        findings.append(
            Finding("warning", f"a private name of JAX is gone: {name}",
                    "use a jax in the supported range, or accept that the feature is off")
        )  # fmt: skip
    return findings


def _check_library() -> list[Finding]:
    try:
        from jax_ane import _native
    except ImportError as error:
        fix = "reinstall: pip install --force-reinstall --no-cache-dir jax-ane"
        return [Finding("fatal", f"the native library does not load: {error}", fix)]
    try:
        _engine.configure()
    except ValueError as error:
        return [Finding("fatal", str(error), "use auto, or unset the variable")]
    return [Finding("ok", f"native library loaded, kernels: {_native.isa()}")]


def _check_device() -> list[Finding]:
    import jax

    from jax_ane import _plugin

    try:
        device = jax.devices("ane")[0]
    except RuntimeError as error:
        noted = "; ".join(_plugin.findings)
        about = "a flag has a wrong value: correct it, or unset the variable"
        if "JAX_ANE_" not in str(error):
            about = "reinstall jax-ane so that JAX finds its entry point"
        text = f"JAX has no ane device: {error}" + (f" ({noted})" if noted else "")
        return [Finding("fatal", text, about)]
    import numpy as np

    with jax.default_device(device):
        product = jax.numpy.dot(np.full((4, 8), 0.5, np.float32), np.ones((8, 4), np.float32))
    if not np.array_equal(np.asarray(product), np.full((4, 4), 4.0, np.float32)):
        return [Finding("fatal", "the self-test's product is wrong", "report this as a bug")]
    return [
        Finding("ok", f"{device.device_kind} computes; {_engine.why_software()}"),
        Finding("ok", f"JAX's default backend stays {jax.default_backend()}"),
    ]
