# SPDX-License-Identifier: Apache-2.0
"""Broken programs, too much memory, and programs beyond what a chip takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import check_exact, check_parity, normal

import jax_ane
from jax_ane import report

sys.path.insert(0, str(Path(__file__).parent / "compiler"))
from compiler_tools import artifact_of, compile_options, main, run_text

TEXT = main(
    "%0 = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : (tensor<4x4xf32>, "
    "tensor<4x4xf32>) -> tensor<4x4xf32>\nreturn %0 : tensor<4x4xf32>",
    "%a: tensor<4x4xf32>", "tensor<4x4xf32>",
)  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"junk", b"ML\xefR" + b"\0" * 99, "module {", b"\xff" * 999])
def test_explain_of_garbage_is_a_value_error(data):
    with pytest.raises(ValueError, match="neither"):
        report.explain_program(data)


def test_explain_of_truncated_artifacts():
    artifact = artifact_of(TEXT)
    assert report.explain_program(artifact).ane_flop_fraction == 1.0
    for length in range(0, len(artifact) - 1, 7):
        try:
            report.explain_program(artifact[:length])
        except ValueError as error:
            assert str(error)


def test_explain_of_a_library_without_main():
    body = "(%a: tensor<f32>) -> tensor<f32> { return %a : tensor<f32> }"
    text = f"module {{ func.func private @other{body} }}"
    assert report.explain_program(text).ops == []


def test_explain_of_recursion_is_an_answer():
    """A program that calls itself cannot be inlined to the end; XLA refuses it later."""
    text = (
        "module { func.func public @main(%a: tensor<f32>) -> tensor<f32> {"
        "%0 = call @main(%a) : (tensor<f32>) -> tensor<f32> return %0 : tensor<f32> } }"
    )
    try:
        assert report.explain_program(text).ane_flop_fraction == 0.0
    except ValueError as error:
        assert "main" in str(error)


def test_text_through_pjrt(ane):
    x = normal(4, 4)
    np.testing.assert_allclose(run_text(TEXT, x)[0], x @ x, rtol=1e-2, atol=1e-2)


def test_corrupt_serialised_executable_is_refused(ane):
    from jax._src.lib import xla_client as xc

    with jax.default_device(ane):
        compiled = jax.jit(lambda a: a @ a).lower(normal(4, 4)).compile()
    executable = compiled.runtime_executable()
    good = ane.client.serialize_executable(executable)
    devices, options = xc.DeviceList((ane,)), compile_options(ane)
    assert ane.client.deserialize_executable(good, devices, options) is not None
    for bad in (b"", b"junk", good[: len(good) // 2], good[:-1], good[:10] + b"\xff" * 40):
        with pytest.raises((jax.errors.JaxRuntimeError, ValueError)) as caught:
            ane.client.deserialize_executable(bad, devices, options)
        assert str(caught.value).strip()


@pytest.mark.parametrize("where", ["upload", "compute"])
def test_out_of_memory_says_how_much_and_the_process_goes_on(ane, where):
    with jax.default_device(ane):
        with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED") as caught:
            if where == "compute":
                jax.jit(lambda: jnp.ones((1 << 22, 1 << 20)))().block_until_ready()
            else:
                huge = np.broadcast_to(np.float32(1), (1 << 22, 1 << 20))
                jax.device_put(huge, ane).block_until_ready()
        numbers = [int(n) for n in re.findall(r"\d{5,}", str(caught.value).replace(",", ""))]
        assert any(n >= 1 << 44 for n in numbers), str(caught.value)
        x = normal(8, 8)
        np.testing.assert_allclose(jnp.dot(x, x), x @ x, rtol=1e-2, atol=1e-2)


# ------------------------------------------------------------------ beyond the chip's limits


def reason_of(fn, *args, op: str = "dot_general"):
    (record,) = {(r.placement, r.reason.code) for r in jax_ane.explain(fn, *args).ops
                 if r.op == f"stablehlo.{op}"}  # fmt: skip
    return record


def test_contraction_above_the_limit_is_split():
    args = normal(2, 40_000, scale=0.07), normal(40_000, 3, scale=0.07)
    check_parity(jnp.dot, *args, tolerance=3e-2)
    assert reason_of(jnp.dot, *args) == ("ane", "heavy")


def test_axis_above_the_limit_goes_to_the_host_with_its_constraint():
    args = normal(70_001, 4), normal(4, 3)
    check_exact(jnp.dot, *args)
    place, code = reason_of(jnp.dot, *args)
    assert place == "host"
    assert re.fullmatch(r"ANE\d{3}", code)


def test_rank_above_the_limit_goes_to_the_host_with_its_constraint():
    """Axes that stay together count as one; here every second of seven is contracted."""
    fn = lambda x, y: jnp.einsum("abcdefg,bdfh->acegh", x, y)  # noqa: E731
    args = normal(*(2,) * 7), normal(2, 2, 2, 3)
    check_exact(fn, *args)
    assert reason_of(fn, *args) == ("host", "ANE001")


def test_one_refused_cluster_leaves_the_others():
    wide, narrow = normal(70_001, 4), normal(4, 3)
    fn = lambda w, n, x: ((w @ n).max(), jnp.tanh(x @ x) @ x)  # noqa: E731
    check_parity(fn, wide, narrow, normal(16, 16, scale=0.3), tolerance=1e-2, placements=("auto",))


def test_more_programs_than_the_chip_holds(ane):
    """The chip holds 128 programs: the oldest is unloaded, and loaded again when called."""
    count = 200
    with jax.default_device(ane):
        x = jax.device_put(normal(4, 8), ane)
        weights = [jax.device_put(normal(8, n, seed=n), ane) for n in range(1, count + 1)]
        calls = [jax.jit(lambda a, b: a @ b).lower(x, w).compile() for w in weights]
        first = np.asarray(calls[0](x, weights[0]))
        for call, w in zip(calls, weights, strict=True):
            got = np.asarray(call(x, w))
            np.testing.assert_allclose(got, np.asarray(x) @ np.asarray(w), rtol=2e-2, atol=1e-2)
        for number in (0, 100, 199, 1, 0):
            again = np.asarray(calls[number](x, weights[number]))
            assert again.shape == (4, number + 1)
        assert np.asarray(calls[0](x, weights[0])).tobytes() == first.tobytes()
