# SPDX-License-Identifier: Apache-2.0
"""What a compilation leaves to the process that it was done in."""

from __future__ import annotations

import ctypes
import platform
import sys

import jax
import numpy as np
import pytest

from jax_ane import _host, _native

on_glibc = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc",
    reason="only glibc gives free memory back when asked",
)


def resident_bytes() -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@on_glibc
def test_free_memory_goes_back_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    size, count = 16 * 1024, 8192  # below what the allocator maps by itself
    blocks = [libc.malloc(size) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:  # the last one keeps the end of the heap where it is
        libc.free(block)
    before = resident_bytes()
    _native.release_free_heap()
    assert before - resident_bytes() > size * count // 2
    libc.free(blocks[-1])


@pytest.mark.parametrize("least_seconds,times", [(0.0, 1), (1e9, 0)])
def test_a_long_compilation_gives_back_what_it_freed(ane, monkeypatch, least_seconds, times):
    calls = []
    monkeypatch.setattr(_host, "_LARGE_S", least_seconds)
    monkeypatch.setattr(_native, "release_free_heap", lambda: calls.append(1))
    x = jax.device_put(np.ones((4, 4), np.float32), ane)
    jax.jit(lambda x: x * 2.5 + least_seconds)(x).block_until_ready()
    assert len(calls) == times
