# SPDX-License-Identifier: Apache-2.0
"""Weights as constants: which arguments are some, how they get there, that they are the last."""

from __future__ import annotations

import concurrent.futures
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiler_tools import plans_of, stablehlo_of
from jax import lax
from parity_tools import assert_same_bits, normal

import jax_ane
from jax_ane import mil, training
from jax_ane.compiler import baking, blob, programs
from jax_ane.compiler.reasons import Reason

X = normal(8, 48)
WEIGHTS = [normal(48, 48, seed=seed, scale=0.2) for seed in range(3)]


def mlp(weights, x):
    for w in weights:
        x = jnp.tanh(x @ w)
    return x


@pytest.fixture
def ane():
    return jax.devices("ane")[0]


def compiled_for(fn, *args, weights: str):
    with jax_ane.config(weights=weights), jax.default_device(jax.devices("ane")[0]):
        return jax.jit(fn).lower(*args).compile()


def inputs_of(compiled) -> int:
    """Returns how many inputs the one ANE program has."""
    return re.findall(r"func main<ios18>\((.*)\)", compiled.as_text() or "")[0].count("fp16")


def weights_of(fn, *args) -> list[int]:
    """Returns which arguments of main are weights."""
    block = plans_of(stablehlo_of(fn, *args))[0].block
    found = baking.arguments(block)
    return [i for i, value in enumerate(block.arguments) if value.index in found]


# ---------------------------------------------------------------------------- which they are


def test_weights_of_products_are_found_by_their_role():
    assert weights_of(mlp, WEIGHTS, X) == [0, 1, 2]
    assert weights_of(lambda x, w: jnp.tanh(x @ w.T), X, WEIGHTS[0]) == [1]
    assert weights_of(lambda w, x: jnp.einsum("io,bi->bo", w, jnp.tanh(x)), WEIGHTS[0], X) == [0]


def test_data_is_no_weight_also_where_a_gradient_reads_it():
    gradient = jax.grad(lambda w, x: jnp.square(mlp(w, x)).mean())
    assert weights_of(gradient, WEIGHTS, X) == [0, 1, 2]


def test_batched_products_have_none():
    q, k = normal(4, 8, 16), normal(4, 8, 16, seed=1)
    assert weights_of(lambda q, k: jnp.einsum("hqd,hkd->hqk", jnp.tanh(q), k), q, k) == []


def test_the_kernel_of_a_convolution_is_one():
    def conv(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME")

    image, kernel = normal(1, 8, 16, 16), normal(8, 8, 3, 3)
    assert weights_of(conv, image, kernel) == [1]
    gradient = jax.grad(lambda k, x: jnp.square(conv(x, k)).sum())
    assert weights_of(gradient, kernel, image) == [0]


def test_what_a_loop_changes_is_none():
    def loop(x, w, changing):
        def body(carry, _):
            x, changing = carry
            return (jnp.tanh(x @ w) @ changing, changing * 0.5), None

        return lax.scan(body, (x, changing), length=3)[0]

    plans = plans_of(stablehlo_of(loop, X, *WEIGHTS[:2]))
    body = next(plan.block for plan in plans if plan.block.path != "main" and plan.clusters)
    assert len(baking.arguments(body)) == 1


# ---------------------------------------------------------------------------- what they become


def test_programs_have_constants_and_fewer_inputs():
    baked = compiled_for(mlp, WEIGHTS, X, weights="baked")
    assert inputs_of(baked) == 1 and (baked.as_text() or "").count("BLOBFILE") == 3
    assert inputs_of(compiled_for(mlp, WEIGHTS, X, weights="inputs")) == 4


def test_moves_are_made_on_the_way_into_the_constant():
    def fn(x, w):
        # [out, a, b] -> [b, a, out]: no order that a product reads as it is.
        return jnp.tanh(x).reshape(-1, 48) @ w.transpose(2, 1, 0).reshape(48, 10)

    w = normal(10, 6, 8)
    text = compiled_for(fn, X, w, weights="baked").as_text()
    assert "transpose(x" not in text
    baked = compiled_for(fn, X, w, weights="baked")(X, w)
    assert_same_bits(
        [np.asarray(baked)], [np.asarray(compiled_for(fn, X, w, weights="inputs")(X, w))]
    )


@pytest.mark.parametrize("layout", [("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC")], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_are_the_chips_own(layout, groups):
    def fn(x, kernel, bias):
        out = lax.conv_general_dilated(
            jnp.tanh(x), kernel, (2, 1), [(1, 2), (0, 1)], rhs_dilation=(1, 2),
            dimension_numbers=layout, feature_group_count=groups,
        )  # fmt: skip
        return jax.nn.relu(out + bias)

    x, kernel = normal(2, 8, 12, 10), normal(6, 8 // groups, 3, 2)
    bias = normal(1, 6, 1, 1)
    if layout[0] == "NHWC":
        x, bias = (np.moveaxis(a, 1, -1) for a in (x, bias))
        kernel = kernel.transpose(2, 3, 1, 0)
    baked = compiled_for(fn, x, kernel, bias, weights="baked")
    assert " conv(" in (baked.as_text() or "")
    plain = compiled_for(fn, x, kernel, bias, weights="inputs")
    got, want = (np.asarray(f(x, kernel, bias)) for f in (baked, plain))
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)


def test_a_convolutional_network_is_trained(ane):
    def loss_fn(params, batch):
        x = batch["x"]
        for kernel in params["kernels"]:
            x = jax.nn.relu(lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ))  # fmt: skip
        return jnp.square(x.mean((1, 2)) @ params["head"] - batch["y"]).mean()

    params = {
        "kernels": [normal(3, 3, 4, 8, scale=0.2), normal(3, 3, 8, 8, seed=1, scale=0.2)],
        "head": normal(8, 4),
    }
    batch = {"x": normal(4, 10, 10, 4), "y": normal(4, 4)}
    losses = {}
    for weights in ("baked", "inputs"):
        with jax_ane.config(weights=weights), jax.default_device(ane):
            step = training.train_step(loss_fn, optax.adam(1e-2))
            state = step.init(params)
            losses[weights] = []
            for _ in range(8):
                state, metrics = step(state, batch)
                losses[weights].append(float(metrics.loss))
    np.testing.assert_allclose(losses["baked"], losses["inputs"], rtol=1e-2)
    assert losses["baked"][-1] < 0.9 * losses["baked"][0]


@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_bits_are_those_of_weights_as_inputs(numerics, ane):
    def both(weights, x):
        loss = lambda w: jnp.square(mlp(w, x)).mean()  # noqa: E731
        return mlp(weights, x), jax.grad(loss)(weights)

    arguments = jax.device_put((WEIGHTS, X), ane)
    with jax_ane.config(numerics=numerics):
        baked, plain = (
            jax.tree.leaves(compiled_for(both, *arguments, weights=w)(*arguments))
            for w in ("baked", "inputs")
        )
    assert_same_bits([np.asarray(v) for v in baked], [np.asarray(v) for v in plain])


def test_what_the_chip_refuses_stays_an_input(monkeypatch):
    check = programs._check_legal

    def without_files(printed, chip):
        if printed.blobs:
            raise programs.Illegal(Reason("ANE013", "no constants of that size"))
        check(printed, chip)

    monkeypatch.setattr(programs, "_check_legal", without_files)
    compiled = compiled_for(lambda x, w: jnp.tanh(x) @ w, X, WEIGHTS[0], weights="baked")
    assert inputs_of(compiled) == 2


# ---------------------------------------------------------------------------- new values


def donations() -> int:
    return jax_ane.stats().weight_donations


def test_other_weights_are_a_load_and_no_compilation(ane):
    fn = compiled_for(mlp, WEIGHTS, X, weights="baked")
    plain = compiled_for(mlp, WEIGHTS, X, weights="inputs")
    first = jax.device_put(WEIGHTS, ane)
    before, compiled = donations(), jax_ane.stats().programs_compiled
    for _ in range(4):
        assert_same_bits([np.asarray(fn(first, X))], [np.asarray(plain(first, X))])
    assert donations() == before + 1
    second = jax.device_put([2 * w for w in WEIGHTS], ane)
    for weights in (second, first, second):
        assert_same_bits([np.asarray(fn(weights, X))], [np.asarray(plain(weights, X))])
    assert donations() == before + 2 and jax_ane.stats().programs_compiled == compiled


def test_memory_reused_for_other_weights_is_noticed(ane):
    """Donated buffers keep their address: what is looked at is the bytes."""
    baked = compiled_for(mlp, WEIGHTS, X, weights="baked")
    plain = compiled_for(mlp, WEIGHTS, X, weights="inputs")
    with jax.default_device(ane):
        update = jax.jit(lambda w: jax.tree.map(lambda v: v * 1.25, w), donate_argnums=0)
        weights = jax.device_put(WEIGHTS, ane)
        for _ in range(6):
            assert_same_bits([np.asarray(baked(weights, X))], [np.asarray(plain(weights, X))])
            weights = update(weights)


def test_layers_that_share_a_program_keep_their_own_weights(ane):
    fn = jax.jit(lambda x, w: jnp.tanh(x) @ w)
    with jax_ane.config(weights="baked"), jax.default_device(ane):
        before = donations()
        layers = [jax.device_put(w, ane) for w in WEIGHTS]
        for _ in range(3):
            x = jax.device_put(X, ane)
            for layer in layers:
                x = fn(x, layer)
        assert donations() == before + len(layers)


def test_weights_that_are_gone_leave_the_device(ane):
    fn = compiled_for(mlp, WEIGHTS, X, weights="baked")

    def loaded() -> int:
        return sum(row["loaded_programs"] for row in jax_ane.stats().devices)

    counts = []
    for seed in range(12):
        weights = jax.device_put([w + seed for w in WEIGHTS], ane)
        for _ in range(3):
            fn(weights, X).block_until_ready()
        counts.append(loaded())
        del weights
    assert max(counts[4:]) <= counts[3]


def test_threads_with_weights_of_their_own(ane):
    baked = compiled_for(mlp, WEIGHTS, X, weights="baked")
    plain = compiled_for(mlp, WEIGHTS, X, weights="inputs")

    def work(seed: int) -> None:
        weights = jax.device_put([w * (1 + seed / 8) for w in WEIGHTS], ane)
        want = np.asarray(plain(weights, X))
        for _ in range(20):
            assert_same_bits([np.asarray(baked(weights, X))], [want])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, seed) for seed in range(8)]:
            future.result()


def test_training_takes_the_same_steps(ane):
    def loss_fn(params, batch):
        return jnp.square(mlp(params, batch["x"]) - batch["y"]).mean()

    batch = {"x": X, "y": normal(8, 48, seed=9)}
    found = {}
    for weights in ("baked", "inputs"):
        with jax_ane.config(weights=weights), jax.default_device(ane):
            step = training.train_step(loss_fn, optax.adamw(1e-2))
            state = step.init(WEIGHTS)
            before = donations()
            losses = []
            for _ in range(5):
                state, metrics = step(state, batch)
                losses.append(np.asarray(metrics.loss))
            assert int(metrics.recompiled) == 0
            assert (donations() - before >= 5) == (weights == "baked")
            found[weights] = [*losses, *map(np.asarray, jax.tree.leaves(state.params))]
    assert_same_bits(found["baked"], found["inputs"])


def test_an_overwritten_blob_would_keep_the_old_weights(tmp_path):
    """Why weights are loaded under a new identity: the engine reads files once."""
    text = compiled_for(lambda x, w: jnp.tanh(x) @ w, X, WEIGHTS[0], weights="baked").as_text()
    text = text[text.index("program(1.3)") :]
    path = re.search(r'path = string\("@model_path/(.*?)"\)', text)[1]
    file = tmp_path / path
    file.parent.mkdir()

    def write(array: np.ndarray) -> None:
        file.write_bytes(blob.write([array.astype(np.float16)[None]]))

    write(WEIGHTS[0])
    program = mil.load(text, tmp_path)
    x = {"a000": X.astype(np.float16).reshape(1, -1)}
    old = mil.evaluate(program, x)["r000"]
    write(WEIGHTS[1])
    assert_same_bits([mil.evaluate(program, x)["r000"]], [old])
    new = mil.evaluate(mil.load_with_weights(program, tmp_path), x)["r000"]
    assert not np.array_equal(new, old)
    assert_same_bits([mil.evaluate(mil.load(text, tmp_path), x)["r000"]], [new])
