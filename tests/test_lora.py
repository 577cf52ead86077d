# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters: training them alone, merging, saving, and files that are not theirs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_tools import BATCHES, loss_fn, mlp_params

from jax_ane import training
from jax_ane.adapters import lora


def adapted_loss(params, batch):
    return loss_fn(lora.merge_lora(params), batch)


def trained(steps: int = 20):
    step = training.train_step(adapted_loss, optax.adam(3e-2), freeze=lora.FREEZE)
    state = step.init(lora.add_lora(mlp_params(), 4, "/w$", alpha=8.0))
    losses = []
    for i in range(steps):
        state, metrics = step(state, BATCHES[i % len(BATCHES)])
        losses.append(float(metrics.loss))
    return state, losses


@pytest.fixture(scope="module", params=["ane", "cpu"])
def adapted(request):
    with jax.default_device(jax.devices(request.param)[0]):
        return trained()


def test_new_adapters_change_nothing():
    merged = lora.merge_lora(lora.add_lora(mlp_params(), 4, "/w$"))
    jax.tree.map(np.testing.assert_array_equal, merged, mlp_params())


def test_only_adapters_are_trained(adapted):
    state, losses = adapted
    assert losses[-1] < 0.9 * losses[0]
    jax.tree.map(np.testing.assert_array_equal, state.params.base, mlp_params())
    assert set(state.params.adapters) == {"encoder/w", "head/w"}
    assert len(jax.tree.leaves(state.opt_state[0].mu)) == 4


def test_merged_parameters_are_the_model_with_adapters(adapted):
    params = adapted[0].params
    merged = lora.merge_lora(params)
    a, b = (np.asarray(params.adapters["head/w"][n]) for n in "ab")
    np.testing.assert_allclose(merged["head"]["w"], mlp_params()["head"]["w"] + 2 * a @ b,
                               atol=2e-3)  # fmt: skip
    np.testing.assert_array_equal(merged["head"]["b"], mlp_params()["head"]["b"])


def test_saved_adapters_come_back(adapted, tmp_path):
    params = adapted[0].params
    lora.save_lora(tmp_path / "a.safetensors", params)
    again = lora.load_lora(tmp_path / "a.safetensors", mlp_params())
    assert again.alpha == params.alpha == 8.0
    jax.tree.map(np.testing.assert_array_equal, again.adapters, params.adapters)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_stacked_matrices_have_stacked_adapters():
    params = lora.add_lora({"w": jnp.ones((3, 8, 4)), "b": jnp.ones(4)}, 2, ".")
    assert params.adapters["w"]["a"].shape == (3, 8, 2)
    assert lora.merge_lora(params)["w"].shape == (3, 8, 4)


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.safetensors"
    lora.save_lora(file, lora.add_lora(mlp_params(), 2, "head/w"))
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jax_ane._files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        lora.save_lora(file, lora.add_lora(mlp_params(), 4, "head/w"))
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lora.add_lora(mlp_params(), 0, "w"), "rank=0"),
        (lambda: lora.add_lora(mlp_params(), 8, "head/w"), r"rank=8.*head/w \[64, 4\]"),
        (lambda: lora.add_lora(mlp_params(), 2, "nothing"), "none of the matrices: encoder/w"),
        (lambda: lora.add_lora({"b": jnp.ones(3)}, 2, "."), "there are none"),
    ],
)
def test_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_files_that_are_not_theirs(tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError):
        lora.load_lora(file, mlp_params())
    lora.save_lora(file, lora.add_lora(mlp_params(), 2, "/w$"))
    other = mlp_params()
    other["head"]["w"] = np.zeros((64, 7), np.float32)
    with pytest.raises(ValueError, match=r"head/w is \[64, 7\]"):
        lora.load_lora(file, other)
    with pytest.raises(ValueError, match=r"another model, which has encoder/w\.a"):
        lora.load_lora(file, {"head": mlp_params()["head"]})
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match="damaged"):
        lora.load_lora(file, mlp_params())
    save_file({"x": np.ones(3)}, file)
    with pytest.raises(ValueError, match="no LoRA adapters"):
        lora.load_lora(file, mlp_params())
