# SPDX-License-Identifier: Apache-2.0
"""What compiling made, as bytes that another process can load instead of compiling again.

A stored program is a JSON header and binary fields: XLA:CPU's executable where that can be
serialised, else the host module that it is compiled from, and each ANE program's MIL and blobs.
It fits only a process with the same `environment()`: versions, build and CPU.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import platform
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_ane.compiler import loading

FORMAT = 1
_LENGTH = struct.Struct("<Q")


class Misfit(ValueError):
    """The bytes are no stored program, or one for another version, build or machine."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A compiled program without its process.

    Attributes:
        facts: what the host executable tells, JSON-ready (see `_host`).
        host_executable: XLA:CPU's own serialised form; None where it has none.
        host_module: StableHLO that XLA:CPU compiles, with a custom call per ANE program.
        text: what `compiled.as_text()` shows, compressed.
        images: the ANE programs.
    """

    facts: dict[str, Any]
    host_executable: bytes | None
    host_module: bytes
    text: bytes
    images: tuple[loading.Image, ...]


@functools.cache
def environment() -> dict[str, str]:
    """Returns what a stored program depends on beside its own bytes."""
    return {
        "jax-ane": importlib.metadata.version("jax-ane"),
        "jaxlib": importlib.metadata.version("jaxlib"),
        "build": _build(),
        "machine": f"{sys.platform} {platform.machine()}",
        "cpu": _cpu(),
    }


def _build() -> str:
    """Returns a hash of this package: a developer's compiler changes within a version."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.json"), *root.glob("_native*.so")]):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def _cpu() -> str:
    """Returns what XLA:CPU's machine code may rely on: the instructions of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    found = {line.split(":")[0].strip(): line for line in lines if line.startswith(wanted)}
    return hashlib.sha256("\n".join(sorted(found.values())).encode()).hexdigest()[:32]


def pack(stored: Stored) -> bytes:
    """Returns the bytes of a stored program."""
    fields = [stored.host_executable or b"", stored.host_module, stored.text]
    programs = []
    for image in stored.images:
        row = {k: v for k, v in vars(image).items() if k not in ("text", "blobs")}
        programs.append(row | {"blobs": list(image.blobs)})
        fields += [image.text.encode(), *image.blobs.values()]
    header = {
        "format": FORMAT,
        "environment": environment(),
        "facts": stored.facts,
        "has_executable": stored.host_executable is not None,
        "programs": programs,
    }
    return b"".join(
        piece
        for field in (json.dumps(header).encode(), *fields)
        for piece in (_LENGTH.pack(len(field)), field)
    )


def unpack(data: bytes) -> Stored:
    """Returns the stored program in `data`.

    Raises:
        Misfit: it is not one, or not one for this process; the text says which.
    """
    fields = _split(data)
    try:
        header = json.loads(fields[0])
        _check_environment(header)
        return _assemble(header, fields[1:])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, Misfit):
            raise
        raise Misfit(f"it cannot be read: {type(error).__name__}: {error}") from error


def _split(data: bytes) -> list[bytes]:
    fields, at = [], 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise Misfit("it is cut short")
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if size > len(data) - at:
            raise Misfit("it is cut short")
        fields.append(data[at : at + size])
        at += size
    if not fields:
        raise Misfit("it is empty")
    return fields


def _check_environment(header: Any) -> None:
    if header["format"] != FORMAT:
        raise Misfit(f"it has format {header['format']} and this is {FORMAT}")
    for name, here in environment().items():
        there = header["environment"].get(name)
        if there != here:
            raise Misfit(f"it was made with {name} {there} and this is {here}")


def _assemble(header: dict[str, Any], fields: Sequence[bytes]) -> Stored:
    rest = iter(fields)

    def take() -> bytes:
        field = next(rest, None)
        if field is None:
            raise Misfit("it has too few fields")
        return field

    executable, module, text = take(), take(), take()
    images = []
    for row in header["programs"]:
        mil = take().decode()
        blobs = {str(path): take() for path in row["blobs"]}
        plain = {k: _tuples(v) for k, v in row.items()}
        images.append(loading.Image(**{**plain, "text": mil, "blobs": blobs}))
    if next(rest, None) is not None:
        raise Misfit("it has too many fields")
    chosen = executable if header["has_executable"] else None
    return Stored(header["facts"], chosen, module, text, tuple(images))


def _tuples(value: Any) -> Any:
    """Returns JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def compress(text: str) -> bytes:
    """Returns a text as `Stored.text` holds it."""
    return zlib.compress(text.encode(), 1)


def decompress(data: bytes) -> str:
    """Returns the text in `Stored.text`."""
    return zlib.decompress(data).decode()
