# SPDX-License-Identifier: Apache-2.0
"""What a compiled program tells about itself, serialisation, and errors of compilation."""

from __future__ import annotations

import gc
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import serialize_executable

from jax_ane import _host, _stored
from jax_ane._host_executable import HostExecutable, LoadedModule

X = np.arange(16, dtype=np.float32).reshape(4, 4)


def _compiled(ane):
    return jax.jit(lambda x: (jnp.sin(x) @ x).sum()).lower(jax.device_put(X, ane)).compile()


def test_compiled_program_describes_itself(ane):
    compiled = _compiled(ane)
    assert compiled.cost_analysis()["flops"] > 100
    assert compiled.memory_analysis().argument_size_in_bytes == X.nbytes
    assert compiled.memory_analysis().output_size_in_bytes == 4
    assert "sine" in compiled.as_text()


def test_compiling_does_not_read_the_program_back(ane, monkeypatch):
    """JAX asks for layouts at every compilation; reading the program takes a tenth of one."""
    read, calls = HostExecutable.optimized_program, []
    monkeypatch.setattr(
        HostExecutable, "optimized_program", lambda self: calls.append(0) or read(self)
    )

    def form(device):
        function = jax.jit(lambda x: (x.T, x.astype(jnp.int4), x.sum()))
        compiled = function.lower(jax.device_put(X, device)).compile()
        return compiled, [f.layout for f in compiled.output_formats]

    compiled, layouts = form(ane)
    assert not calls
    assert compiled.runtime_executable().hlo_modules() and calls
    assert layouts == form(jax.devices("cpu")[0])[1]


def test_serialised_program_runs_again(ane):
    compiled = _compiled(ane)
    payload, in_tree, out_tree = serialize_executable.serialize(compiled)
    again = serialize_executable.deserialize_and_load(payload, in_tree, out_tree, backend="ane")
    x = jax.device_put(X, ane)
    assert np.asarray(again(x)) == np.asarray(compiled(x))


@pytest.mark.parametrize("damage", ["flip", "cut", "magic"])
def test_corrupt_bytes_are_not_loaded(ane, damage):
    payload, in_tree, out_tree = serialize_executable.serialize(_compiled(ane))
    start = payload.index(b"JAXANE\x02")
    broken = bytearray(payload)
    if damage == "magic":
        broken[start + 1] ^= 0xFF
    else:
        broken[start + 600] ^= 0xFF
    if damage == "cut":
        broken = broken[: start + 4] + b"\0" * (len(broken) - start - 4)
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError, pickle.UnpicklingError)) as caught:
        serialize_executable.deserialize_and_load(bytes(broken), in_tree, out_tree, backend="ane")
    if damage != "cut":
        assert "no executable of jax-ane" in str(caught.value)


def test_program_with_callback_is_not_serialised(ane):
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
    compiled = (
        jax.jit(lambda v: jax.pure_callback(np.sin, shape, v))
        .lower(jax.device_put(X, ane))
        .compile()
    )
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError, pickle.PicklingError)):
        serialize_executable.serialize(compiled)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("bad value: the whole text\nsecond line"), "INVALID_ARGUMENT"),
        (TypeError("bad type"), "INVALID_ARGUMENT"),
        (NotImplementedError("no such op"), "UNIMPLEMENTED"),
        (type("UnsupportedOpError", (Exception,), {})("op x"), "UNIMPLEMENTED"),
        (MemoryError("too much"), "RESOURCE_EXHAUSTED"),
        (KeyError("lost"), "INTERNAL"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else v,
)
def test_compiler_error_reaches_the_user_whole(ane, monkeypatch, error, code):
    def fail(program, num_devices, module):
        raise error

    monkeypatch.setattr(_host, "_compile_for_ane", fail)
    with pytest.raises(Exception) as caught:
        jax.jit(lambda x: x * 3.25)(jax.device_put(X, ane))
    text = str(caught.value)
    assert f"{type(error).__name__}: {error}" in text
    assert code in text


def test_xla_error_keeps_its_code_and_text(ane):
    call = jax.ffi.ffi_call("jax_ane_no_such_target", jax.ShapeDtypeStruct((4, 4), np.float32))
    with pytest.raises(jax.errors.JaxRuntimeError, match="jax_ane_no_such_target") as caught:
        jax.jit(call)(jax.device_put(X, ane)).block_until_ready()
    assert str(caught.value).startswith(("NOT_FOUND", "UNIMPLEMENTED", "INTERNAL"))


def test_compiler_answer_is_shown(ane, monkeypatch):
    def answer(program, num_devices, module):
        text = _stored.compress("placements and MIL")
        return LoadedModule(program, text, 12345.0, 99.0, None, (), {})

    monkeypatch.setattr(_host, "_compile_for_ane", answer)
    compiled = jax.jit(lambda x: x * 4.25).lower(jax.device_put(X, ane)).compile()
    assert compiled.as_text() == "placements and MIL"
    assert compiled.cost_analysis()["flops"] == 12345.0
    assert compiled.cost_analysis()["bytes accessed"] == 99.0


def test_a_program_dropped_while_it_runs_finishes(ane):
    """The function dies while the host still sorts; the ANE program is called after that."""

    def sorted_product(a):
        part = jnp.sort(a.ravel()).reshape(a.shape)[:64, :64]
        return part @ part

    x = np.full((1024, 1024), 0.5, np.float32)
    with jax.default_device(ane):
        result = jax.jit(lambda a: sorted_product(a))(x)
    jax.clear_caches()
    gc.collect()
    np.testing.assert_array_equal(np.asarray(result), np.full((64, 64), 16.0))
