# SPDX-License-Identifier: Apache-2.0
"""Serialised programs: loaded without compiling, in any process that they fit, by any road."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import serialize_executable
from jax.experimental.layout import Format, Layout
from jax.sharding import SingleDeviceSharding
from parity_tools import normal

import jax_ane
from jax_ane import _stored
from jax_ane.compiler import loading

IMAGE = loading.Image(
    fingerprint="f" * 64, text="program", blobs={"@model_path/w": b"\0\1", "b": b""}, chip="M4",
    numerics="exact", inputs=2, outputs=1, scaled_inputs=(1,), scaled_outputs=(0,),
    scaled_below=4.0, lifted=(3,), weights=((0, "b", (((2, 3), (1, 0)),)),),
)  # fmt: skip
STORED = _stored.Stored({"name": "f"}, b"machine code", b"module", b"text", (IMAGE, IMAGE))


def test_what_is_packed_comes_back():
    assert _stored.unpack(_stored.pack(STORED)) == STORED
    bare = _stored.Stored({}, None, b"", b"", ())
    assert _stored.unpack(_stored.pack(bare)) == bare


def test_damaged_bytes_are_a_misfit_wherever_they_are_cut_or_changed():
    data = _stored.pack(STORED)
    random = np.random.default_rng(0)
    for end in {0, 1, 7, 8, 9, *random.integers(0, len(data), 60).tolist()}:
        with pytest.raises(_stored.Misfit):
            _stored.unpack(data[:end])
    with pytest.raises(_stored.Misfit, match="too many fields"):
        _stored.unpack(data + bytes(8))
    refused = 0
    for at in random.integers(0, len(data), 300).tolist():
        broken = bytearray(data)
        broken[at] ^= 1 << int(random.integers(8))
        try:
            _stored.unpack(bytes(broken))  # contents are the checksum's business
        except _stored.Misfit:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("name", ["jax-ane", "jaxlib", "build", "machine", "cpu"])
def test_bytes_of_another_environment_are_a_misfit(monkeypatch, name):
    data = _stored.pack(STORED)
    here = {**_stored.environment(), name: "another"}
    monkeypatch.setattr(_stored, "environment", lambda: here)
    with pytest.raises(_stored.Misfit, match=f"{name} .* and this is another"):
        _stored.unpack(data)


def sorting(x):
    return jnp.sort(jnp.tanh(x @ x))


def plain(x):
    return jnp.tanh(x @ x) + jnp.cumsum(x, 0)


def load(payload):
    return serialize_executable.deserialize_and_load(*payload, backend="ane")


@pytest.fixture(params=[plain, sorting], ids=["plain", "sort, which XLA does not serialise"])
def compiled(ane, request):
    """Returns a compiled program with a part on the engine, its argument and its result."""
    x = jax.device_put(normal(32, 32), ane)
    with jax_ane.config(placement="ane"):
        program = jax.jit(request.param).lower(x).compile()
    return program, x, np.asarray(program(x))


def test_a_serialised_program_is_loaded_without_compiling(compiled):
    program, x, expected = compiled
    payload = serialize_executable.serialize(program)
    before = jax_ane.stats()
    again = load(payload)
    np.testing.assert_array_equal(np.asarray(again(x)), expected)
    after = jax_ane.stats()
    assert after.compilations == before.compilations
    assert after.stored_rejected == before.stored_rejected
    assert after.evaluations == before.evaluations + 1
    assert again.as_text() == program.as_text()
    assert again.cost_analysis() == program.cost_analysis()
    assert str(again.memory_analysis()) == str(program.memory_analysis())


def test_a_loaded_program_can_be_serialised_again(compiled):
    program, x, expected = compiled
    again = load(serialize_executable.serialize(load(serialize_executable.serialize(program))))
    np.testing.assert_array_equal(np.asarray(again(x)), expected)


@pytest.mark.parametrize("wrong", ["environment", "executable", "fields"])
def test_what_does_not_fit_is_compiled_again(compiled, monkeypatch, wrong):
    program, x, expected = compiled
    with monkeypatch.context() as patch:
        if wrong == "environment":
            patch.setattr(_stored, "environment", lambda: {"jaxlib": "9"})
        pack = _stored.pack
        if wrong == "executable":
            no_code = lambda s: pack(_stored.Stored(s.facts, b"no code", b"", s.text, s.images))  # noqa: E731
            patch.setattr(_stored, "pack", no_code)
        if wrong == "fields":
            patch.setattr(_stored, "pack", lambda s: pack(s)[:-20])
        payload = serialize_executable.serialize(program)
    before = jax_ane.stats()
    with jax_ane.config(placement="ane"):
        again = load(payload)
    np.testing.assert_allclose(np.asarray(again(x)), expected, rtol=1e-3, atol=1e-3)
    after = jax_ane.stats()
    assert after.stored_rejected == before.stored_rejected + 1
    assert after.compilations == before.compilations + 1


LOAD = """
import pickle, sys
import jax, jax_ane, numpy as np
from jax.experimental import serialize_executable
payload, x, expected = pickle.load(open(sys.argv[1], "rb"))
again = serialize_executable.deserialize_and_load(*payload, backend="ane")
y = np.asarray(again(jax.device_put(x, jax.devices("ane")[0])))
assert np.array_equal(y, expected)
s = jax_ane.stats()
print(s.compilations, s.programs_compiled, s.evaluations, s.stored_rejected)
"""


def test_another_process_loads_it(compiled, python, tmp_path):
    program, x, expected = compiled
    held = (serialize_executable.serialize(program), np.asarray(x), expected)
    (tmp_path / "program").write_bytes(pickle.dumps(held))
    done = python("-c", LOAD, "program")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "1", "1", "0"]), done.stderr


def test_another_process_loads_a_result_in_an_order_of_axes_that_was_asked_for(
    ane, python, tmp_path
):
    x = jax.device_put(normal(8, 12), ane)
    wanted = Format(Layout((1, 0)), SingleDeviceSharding(ane, memory_kind="pinned_host"))
    program = jax.jit(lambda x: x * 2, out_shardings=wanted).lower(x).compile()
    y = program(x)
    np.testing.assert_array_equal(np.asarray(y), 2 * normal(8, 12))
    again = load(serialize_executable.serialize(program))(x)
    assert again.sharding.memory_kind == y.sharding.memory_kind == "pinned_host"
    held = (serialize_executable.serialize(program), np.asarray(x), np.asarray(y))
    (tmp_path / "program").write_bytes(pickle.dumps(held))
    done = python("-c", LOAD, "program")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "0", "0", "0"]), done.stderr


def test_another_process_loads_a_program_with_baked_weights(ane, python, tmp_path):
    x = jax.device_put(normal(32, 32), ane)
    with jax_ane.config(weights="baked"):
        program = jax.jit(lambda x: jnp.tanh(x) @ x.T @ x).lower(x).compile()
        assert "BLOBFILE" in program.as_text()
        held = (serialize_executable.serialize(program), np.asarray(x), np.asarray(program(x)))
    (tmp_path / "program").write_bytes(pickle.dumps(held))
    done = python("-c", LOAD, "program")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "1", "1", "0"]), done.stderr


def test_a_program_is_not_loaded_for_another_chip(compiled, python, tmp_path):
    program, x, expected = compiled
    held = (serialize_executable.serialize(program), np.asarray(x), expected)
    (tmp_path / "program").write_bytes(pickle.dumps(held))
    done = python("-c", LOAD, "program", JAX_ANE_CHIP="M1")
    assert done.returncode == 1
    assert "compile it again" in done.stderr


@pytest.mark.parametrize("name", ["cholesky", "eigvalsh"])
def test_linear_algebra_is_made_ready_in_another_process(ane, python, tmp_path, name):
    """Nothing is lowered there, which is when JAX finds LAPACK's functions."""
    x = jax.device_put(np.diag(np.arange(1, 5, dtype=np.float32)), ane)
    program = jax.jit(getattr(jnp.linalg, name)).lower(x).compile()
    held = (serialize_executable.serialize(program), np.asarray(x), np.asarray(program(x)))
    (tmp_path / "program").write_bytes(pickle.dumps(held))
    done = python("-c", LOAD, "program")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "0", "0", "0"]), done.stderr


def test_a_program_of_several_devices_is_stored_and_serialised(python, tmp_path):
    code = """
import jax, numpy as np, jax.numpy as jnp
import jax_ane
from jax_ane import _cache, _host
from jax.experimental import serialize_executable
from jax.sharding import Mesh, NamedSharding, PartitionSpec
_cache.WORTH_S = 0.0
devices = jax.devices("ane")
mesh = Mesh(np.array(devices), ("d",))
split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("d",), ()))
x = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
arrays = jax.device_put(x, split), jax.device_put(x / 64, whole)
f = jax.jit(lambda x, w: (jnp.tanh(x @ w), jnp.sum(x * x)), out_shardings=(split, whole))
def show(results):
    return [np.asarray(r).tobytes().hex()[:80] + str(r.sharding) for r in results]
engine = _host.engine_for(len(devices), False)
client = engine.client
class Client:
    def __getattr__(self, name):
        return getattr(client, name)
    def compile_and_load(self, module, *rest):
        global compiled_here
        compiled_here += 1
        return client.compile_and_load(module, *rest)
compiled_here, engine.client = 0, Client()
with jax_ane.config(placement="ane"):
    first = show(f(*arrays))
    stats = jax_ane.stats()
    compiled = f.lower(*arrays).compile()
payload = serialize_executable.serialize(compiled)
again = serialize_executable.deserialize_and_load(
    *payload, backend="ane", execution_devices=devices)
assert show(again(*arrays)) == first
assert jax_ane.stats().stored_rejected == 0
print(first, compiled_here, stats.compilations, stats.cache_hits)
"""
    environ = {"JAX_ANE_NUM_DEVICES": "2", "JAX_ANE_CACHE_DIR": str(tmp_path / "c")}
    first, second = (python("-c", code, **environ) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    # XLA, too, compiles once: its executable keeps how arrays are split.
    assert first.stdout.endswith(" 1 1 0\n")
    assert second.stdout == first.stdout.removesuffix(" 1 1 0\n") + " 0 0 1\n"


RUN = """
import jax, jax.numpy as jnp, numpy as np, sys
import jax_ane
x = np.linspace(-1, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
f = jax.jit(lambda a: jnp.tanh(a @ a) + jnp.cumsum(a, 0))
flags = dict(pair.split("=") for pair in sys.argv[1:])
with jax.default_device(jax.devices("ane")[0]), jax_ane.config(**{"placement": "ane", **flags}):
    y = np.asarray(f(x))
cpu = jax.jit(lambda a: a + 1)(x)
print(y.tobytes().hex()[:200], jax_ane.stats().compilations)
"""


@pytest.fixture
def start(python, tmp_path):
    """Returns a function that runs a program in a process with JAX's cache, and what it printed."""

    def run(*flags):
        done = python(
            "-c", RUN, *flags, JAX_ANE_CACHE_DIR="off",
            JAX_COMPILATION_CACHE_DIR=str(tmp_path / "jax"),
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_jax_keeps_programs_in_its_own_cache(start, tmp_path):
    result, compilations = start()
    assert int(compilations) >= 1
    assert start() == [result, "0"]
    assert int(start("numerics=fast")[1]) >= 1
    assert int(start("placement=host")[1]) >= 1
    assert start("placement=host")[1] == "0"
    assert int(start("strict=warn")[1]) >= 1  # warnings come from compiling
    assert int(start("strict=warn")[1]) >= 1
    for file in (tmp_path / "jax").glob("*-cache"):
        file.write_bytes(file.read_bytes()[:-9])
    again = start()  # JAX warns and compiles
    assert again[0] == result and int(again[1]) >= 1


def test_the_native_adamw_is_loaded_too(python, tmp_path):
    pytest.importorskip("optax", reason="AdamW needs optax, which is not installed")
    code = """
import jax, jax.numpy as jnp, numpy as np, optax
import jax_ane
from jax_ane import _cache, training
_cache.WORTH_S = 0.0
step = training.train_step(lambda p, b: jnp.mean((b @ p["w"]) ** 2), optax.adamw(1e-3))
with jax.default_device(jax.devices("ane")[0]):
    state = step.init({"w": np.linspace(-1, 1, 128 * 128, dtype=np.float32).reshape(128, 128)})
    for _ in range(2):
        state, metrics = step(state, np.ones((64, 128), np.float32))
    print(float(metrics["loss"]), jax_ane.stats().compilations, jax_ane.stats().cache_hits > 0)
"""
    first, second = (python("-c", code, JAX_ANE_CACHE_DIR=str(tmp_path / "c")) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    loss, compilations, hit = first.stdout.split()
    assert int(compilations) > 0 and hit == "False"
    assert second.stdout.split() == [loss, "0", "True"]
