# SPDX-License-Identifier: Apache-2.0
"""The folder of compiled programs: whole entries only, many writers, damage, bounds, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jax_ane import _cache, _counters

KEY = "0" * 64
# A program that is worth an entry: many ops of different shapes.
PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
import jax_ane
from jax_ane import _cache
_cache.WORTH_S = 0.0
def f(x):
    for i in range(12):
        x = jnp.tanh(x @ x[:, : 48 + i] @ jnp.ones((48 + i, 64), np.float32) * 0.01) + i
    return x
x = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
with jax.default_device(jax.devices("ane")[0]):
    y = np.asarray(jax.jit(f)(x))
s = jax_ane.stats()
print(y.tobytes().hex()[:400], s.cache_hits, s.cache_misses, s.cache_dropped, s.cache_failures)
if "--imports" in sys.argv:
    print(*sorted(name for name in sys.modules if name.startswith("jax_ane.compiler.")))
"""


@pytest.fixture
def counted():
    before = _counters.snapshot()[0]

    def since(name):
        return _counters.snapshot()[0].get(name, 0) - before.get(name, 0)

    return since


@pytest.fixture
def cache(tmp_path):
    return _cache.Cache(tmp_path / "cache", 10_000)


def test_an_entry_comes_back(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, b"compiled")
    assert cache.get(KEY) == b"compiled"
    assert [e.key for e in cache.entries()] == [KEY]
    assert cache.clear() == 1
    assert cache.get(KEY) is None and cache.entries() == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign", "longer"])
def test_a_damaged_entry_is_dropped_and_counted(cache, counted, damage):
    cache.put(KEY, b"compiled" * 20)
    (file,) = cache.path.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
    changed = {"cut": data[:-5], "empty": b"", "foreign": b"#!/bin/sh\n", "longer": data + b"x"}
    file.write_bytes(changed.get(damage, data))
    assert cache.get(KEY) is None
    assert counted("cache_dropped") == 1
    assert not file.exists()


def test_the_entry_used_longest_ago_goes_first(cache):
    for i in range(4):
        cache.put(f"{i:064}", bytes(3000))
        os.utime(cache.path / f"{i:064}.ane", (1000 + i, 1000 + i))
    # Three fit; the fourth's arrival removed the oldest. Reading one makes it the newest.
    assert [e.key[-1] for e in cache.entries()] == ["3", "2", "1"]
    assert cache.get(f"{1:064}") is not None
    cache.put(f"{4:064}", bytes(3000))
    assert {e.key[-1] for e in cache.entries()} == {"4", "1", "3"}


def test_an_entry_beyond_the_bound_is_not_written(cache):
    cache.put(KEY, bytes(20_000))
    assert cache.entries() == []


def test_what_a_killed_writer_left_goes_after_a_while(cache):
    cache.put(KEY, b"compiled")
    old, new = cache.path / ".a.part", cache.path / ".b.part"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    cache.put(KEY, b"compiled")
    assert not old.exists() and new.exists()


def test_a_folder_that_others_may_write_to_is_not_used(cache, counted):
    cache.put(KEY, b"compiled")
    cache.path.chmod(0o777)
    assert cache.get(KEY) is None
    cache.put(f"{1:064}", b"compiled")
    assert len(cache.entries()) == 1
    assert counted("cache_failures") == 2


def test_a_folder_that_is_a_file_costs_no_more_than_the_cache(tmp_path, counted):
    (tmp_path / "cache").write_text("no folder")
    cache = _cache.Cache(tmp_path / "cache", 10_000)
    cache.put(KEY, b"compiled")
    assert cache.get(KEY) is None
    assert counted("cache_failures") >= 1


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    """The kernel refuses the write, as a full disk does, with half of it done."""
    code = f"""
import pathlib, resource, signal
from jax_ane import _cache, _counters
cache = _cache.Cache(pathlib.Path({str(tmp_path / "cache")!r}), 10_000_000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
cache.put({KEY!r}, bytes(1_000_000))
print(_counters.snapshot()[0], list(cache.path.iterdir()), cache.get({KEY!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'cache_failures': 1} [] None"


WRITER = """
import pathlib, sys, time
from jax_ane import _cache
cache = _cache.Cache(pathlib.Path(sys.argv[1]), 50_000_000)
number = int(sys.argv[2])
print("ready", flush=True)
end = time.time() + float(sys.argv[3])
count = 0
while time.time() < end:
    key = f"{count % 3:064}"
    cache.put(key, bytes([number]) * 400_000)
    body = cache.get(key)
    assert body is None or (len(body) == 400_000 and len(set(body)) == 1), "torn"
    count += 1
print(count)
"""


def start_writer(folder, number, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(number), str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_many_writers_of_the_same_entries_never_show_half_of_one(tmp_path):
    writers = [start_writer(tmp_path / "cache", n, 2) for n in range(4)]
    for writer in writers:
        out, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
        assert int(out.split()[1]) > 3
    cache = _cache.Cache(tmp_path / "cache", 50_000_000)
    assert len(cache.entries()) == 3
    assert all(cache.get(entry.key) for entry in cache.entries())
    assert not list(cache.path.glob("*.part"))


def test_killed_writers_leave_whole_entries_only(tmp_path, counted):
    for n in range(4):
        writer = start_writer(tmp_path / "cache", n, 60)
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(0.15 + 0.07 * n)
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=60)
        assert writer.returncode == -signal.SIGKILL
    cache = _cache.Cache(tmp_path / "cache", 50_000_000)
    assert cache.entries()
    assert all(cache.get(entry.key) for entry in cache.entries())
    assert counted("cache_dropped") == 0


def test_a_second_process_loads_what_the_first_compiled(python, tmp_path):
    folder = str(tmp_path / "cache")
    results = [python("-c", PROGRAM, JAX_ANE_CACHE_DIR=folder) for _ in range(2)]
    assert [r.returncode for r in results] == [0, 0], results[0].stderr + results[1].stderr
    (first, *counts), (second, *again) = (r.stdout.split() for r in results)
    assert first == second
    assert (counts, again) == (["0", "1", "0", "0"], ["1", "0", "0", "0"])
    listed = python("-m", "jax_ane", "cache", "list", "--json", JAX_ANE_CACHE_DIR=folder)
    assert len(json.loads(listed.stdout)["entries"]) == 1
    assert (
        "1 program(s)" in python("-m", "jax_ane", "cache", "list", JAX_ANE_CACHE_DIR=folder).stdout
    )
    cleared = python("-m", "jax_ane", "cache", "clear", JAX_ANE_CACHE_DIR=folder)
    assert cleared.stdout == f"removed 1 program(s) of {folder}\n"


def test_a_process_that_compiles_nothing_imports_no_compiler(python, tmp_path):
    """Which takes a tenth of the time in which GPT-2's training step comes from the cache."""
    folder = str(tmp_path / "cache")
    done = [python("-c", PROGRAM, "--imports", JAX_ANE_CACHE_DIR=folder) for _ in range(2)]
    first, second = (set(d.stdout.splitlines()[1].split()) for d in done)
    light = {f"jax_ane.compiler.{name}" for name in ("loading", "settings", "updates")}
    assert second == light and light < first


@pytest.mark.parametrize(
    "other",
    [
        {"JAX_ANE_CHIP": "M1"},
        {"JAX_ANE_NUMERICS": "fast"},
        {"JAX_ANE_PLACEMENT": "host"},
        {"JAX_ANE_DISABLE_PASSES": "scale_operands"},
        {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"},
    ],
)
def test_other_flags_are_other_programs(python, tmp_path, other):
    folder = str(tmp_path / "cache")
    for environ, misses in (({}, "1"), (other, "1")):
        done = python("-c", PROGRAM, JAX_ANE_CACHE_DIR=folder, **environ)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[1:3] == ["0", misses]


def test_an_entry_of_another_version_is_compiled_again(python, tmp_path):
    """Whole by its checksum, at the right place, but made by another version."""
    folder = tmp_path / "cache"
    first = python("-c", PROGRAM, JAX_ANE_CACHE_DIR=str(folder))
    (file,) = folder.iterdir()
    body = file.read_bytes()[40:].replace(b'"jax-ane": "', b'"jax-ane": "9', 1)
    length = int.from_bytes(body[:8], "little") + 1
    cache = _cache.Cache(folder, 1 << 30)
    cache.put(file.stem, length.to_bytes(8, "little") + body[8:])
    again = python("-c", PROGRAM, JAX_ANE_CACHE_DIR=str(folder))
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == [first.stdout.split()[0], "0", "1", "1", "0"]


@pytest.mark.parametrize("value", ["", "off"])
def test_the_cache_can_be_off(python, tmp_path, value):
    done = python("-c", PROGRAM, JAX_ANE_CACHE_DIR=value)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["0", "0", "0", "0"]
    assert not (tmp_path / "caches").exists()


def test_by_default_it_lies_in_the_users_cache_folder(python, tmp_path):
    done = python("-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "caches" / "jax_ane").glob("*.ane"))) == 1


def test_a_small_program_gets_no_entry(python, tmp_path):
    done = python("-c", PROGRAM.replace("WORTH_S = 0.0", "WORTH_S = 1e9"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["0", "0", "0", "0"]
    assert not (tmp_path / "caches").exists()
