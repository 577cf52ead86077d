# SPDX-License-Identifier: Apache-2.0
"""The flags of jax-ane, declared once.

Each flag has one row in `FLAGS`; the environment variables, `update`, the context manager, the
command line's listing and the docs are computed from it. Precedence: context manager, `update`,
environment (`JAX_ANE_<NAME>`), default. A `start` flag is read when JAX creates the client and
raises when it is changed afterwards; a `compile` flag is read at each compilation, and a
change of it recompiles what JAX has compiled already.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import difflib
import json
import os
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jax_ane._errors import AneWarning

_TRUE = {"y", "yes", "t", "true", "on", "1"}
_FALSE = {"n", "no", "f", "false", "off", "0"}
_NOTHING: Mapping[str, Any] = types.MappingProxyType({})
# Variables with our prefix that are read elsewhere: by the notebooks.
_NOT_FLAGS = {"JAX_ANE_DEMO_EPOCHS", "JAX_ANE_DEMO_STEPS"}
_CHIPS = tuple(sorted(p.stem for p in (Path(__file__).parent / "chips").glob("*.json")))


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag: its name, type, default, choices, what it does and when it is read."""

    name: str
    type: type
    default: Any
    help: str
    read: str = "compile"
    choices: tuple[str, ...] = ()
    minimum: int = 0  # of a whole number

    @property
    def env(self) -> str:
        return f"JAX_ANE_{self.name.upper()}"

    def values_text(self) -> str:
        """Returns the values a user may give, the default first, in Markdown."""
        if self.choices:
            rest = [c for c in self.choices if c != self.default]
            return ", ".join(f"`{choice}`" for choice in (self.default, *rest))
        if self.type is bool:
            return "`true`, `false`" if self.default else "`false`, `true`"
        return (
            f"`{self.default}`, a whole number from {self.minimum}"
            if self.type is int
            else f"`{self.default}`, any text"
            if self.default
            else "empty, any text"
        )

    def parse(self, value: Any, source: str) -> Any:
        """Returns `value` as this flag's type, or raises with the name of its source."""
        if self.type is bool:
            parsed = value if isinstance(value, bool) else _parse_bool(value, source)
        elif self.type is int:
            parsed = _parse_int(value, source, self.minimum)
        else:
            parsed = str(value)
        if self.choices and parsed not in self.choices:
            raise ValueError(
                f"{source}={value!r} is not one of the choices: {', '.join(self.choices)}"
            )
        return parsed


def _parse_bool(value: Any, source: str) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{source}={value!r} is not a truth value: use true or false")


def _parse_int(value: Any, source: str, minimum: int) -> int:
    try:
        parsed = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{source}={value!r} is not a whole number") from None
    if parsed < minimum:
        raise ValueError(f"{source}={value!r} is too small: use {minimum} or more")
    return parsed


_ROWS = (
    Flag("device", str, "auto", "which engine runs programs; `apple` is an error in this version",
         "start", ("auto", "software", "apple")),
    Flag("numerics", str, "exact", "exact: the chip's bits; fast: fp16 storage with float32 sums",
         "compile", ("exact", "fast")),
    Flag("chip", str, "M4", "whose limits and quirks to follow", "compile", _CHIPS),
    Flag("num_devices", int, 1, "software engines to show as devices", "start", minimum=1),
    Flag("placement", str, "auto", "auto: where it pays; ane: everything legal; host: nothing",
         "compile", ("auto", "ane", "host")),
    Flag("weights", str, "inputs", "inputs: run-time operands, one program for all values; baked: "
         "constants, loaded anew where they change", "compile", ("inputs", "baked")),
    Flag("strict", str, "off", "what an op refused by the ANE that was asked to run there, or an "
         "fp16 hazard, does at compilation", "compile", ("off", "warn", "error")),
    Flag("cache_dir", str, "auto", "folder of compiled programs for later processes; `auto`: the "
         "user's cache folder; `off` or empty: none"),
    Flag("cache_max_bytes", int, 4 << 30, "bytes that the folder may hold; the entry used longest "
         "ago goes first"),
    Flag("dump_dir", str, "", "folder for each compilation's StableHLO, MIL, blobs and report"),
    Flag("validate_ir", bool, False, "verify the MIL IR after every pass"),
    Flag("disable_passes", str, "", "comma-separated names of passes to leave out"),
    Flag("isa", str, "auto", "instruction set of the software ANE's kernels", "start",
         ("auto", "scalar", "avx2", "avx512", "amx", "neon")),
    Flag("threads", int, 0, "threads of the software ANE; 0 means one a core", "start"),
    Flag("faults", str, "", "for tests: device calls that fail, are late or answer garbage",
         "start"),
    Flag("log_level", str, "error", "what goes to the logger `jax_ane`", "start",
         ("error", "warn", "info", "debug")),
)  # fmt: skip
FLAGS: dict[str, Flag] = {flag.name: flag for flag in _ROWS}
if len(FLAGS) != len(_ROWS):
    raise RuntimeError("two flags have the same name")


def flags_table() -> str:
    """Returns the flags as a Markdown table; the README's table is this text."""
    lines = ["| flag | values (default first) | read at | meaning |", "|---|---|---|---|"]
    for flag in _ROWS:
        lines.append(f"| `{flag.name}` | {flag.values_text()} | {flag.read} | {flag.help} |")
    return "\n".join(lines)


class Config:
    """The flags' values. `jax_ane.config` is the one instance.

    Example:
        >>> import jax_ane
        >>> with jax_ane.config(numerics="fast"):
        ...     jax_ane.config.numerics
        'fast'
        >>> jax_ane.config.numerics
        'exact'
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._updates: dict[str, Any] = {}
        self._local: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar(
            "jax_ane_config", default=_NOTHING
        )
        self._started: dict[str, Any] | None = None
        self._jax_context: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in FLAGS:
            raise AttributeError(_unknown(name))
        return self.get(name)

    def get(self, name: str) -> Any:
        """Returns the value in force of flag `name`."""
        flag = _flag(name)
        for values in (self._started or {}, self._local.get(), self._updates):
            if name in values:
                return values[name]
        if flag.env in self._environ:
            return flag.parse(self._environ[flag.env], flag.env)
        return flag.default

    def update(self, name: str, value: Any) -> None:
        """Sets flag `name` for the process.

        Raises:
            ValueError: unknown value.
            AttributeError: unknown flag.
            RuntimeError: a `start` flag after the client exists.
        """
        parsed = _flag(name).parse(value, name)
        self._check_started(name, parsed)
        self._updates[name] = parsed
        self._tell_jax()

    @contextlib.contextmanager
    def __call__(self, **values: Any) -> Iterator[None]:
        parsed = {name: _flag(name).parse(value, name) for name, value in values.items()}
        for name, value in parsed.items():
            self._check_started(name, value)
        token = self._local.set({**self._local.get(), **parsed})
        try:
            with self._jax_scope():
                yield
        finally:
            self._local.reset(token)

    def local_flags(self) -> str:
        """Returns the compile flags of this thread's `with` blocks as JSON; "" for none."""
        chosen = {n: v for n, v in self._local.get().items() if FLAGS[n].read == "compile"}
        return json.dumps(chosen) if chosen else ""

    def attach(self, jax_context: Any) -> None:
        """Makes the compile flags part of the key of JAX's caches.

        Args:
            jax_context: what `jax.make_user_context(None)` returned. A program compiled under other
                flags is then traced and compiled anew instead of being taken from a cache.
        """
        self._jax_context = jax_context
        self._tell_jax()

    def _jax_key(self, values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...] | None:
        """Returns what JAX's caches must tell apart; None when nothing was set in this process."""
        chosen = [(n, v) for n, v in sorted(values.items()) if FLAGS[n].read == "compile"]
        return tuple(chosen) or None

    def _tell_jax(self) -> None:
        if self._jax_context is not None:
            self._jax_context.set_global(self._jax_key(self._updates))

    def _jax_scope(self) -> contextlib.AbstractContextManager[Any]:
        if self._jax_context is None:
            return contextlib.nullcontext()
        return self._jax_context(self._jax_key({**self._updates, **self._local.get()}))

    def values(self) -> dict[str, Any]:
        """Returns every flag's value in force."""
        return {name: self.get(name) for name in FLAGS}

    def off_default(self) -> dict[str, Any]:
        """Returns the flags whose value is not the default."""
        return {name: v for name, v in self.values().items() if v != FLAGS[name].default}

    def validate(self) -> None:
        """Reads every flag, so that a wrong environment variable is an error that names it."""
        self.values()
        known = {flag.env for flag in FLAGS.values()} | _NOT_FLAGS
        for name in self._environ:
            if name.startswith("JAX_ANE_") and name not in known:
                near = difflib.get_close_matches(name.removeprefix("JAX_ANE_").lower(), FLAGS, 1)
                hint = f"; did you mean {FLAGS[near[0]].env}?" if near else ""
                warnings.warn(
                    f"unknown environment variable {name}{hint}", AneWarning, stacklevel=2
                )

    def mark_started(self) -> None:
        """Freezes the `start` flags at the values in force now: the engine has read them."""
        if self._started is None:
            self._started = {n: self.get(n) for n, f in FLAGS.items() if f.read == "start"}

    def _check_started(self, name: str, value: Any) -> None:
        if self._started is not None and name in self._started and self._started[name] != value:
            raise RuntimeError(
                f"flag {name!r} is read once, when the engine starts, and it has started with "
                f"{self._started[name]!r}; set the flag (or {FLAGS[name].env}) before the first "
                "use of JAX"
            )


def _flag(name: str) -> Flag:
    if name not in FLAGS:
        raise AttributeError(_unknown(name))
    return FLAGS[name]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, FLAGS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"jax_ane has no flag {name!r}{hint}"


config = Config()
