# SPDX-License-Identifier: Apache-2.0
"""`jax_ane.place` and `full_precision`: marks that go with the ops wherever JAX takes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import assert_close, assert_same_bits, normal, run

import jax_ane

X, W = normal(16, 16), normal(16, 16, seed=1)


def dots(fn, *args):
    """Returns the places of the matrix products, in program order."""
    ops = jax_ane.explain(fn, *args).ops
    return [op.placement for op in ops if op.op == "stablehlo.dot_general"]


def marked(x, w):
    x = jnp.tanh(x @ w)
    with jax_ane.place("host"):
        x = x @ w
    return jnp.tanh(x) @ w


def test_only_what_is_marked_stays_on_the_host():
    assert dots(marked, X, W) == ["ane", "host", "ane"]
    host = [op for op in jax_ane.explain(marked, X, W).ops if op.reason.code == "placed"]
    assert [op.op for op in host] == ["stablehlo.dot_general"]
    assert "jax_ane.place('host')" in host[0].reason.text


def test_gradients_stay_where_the_value_was():
    places = dots(jax.grad(lambda x, w: marked(x, w).sum(), argnums=(0, 1)), X, W)
    assert places.count("host") == 3  # the value and both gradients of the marked product
    assert places.count("ane") == 5  # the value of the last product is not needed


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.checkpoint])
def test_marks_survive_transformations(transform):
    x = np.stack([X, X]) if transform is jax.vmap else X

    def fn(x):
        return transform(lambda x: marked(x, W))(x)

    assert dots(fn, x) == ["ane", "host", "ane"]


def test_marked_loops_branches_and_functions_are_marked_whole():
    @jax.jit
    def shared(x):
        return x @ W

    def fn(x):
        x = shared(x)
        with jax_ane.place("host"):
            x = shared(x)
            x, _ = jax.lax.scan(lambda c, _: (shared(c), None), x, None, length=3)
            x = jax.lax.cond(x[0, 0] > 0, shared, jnp.tanh, x)
        return shared(x)

    assert sorted(dots(fn, X)) == ["ane", "ane", "host", "host", "host"]
    assert_close(run(fn, (X,), "ane"), run(fn, (X,), "cpu"), 5e-3)


def test_the_innermost_scope_counts():
    def fn(x):
        with jax_ane.place("host"):
            x = x @ W
            with jax_ane.place("ane"):
                x = x @ W
            return x @ W

    assert dots(fn, X) == ["host", "ane", "host"]


def test_ane_takes_what_would_not_pay():
    def fn(x):
        with jax_ane.place("ane"):
            return jnp.tanh(x) * 2

    (program,) = jax_ane.explain(fn, X).programs
    assert "tanh" in program.text
    assert not jax_ane.explain(lambda x: jnp.tanh(x) * 2, X).programs
    assert_close(run(fn, (X,), "ane"), run(fn, (X,), "cpu"), 5e-3)


def test_ane_cannot_force_what_no_chip_does():
    def fn(x):
        with jax_ane.place("ane"):
            return jnp.sort(x), x @ W

    assert dots(fn, X) == ["ane"]
    (sort,) = [op for op in jax_ane.explain(fn, X).ops if op.op == "stablehlo.sort"]
    assert sort.placement == "host"


def test_placement_host_is_stronger_than_a_scope():
    def fn(x):
        with jax_ane.place("ane"):
            return x @ W

    with jax_ane.config(placement="host"):
        assert dots(fn, X) == ["host"]


def test_full_precision_has_the_bits_of_cpu():
    def fn(x, w):
        return jax_ane.full_precision(lambda x: jnp.tanh(x @ w))(x)

    assert dots(fn, X, W) == ["host"]
    assert_same_bits(run(fn, (X, W), "ane"), run(fn, (X, W), "cpu"))


def test_scopes_mean_nothing_on_cpu():
    assert_same_bits(
        run(marked, (X, W), "cpu"),
        run(lambda x, w: jnp.tanh(jnp.tanh(x @ w) @ w) @ w, (X, W), "cpu"),
    )


def test_unknown_places_are_refused():
    with pytest.raises(ValueError, match=r"gpu.*host, ane"), jax_ane.place("gpu"):
        pass
