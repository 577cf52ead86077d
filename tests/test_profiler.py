# SPDX-License-Identifier: Apache-2.0
"""What `jax.profiler` shows of the engine."""

from __future__ import annotations

import gzip
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane
from jax_ane import _protobuf as protobuf

ROWS = {"Compile", "Host part (XLA:CPU)", "Convert", "ANE programs"}


@pytest.fixture
def ane():
    with jax_ane.config(placement="ane"):
        yield jax.devices("ane")[0]


def planes(folder) -> dict[str, bytes]:
    (file,) = folder.glob("plugins/profile/*/*.xplane.pb")
    found = protobuf.fields(file.read_bytes(), 1)
    return {protobuf.field(plane, 2).decode(): plane for plane in found}


def engine(folder) -> bytes:
    return planes(folder)["/device:CUSTOM:Apple Neural Engine"]


def rows(folder) -> dict[str, int]:
    """The engine's rows by name, each with its number of events."""
    lines = protobuf.fields(engine(folder), 3)
    return {protobuf.field(line, 2).decode(): len(protobuf.fields(line, 4)) for line in lines}


def names(folder) -> set[str]:
    entries = (protobuf.field(entry, 2) for entry in protobuf.fields(engine(folder), 4))
    return {protobuf.field(entry, 2).decode() for entry in entries}


def products(x):
    return jnp.tanh(x @ x) @ x


@pytest.mark.parametrize("size", [16, 512], ids=["done_at_once", "done_later"])
def test_a_trace_has_a_row_for_each_kind_of_work(ane, tmp_path, size):
    x = jax.device_put(np.full((size, size), 1 / size, np.float32), ane)
    began = time.time()
    with jax.profiler.trace(tmp_path):
        function = jax.jit(lambda x: products(x))
        for _ in range(3):
            x = function(x)
        x.block_until_ready()
    seen = rows(tmp_path)
    kinds = {name.split(" (thread")[0] for name in seen}
    assert kinds == ROWS
    count = {kind: sum(n for name, n in seen.items() if name.startswith(kind)) for kind in ROWS}
    assert count["ANE programs"] >= 3 and count["Host part (XLA:CPU)"] >= 3
    assert count["Convert"] >= count["ANE programs"] and count["Compile"] >= 2
    assert any("lambda" in name for name in names(tmp_path))

    # What Perfetto opens: the same, with times inside of the trace.
    (file,) = tmp_path.glob("plugins/profile/*/*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    (process,) = (
        e["pid"] for e in events
        if e.get("name") == "process_name" and "Neural Engine" in e["args"]["name"]
    )  # fmt: skip
    ours = [e for e in events if e.get("pid") == process and e.get("ph") == "X"]
    assert len(ours) == sum(seen.values())
    took = 1e6 * (time.time() - began)
    assert all(0 <= e["ts"] <= took and 0 <= e["dur"] <= took for e in ours)


def test_each_trace_has_its_own_events_and_nothing_is_kept_without_one(ane, tmp_path):
    function = jax.jit(products)
    x = function(jax.device_put(np.ones((16, 16), np.float32), ane))
    for name, calls in (("first", 4), ("second", 1)):
        function(x).block_until_ready()  # outside of a trace
        with jax.profiler.trace(tmp_path / name):
            for _ in range(calls):
                function(x).block_until_ready()
        programs = [n for row, n in rows(tmp_path / name).items() if row.startswith("ANE")]
        assert programs and sum(programs) % calls == 0
        assert sum(n for row, n in rows(tmp_path / name).items() if row.startswith("Host")) == calls


def test_a_trace_without_the_engine_has_no_plane_of_it(ane, tmp_path):
    with jax.profiler.trace(tmp_path):
        jnp.ones(3).block_until_ready()
    assert not any("Neural" in name for name in planes(tmp_path))
