# SPDX-License-Identifier: Apache-2.0
"""The gradients of weights on a device of their own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from parity_tools import normal
from training_tools import BATCHES, loss_fn, mlp_params

import jax_ane
from jax_ane import precision, training
from jax_ane.training import _weight_gradients as weight_gradients

ANE, CPU = jax.devices("ane")[0], jax.devices("cpu")[0]


def run(optimizer, steps=5, **options):
    step = training.train_step(loss_fn, optimizer, **options)
    state = step.init(mlp_params())
    for i in range(steps):
        state, metrics = step(state, BATCHES[i % len(BATCHES)])
    return state, metrics


def placements(step, *arguments):
    ops = jax_ane.explain(step, *arguments).ops
    return [op.placement for op in ops if op.op == "stablehlo.dot_general"]


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.adamw(1e-2)], ids=["sgd", "adamw"])
@pytest.mark.parametrize(
    "options",
    [{}, {"loss_scale": precision.StaticLossScale(256.0), "clip_norm": 1.0}, {"update_every": 2}],
    ids=["plain", "scaled", "two_steps"],
)
def test_steps_are_those_of_one_program(optimizer, options):
    with jax.default_device(CPU):
        want, measured = run(optimizer, **options)
    with jax.default_device(ANE):
        got, found = run(optimizer, weight_gradients=CPU, **options)
    assert all(leaf.devices() == {ANE} for leaf in jax.tree.leaves(got.params))
    # Over all leaves: AdamW takes a whole step along the sign of a gradient that is all rounding.
    error = optax.tree.norm(optax.tree.sub(jax.device_put(got.params, CPU), want.params))
    assert error <= 1e-2 * optax.tree.norm(want.params)
    np.testing.assert_allclose(found.loss, measured.loss, rtol=1e-2)
    assert int(found.recompiled) == int(found.skipped) == 0


def test_the_products_leave_the_engine_and_nothing_else_does():
    step = training.train_step(loss_fn, optax.sgd(0.1))
    divided = training.train_step(loss_fn, optax.sgd(0.1), weight_gradients=CPU)
    state, batch = step.init(mlp_params()), BATCHES[0]
    whole, rest = placements(step, state, batch), placements(divided, state, batch)
    weights = sum(leaf.ndim == 2 for leaf in jax.tree.leaves(state.params))
    assert weights == len(whole) - len(rest) > 0
    assert training.estimate_memory(divided, state.params, batch).work_bytes > 0


def both_ways(function, arguments, gradients):
    with jax.default_device(CPU):
        halves = weight_gradients.cut(jax.make_jaxpr(function)(*arguments), gradients)
        results = jax.core.eval_jaxpr(halves.first.jaxpr, halves.first.consts, *arguments)
        stayed, operands = results[: halves.num_stayed], results[halves.num_stayed :]
        moved = jax.core.eval_jaxpr(halves.second.jaxpr, [], *operands)
        for a, b in zip(halves.join(stayed, moved), function(*arguments), strict=True):
            # XLA fuses the ops of an inner jit otherwise.
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return halves


def gradients_of(loss):
    def function(*arguments):
        value, gradients = jax.value_and_grad(loss, tuple(range(len(arguments) - 1)))(*arguments)
        return [*gradients, value]

    return function


def dense(w, x):
    return jnp.tanh(x @ w)


def convolve(w, x):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


LOSSES = {
    "dense": (lambda w, v, x: (dense(v, dense(w, x)) ** 2).sum(), [(3, 4), (4, 2), (5, 3)], (0, 1)),
    "inner_jit": (
        lambda w, v, x: (jax.jit(dense)(v, jax.jit(dense)(w, x)) ** 2).sum(),
        [(3, 4), (4, 2), (5, 3)], (0, 1),
    ),
    "tied": (lambda w, x: (dense(w.T, dense(w, x)) ** 2).sum(), [(3, 4), (5, 3)], (0,)),
    "bias": (
        lambda w, b, x: ((x @ w + b) ** 2).sum(), [(3, 4), (4,), (5, 3)], (0,),
    ),
    "convolution": (
        lambda w, v, x: (convolve(v, jnp.tanh(convolve(w, x))) ** 2).sum(),
        [(3, 3, 2, 4), (3, 3, 4, 2), (1, 6, 6, 2)], (0, 1),
    ),
    "decayed": (
        lambda w, x: ((x @ w) ** 2).sum() + 0.1 * (w**2).sum(), [(3, 4), (5, 3)], (0,),
    ),
    "not_the_loop": (
        lambda w, v, x: (lax.scan(lambda c, _: (dense(w, c), None), x, None, 3)[0] @ v).sum(),
        [(3, 3), (3, 2), (5, 3)], (1,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_function_cut_in_two_is_the_whole(name):
    loss, shapes, moved = LOSSES[name]
    halves = both_ways(gradients_of(loss), [normal(*shape) for shape in shapes], len(shapes) - 1)
    assert halves.moved == moved
    names = {eqn.primitive.name for eqn in halves.second.jaxpr.eqns}
    assert names & set(weight_gradients.CONTRACTIONS)


@pytest.mark.parametrize(
    ("loss", "options", "words"),
    [
        (loss_fn, {"accumulate": 2}, "update_every"),
        (
            lambda p, x: lax.scan(lambda c, w: (dense(w, c), None), x["x"], p["w"])[0].sum(),
            {}, "inside loops",
        ),
    ],
    ids=["accumulate", "scan"],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused(loss, options, words):
    with pytest.raises(ValueError, match=words):
        step = training.train_step(loss, optax.sgd(0.1), weight_gradients=CPU, **options)
        step(step.init({"w": normal(2, 3, 3)}), {"x": normal(5, 3)})
