# SPDX-License-Identifier: Apache-2.0
"""Flax Linen models in a training step: collections, random streams, freezing, the model after."""

from __future__ import annotations

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from adapter_tools import (
    check_counts,
    check_evaluated_model,
    check_resumed_run,
    check_skipped_step,
    plain,
)
from training_tools import BATCHES

from jax_ane import precision, training

nn = pytest.importorskip("flax.linen", reason="flax is not installed")
from jax_ane.adapters import linen as ane_linen  # noqa: E402


class Net(nn.Module):
    rate: float = 0.2

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(64, name="encoder")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x))
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(4, name="head")(x)


def loss_fn(model, batch):
    logits = model(batch["x"], train=True)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return losses.mean(), {"accuracy": (logits.argmax(-1) == batch["y"]).mean()}


def make(model=None, seed=3, optimizer=None, **options):
    model = model or Net()
    variables = model.init(jax.random.key(0), BATCHES[0]["x"])
    options.setdefault("rngs", {"dropout": jax.random.key(seed)})
    optimizer = optimizer or optax.adam(1e-2)
    return variables, ane_linen.train_step(
        model, optimizer, loss_fn, variables=variables, **options
    )


@pytest.mark.parametrize("platform", ["ane", "cpu"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_linen_model_learns_with_its_statistics_and_streams(platform, accumulate):
    with jax.default_device(jax.devices(platform)[0]):
        variables, step = make(clamp=True, accumulate=accumulate)
        before = plain(variables)
        result = training.fit(step.step, step.init(), BATCHES, steps=30, progress=False)
        assert result.history[-1]["loss"] < 0.6 * result.history[0]["loss"]
        assert result.total("recompiled") == 0
        jax.tree.map(np.testing.assert_array_equal, before, plain(variables))
        logits = step.model(result.state)(BATCHES[0]["x"])
        same = Net().apply(step.variables(result.state), BATCHES[0]["x"])
    assert np.abs(step.variables(result.state)["batch_stats"]["norm"]["mean"]).max() > 0.01
    assert int(result.state.model_state["draws"]) == 30 * accumulate
    assert float((logits.argmax(-1) == BATCHES[0]["y"]).mean()) > 0.8
    np.testing.assert_array_equal(logits, same)


def test_losses_on_ane_are_those_on_cpu():
    def losses(platform):
        with jax.default_device(jax.devices(platform)[0]):
            _, step = make()
            result = training.fit(step.step, step.init(), BATCHES, steps=10, progress=False)
        return np.array([row["loss"] for row in result.history])

    np.testing.assert_allclose(losses("ane"), losses("cpu"), rtol=0.01)


def test_statistics_are_flaxs_own():
    variables, step = make(Net(rate=0.0))
    x = BATCHES[0]["x"]
    _, want = Net(rate=0.0).apply(variables, x, train=True, mutable=["batch_stats"])
    state, _ = step(step.init(), BATCHES[0])
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6),
        step.variables(state)["batch_stats"], dict(want["batch_stats"]),
    )  # fmt: skip


def losses_of_one_batch(seed, steps=4, **options):
    """Nothing is learned: what differs is the dropout."""
    _, step = make(seed=seed, optimizer=optax.sgd(0.0), **options)
    state, found = step.init(), []
    for _ in range(steps):
        state, metrics = step(state, BATCHES[0])
        found.append(float(metrics.loss))
    return found


def test_dropout_differs_from_step_to_step_and_repeats_with_its_key():
    first = losses_of_one_batch(seed=3)
    assert len(set(first)) == 4
    assert first == losses_of_one_batch(seed=3)
    assert not set(first) & set(losses_of_one_batch(seed=4))
    assert first == losses_of_one_batch(seed=3, rngs={"dropout": jax.random.PRNGKey(3)})


def test_frozen_parts_stay_and_are_counted():
    variables, step = make(freeze="^(encoder|norm)/")
    state, _ = step(step.init(), BATCHES[0])
    before, after = variables["params"], step.variables(state)["params"]
    np.testing.assert_array_equal(after["encoder"]["kernel"], before["encoder"]["kernel"])
    np.testing.assert_array_equal(after["norm"]["scale"], before["norm"]["scale"])
    assert not np.array_equal(after["head"]["kernel"], before["head"]["kernel"])
    check_counts(step.parameters)


def test_a_skipped_step_leaves_statistics_and_streams_alone():
    _, step = make(loss_scale=precision.DynamicLossScale(256.0))
    check_skipped_step(step)


def test_evaluation_gets_the_model_with_its_statistics():
    check_evaluated_model(make()[1], lambda model: model.variables["batch_stats"]["norm"]["mean"])


def test_a_resumed_run_has_the_streams_of_an_uninterrupted_one(tmp_path):
    check_resumed_run(lambda: make()[1], tmp_path)


def test_a_loss_without_aux_and_parameters_of_another_collection():
    from flax import core

    class Scale(nn.Module):
        @nn.compact
        def __call__(self, x):
            fixed = self.param("fixed", nn.initializers.ones, (4,))
            gain = self.variable("gains", "gain", lambda: jnp.ones(4))
            return x * fixed * gain.value

    variables = Scale().init(jax.random.key(0), jnp.ones((2, 4)))
    step = ane_linen.train_step(Scale(), optax.sgd(0.1), lambda model, x: jnp.mean(model(x) ** 2),
                                variables=core.freeze(variables), wrt="gains")  # fmt: skip
    state, metrics = step(step.init(), jnp.ones((2, 4)))
    assert float(metrics.loss) == pytest.approx(1)
    after = step.variables(state)
    np.testing.assert_array_equal(after["params"]["fixed"], np.ones(4))
    np.testing.assert_allclose(after["gains"]["gain"], np.full(4, 0.95), rtol=1e-3)


def test_a_missing_stream_is_named():
    _, step = make(rngs=None)
    with pytest.raises(ValueError, match=r'Dropout_0 needs PRNG for "dropout"(?s:.*)rngs='):
        step(step.init(), BATCHES[0])


def test_what_is_no_key_is_not_taken_for_one():
    for wrong, shape in ((0, r"\[\]"), (jax.random.split(jax.random.key(0)), r"\[2\]")):
        with pytest.raises(TypeError, match=rf"rngs\['dropout'\].*{shape}.*jax.random.key\(seed\)"):
            make(rngs={"dropout": wrong})


def test_a_model_without_parameters_is_not_trained():
    def step_of(model, variables, **options):
        return ane_linen.train_step(model, optax.sgd(0.1), loss_fn, variables=variables, **options)

    x = BATCHES[0]["x"]
    dropout = nn.Dropout(0.5, deterministic=True)
    with pytest.raises(ValueError, match="no parameters in the collection 'params', only nothing"):
        step_of(dropout, dropout.init(jax.random.key(0), x))
    variables = Net().init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="in the collection 'weights', only batch_stats, params"):
        step_of(Net(), variables, wrt="weights")
    with pytest.raises(ValueError, match="'params', only encoder, head, norm"):
        step_of(Net(), variables["params"])  # the collection itself, not all variables


def test_what_is_no_linen_model_is_refused():
    from flax import nnx

    for wrong, name in ((Net, "the class Net"), (nnx.Linear(2, 2, rngs=nnx.Rngs(0)), "a Linear")):
        with pytest.raises(TypeError, match=f"{name}, not an instance.*jax_ane.adapters.nnx"):
            ane_linen.train_step(wrong, optax.sgd(0.1), loss_fn, variables={})


def test_a_collection_that_grows_is_refused():
    class Sowing(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("seen", "mean", x.mean())
            return nn.Dense(4)(x)

    variables = Sowing().init(jax.random.key(0), BATCHES[0]["x"])

    def loss(model, batch):
        return jnp.mean(model(batch["x"]) ** 2)

    step = ane_linen.train_step(Sowing(), optax.sgd(0.1), loss, variables=variables)
    with pytest.raises(ValueError, match=r"changed seen/mean/1 from nothing to float32.*sow"):
        step(step.init(), BATCHES[0])
    params = {"params": variables["params"]}
    step = ane_linen.train_step(Sowing(), optax.sgd(0.1), loss, variables=params)
    step(step.init(), BATCHES[0])


def test_the_example_of_its_docstring():
    assert doctest.testmod(ane_linen) == (0, 7)
