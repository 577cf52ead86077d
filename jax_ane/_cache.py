# SPDX-License-Identifier: Apache-2.0
"""The folder of compiled programs that processes share, bounded and safe with many at once.

An entry is one file, named by a hash of all that the program depends on: magic, the SHA-256 of the
rest, and the bytes. It appears under its name only when it is whole. Whatever goes wrong with the
folder costs a compilation and is counted, never raised. The entry used longest ago goes first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

from jax_ane import _counters

logger = logging.getLogger("jax_ane")

MAGIC = b"JAXANEC1"
# Compiling for less than this is not worth an entry: a write with its fsync takes 2 to 20 ms, a
# read with XLA:CPU's loading some 5 ms, and JAX's own tracing and lowering as long again.
WORTH_S = 0.1
_SUFFIX, _PART = ".ane", ".part"
_ABANDONED_S = 3600.0  # age of an unfinished file whose writer must be dead
_OFF = ("", "off", "none", "false", "0")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One stored program: its key, bytes on disk, and when it was last used (seconds, epoch)."""

    key: str
    size_bytes: int
    used_at: float


def default_folder() -> Path:
    """Returns where a user's caches lie on this system, with our name."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given) / "jax_ane"
    home = Path.home()
    return (home / "Library/Caches" if sys.platform == "darwin" else home / ".cache") / "jax_ane"


def folder(cache_dir: str) -> Path | None:
    """Returns the folder that the flag `cache_dir` means; None when it switches the cache off."""
    if cache_dir.strip().lower() in _OFF:
        return None
    try:
        return default_folder() if cache_dir == "auto" else Path(cache_dir).expanduser().absolute()
    except RuntimeError as error:  # a user without a home
        logger.warning("no cache of compiled programs: %s", error)
        return None


class Cache:
    """The entries of one folder, which is made at the first write."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes

    def get(self, key: str) -> bytes | None:
        """Returns an entry's bytes; None when there is none, or none that is whole."""
        file = self._file(key)
        try:
            if not self._is_ours():
                return None
            data = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _failed("cannot be read", self.path, error)
            return None
        head = len(MAGIC) + hashlib.sha256().digest_size
        body = data[head:]
        if data[:head] != MAGIC + hashlib.sha256(body).digest():
            self.drop(key, "its checksum is wrong")
            return None
        with contextlib.suppress(OSError):  # used now; another process may have removed it
            os.utime(file)
        return body

    def put(self, key: str, body: bytes) -> None:
        """Writes an entry, then removes old ones beyond the bound."""
        size = len(MAGIC) + hashlib.sha256().digest_size + len(body)
        if size > self.max_bytes:
            return
        part: Path | None = None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return
            number, name = tempfile.mkstemp(_PART, ".", self.path)
            part = Path(name)
            with os.fdopen(number, "wb") as file:
                file.write(MAGIC + hashlib.sha256(body).digest())
                file.write(body)
                file.flush()
                os.fsync(file.fileno())  # or a crash of the machine leaves a name without bytes
            part.replace(self._file(key))
            part = None
            self.trim()
        except OSError as error:
            _failed("cannot be written", self.path, error)
        finally:
            if part is not None:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)

    def drop(self, key: str, why: str) -> None:
        """Removes an entry that is of no use, and counts it."""
        logger.warning("dropped entry %s of %s: %s", key[:12], self.path, why)
        _counters.add("cache_dropped")
        with contextlib.suppress(OSError):
            self._file(key).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """Returns what is stored, the latest used first."""
        found = []
        for file in self._files(_SUFFIX):
            with contextlib.suppress(OSError):
                facts = file.stat()
                found.append(Entry(file.stem, facts.st_size, facts.st_mtime))
        return sorted(found, key=lambda entry: (-entry.used_at, entry.key))

    def clear(self) -> int:
        """Removes every entry and unfinished file; returns how many entries there were."""
        count = 0
        for file in [*self._files(_SUFFIX), *self._files(_PART)]:
            with contextlib.suppress(OSError):
                file.unlink()
                count += file.suffix == _SUFFIX
        return count

    def trim(self) -> None:
        """Removes what killed writers left, and the entries used longest ago beyond the bound."""
        for file in self._files(_PART):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > _ABANDONED_S:
                    file.unlink()
        total = 0
        for entry in self.entries():
            total += entry.size_bytes
            if total > self.max_bytes:
                with contextlib.suppress(OSError):
                    self._file(entry.key).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.path / f"{key}{_SUFFIX}"

    def _files(self, suffix: str) -> list[Path]:
        try:
            return [file for file in self.path.iterdir() if file.suffix == suffix]
        except OSError:
            return []

    def _is_ours(self) -> bool:
        """Whether nobody else can write here: entries hold machine code, which is run."""
        if not hasattr(os, "getuid"):
            return True
        facts = self.path.stat()
        if facts.st_uid == os.getuid() and not facts.st_mode & stat.S_IWOTH:
            return True
        _failed("is not used", self.path, "others may write to it; chmod 700 it, or choose another")
        return False


_told: set[tuple[str, str]] = set()


def _failed(what: str, path: Path, why: object) -> None:
    _counters.add("cache_failures")
    if (str(path), what) not in _told:
        _told.add((str(path), what))
        logger.warning("the cache of compiled programs %s %s: %s", path, what, why)
