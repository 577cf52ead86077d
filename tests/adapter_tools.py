# SPDX-License-Identifier: Apache-2.0
"""What a training step of a Flax model must do whichever Flax it is: checks for both adapters.

The model is 16 inputs, an encoder of 64 with a batch norm, dropout and a head of 4.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from training_tools import BATCHES

from jax_ane import training


def plain(tree):
    """Keys as numbers."""

    def numbers(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(numbers, tree)


def check_counts(parameters):
    """With all but the head frozen."""
    assert parameters.trainable == 64 * 4 + 4
    assert parameters.total == 16 * 64 + 64 + 128 + 64 * 4 + 4
    text = str(parameters)
    assert "encoder/kernel" in text and "frozen 1,216" in text and "total 1,476" in text


def check_skipped_step(step):
    """`step` has a dynamic loss scale: a batch of NaN changes neither parameters nor the rest."""
    state, _ = step(step.init(), BATCHES[0])
    before = plain((state.params, state.model_state))
    bad = {**BATCHES[0], "x": np.full((32, 16), np.nan, np.float32)}
    state, metrics = step(state, bad)
    assert int(metrics.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, before, plain((state.params, state.model_state)))


def check_resumed_run(make_step, folder):
    """Five steps after a checkpoint of the fourth are those of a run of nine."""

    def run(steps, folder=None):
        step = make_step()
        return training.fit(step.step, step.init(), BATCHES, steps=steps, progress=False,
                            checkpoint_dir=folder).state  # fmt: skip

    whole = run(9)
    run(4, folder)
    jax.tree.map(np.testing.assert_array_equal, plain(whole), plain(run(9, folder)))


def check_evaluated_model(step, statistics):
    """The model that `eval_fn` gives has the statistics of the step at which it is evaluated."""
    seen = []

    def judge(model):
        seen.append(np.array(statistics(model)))
        return 0.0

    result = training.fit(step.step, step.init(), BATCHES, steps=4, eval_every=2, progress=False,
                          eval_fn=step.eval_fn(judge))  # fmt: skip
    assert len(seen) == 2 and np.abs(seen[0] - seen[1]).max() > 1e-3
    np.testing.assert_array_equal(seen[1], statistics(step.model(result.state)))
