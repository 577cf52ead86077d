# SPDX-License-Identifier: Apache-2.0
"""`jax.export` for ane alone and for several platforms, and what compiled programs tell."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from parity_tools import normal

import jax_ane

# jax.export writes its artifacts with this package, which jax does not ask for.
pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers, which is not installed")


def model(x, w):
    return jnp.tanh(x @ w) + jnp.sum(x)


def gradient(x, w):
    return jax.grad(lambda v: jnp.sum(jnp.tanh(v @ w) ** 2))(x)


def counting(x, w):
    return jax.lax.fori_loop(0, 3, lambda i, v: jnp.tanh(v @ w) + i, x)


FUNCTIONS = (model, gradient, counting)


def arguments():
    return normal(16, 32), normal(32, 32) * 0.1


def call(exported, device, *arrays):
    return np.asarray(jax.jit(exported.call)(*jax.device_put(arrays, device)))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("platforms", [["ane"], ["ane", "cpu"], ["cpu", "ane"]])
def test_an_exported_function_is_called_where_it_is_for(ane, cpu, function, platforms):
    arrays = arguments()
    exported = export.export(jax.jit(function), platforms=platforms)(*arrays)
    assert exported.platforms == tuple(platforms)
    again = export.deserialize(exported.serialize())
    expected = np.asarray(jax.jit(function)(*jax.device_put(arrays, cpu)))
    with jax_ane.config(placement="ane"):
        before = jax_ane.stats().evaluations
        result = call(again, ane, *arrays)
        assert jax_ane.stats().evaluations > before
    np.testing.assert_allclose(result, expected, rtol=2e-2, atol=2e-2)
    if "cpu" in platforms:
        np.testing.assert_array_equal(call(again, cpu, *arrays), expected)
    else:
        with pytest.raises(ValueError, match="cpu"):
            call(again, cpu, *arrays)


def test_an_export_for_the_cpu_is_not_called_on_ane(ane):
    exported = export.export(jax.jit(model), platforms=["cpu"])(*arguments())
    with pytest.raises(ValueError, match="ane"):
        call(exported, ane, *arguments())


def test_each_platform_takes_its_own_branch(ane, cpu):
    def branch(x):
        return jax.lax.platform_dependent(x, ane=lambda v: v + 1, cpu=lambda v: v + 2)

    exported = export.export(jax.jit(branch), platforms=["ane", "cpu"])(np.zeros(3, np.float32))
    again = export.deserialize(exported.serialize())
    x = np.zeros(3, np.float32)
    np.testing.assert_array_equal(call(again, ane, x), x + 1)
    np.testing.assert_array_equal(call(again, cpu, x), x + 2)


def test_an_export_with_a_symbolic_shape_is_called_with_any(ane, cpu):
    (rows,) = export.symbolic_shape("rows")
    w = normal(32, 32) * 0.1
    shape = jax.ShapeDtypeStruct((rows, 32), np.float32)
    exported = export.export(jax.jit(model), platforms=["ane", "cpu"])(shape, w)
    again = export.deserialize(exported.serialize())
    for n in (3, 16):
        x = normal(n, 32)
        with jax_ane.config(placement="ane"):
            np.testing.assert_allclose(
                call(again, ane, x, w), call(again, cpu, x, w), rtol=2e-2, atol=2e-2
            )


def test_the_gradient_of_an_exported_function_is_exported_with_it(ane, cpu):
    arrays = arguments()
    exported = export.export(jax.jit(model), platforms=["ane", "cpu"])(*arrays)
    again = export.deserialize(exported.serialize(vjp_order=1))
    grad = lambda f: jax.jit(jax.grad(lambda x, w: jnp.sum(f(x, w))))  # noqa: E731
    expected = grad(model)(*jax.device_put(arrays, cpu))
    actual = grad(again.call)(*jax.device_put(arrays, ane))
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=2e-2, atol=2e-2)


def test_a_compiled_program_tells_what_it_costs_and_where_it_runs(ane):
    x, w = arguments()
    with jax_ane.config(placement="ane"), jax.default_device(ane):
        compiled = jax.jit(model).lower(x, w).compile()
    costs = compiled.cost_analysis()
    assert costs["flops"] >= 2 * 16 * 32 * 32
    assert costs["bytes accessed"] >= x.nbytes + w.nbytes
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes == x.nbytes + w.nbytes
    assert memory.output_size_in_bytes == x.nbytes
    text = compiled.as_text()
    assert text.startswith("ANE ")
    assert "func main<ios18>" in text and "matmul" in text


def test_a_lowered_program_has_its_stablehlo_as_text(ane):
    with jax.default_device(ane):
        lowered = jax.jit(model).lower(*arguments())
    assert "stablehlo.dot_general" in lowered.as_text()
    assert lowered.cost_analysis() is None or isinstance(lowered.cost_analysis(), dict)
