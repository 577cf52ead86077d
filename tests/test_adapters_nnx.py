# SPDX-License-Identifier: Apache-2.0
"""Flax NNX models in a training step: statistics, random streams, freezing, and the model after."""

from __future__ import annotations

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

nnx = pytest.importorskip("flax.nnx", reason="flax is not installed")
from jax_ane.adapters import nnx as ane_nnx  # noqa: E402


class Net(nnx.Module):
    def __init__(self, rngs):
        self.encoder = nnx.Linear(16, 64, rngs=rngs)
        self.norm = nnx.BatchNorm(64, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(64, 4, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.relu(self.norm(self.encoder(x)))))


def loss_fn(model, batch):
    logits = model(batch["x"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return losses.mean(), {"accuracy": (logits.argmax(-1) == batch["y"]).mean()}


def make(**options):
    model = Net(nnx.Rngs(0))
    return model, ane_nnx.train_step(model, optax.adam(1e-2), loss_fn, **options)


@pytest.mark.parametrize("platform", ["ane", "cpu"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_nnx_model_learns_with_its_statistics_and_streams(platform, accumulate):
    with jax.default_device(jax.devices(platform)[0]):
        model, step = make(clamp=True, accumulate=accumulate)
        before = nnx.to_pure_dict(nnx.state(model))
        result = training.fit(step.step, step.init(), BATCHES, steps=30, progress=False)
        assert result.history[-1]["loss"] < 0.6 * result.history[0]["loss"]
        assert result.total("recompiled") == 0
        unchanged = nnx.to_pure_dict(nnx.state(model))
        jax.tree.map(np.testing.assert_array_equal, plain(before), plain(unchanged))
        step.update(result.state)
    assert np.abs(np.asarray(model.norm.mean[...])).max() > 0.01
    assert int(model.dropout.rngs.count[...]) == 30 * accumulate
    model.eval()
    logits = model(jnp.asarray(BATCHES[0]["x"]))
    assert float((logits.argmax(-1) == BATCHES[0]["y"]).mean()) > 0.8


def test_frozen_parts_stay_and_are_counted():
    model, step = make(freeze="^(encoder|norm)/")
    state, _ = step(step.init(), BATCHES[0])
    trained_model = step.model(state)
    np.testing.assert_array_equal(trained_model.encoder.kernel[...], model.encoder.kernel[...])
    assert not np.array_equal(trained_model.head.kernel[...], model.head.kernel[...])
    check_counts(step.parameters)


def test_a_skipped_step_leaves_the_statistics_alone():
    _, step = make(loss_scale=precision.DynamicLossScale(256.0))
    check_skipped_step(step)


def test_a_resumed_run_has_the_streams_of_an_uninterrupted_one(tmp_path):
    check_resumed_run(lambda: make()[1], tmp_path)


def test_evaluation_gets_the_model_with_its_statistics():
    check_evaluated_model(make()[1], lambda model: model.norm.mean[...])
