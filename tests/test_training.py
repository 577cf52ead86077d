# SPDX-License-Identifier: Apache-2.0
"""Training steps and the loop: as a user writes them, on `ane` and on `cpu`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training_tools import (
    BATCHES,
    ENVIRONMENT,
    batch_of,
    fit,
    logits,
    loss_fn,
    mlp_params,
    new_step,
)

import jax_ane
from jax_ane import precision, training

ANE, CPU = jax.devices("ane")[0], jax.devices("cpu")[0]


@pytest.fixture(params=["ane", "cpu"])
def device(request):
    with jax.default_device({"ane": ANE, "cpu": CPU}[request.param]) as device:
        yield device


def leaves(tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def assert_same(a, b) -> None:
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def run(step, steps: int, params=None, batches=BATCHES):
    state = step.init(mlp_params() if params is None else params)
    seen = []
    for i in range(steps):
        state, metrics = step(state, batches[i % len(batches)])
        seen.append(metrics)
    return state, seen


# ---- The step


def test_step_can_be_explained():
    step = training.train_step(loss_fn, optax.adamw(1e-2), clamp=True)
    report = jax_ane.explain(step, step.init(mlp_params()), BATCHES[0])
    heavy = [op for op in report.ops if op.op == "stablehlo.dot_general"]
    assert heavy
    assert all(op.placement == "ane" for op in heavy)
    assert any(op.location.file.endswith("training_tools.py") for op in heavy)


def test_step_is_that_of_optax(device):
    opt = optax.adamw(1e-2)
    state, seen = run(training.train_step(loss_fn, opt), 5)
    params = jax.tree.map(jnp.asarray, mlp_params())
    opt_state = opt.init(params)

    @jax.jit
    def plain(params, opt_state, batch):
        loss, gradients = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = opt.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    for i in range(5):
        params, opt_state, loss = plain(params, opt_state, BATCHES[i])
        np.testing.assert_allclose(seen[i].loss, loss, rtol=1e-3)
    for ours, theirs in zip(leaves(state.params), leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-3)
    assert int(state.step) == 5


def test_nothing_is_compiled_after_the_first_step():
    with jax.default_device(ANE):
        step = training.train_step(loss_fn, optax.adam(1e-2), clamp=True,
                                   loss_scale=precision.DynamicLossScale())  # fmt: skip
        state, _ = step(step.init(mlp_params()), BATCHES[0])
        before = jax_ane.stats()
        for batch in BATCHES:
            state, metrics = step(state, batch)
            assert int(metrics.recompiled) == 0
        after = jax_ane.stats()
    assert after.programs_compiled == before.programs_compiled
    assert after.compilations == before.compilations
    assert after.evaluations > before.evaluations
    assert step.compilations == 1


@pytest.mark.parametrize("scale", [None, precision.StaticLossScale(1024.0)], ids=["none", "1024"])
def test_accumulated_gradients_are_those_of_the_whole_batch(device, scale):
    whole = training.train_step(loss_fn, optax.sgd(0.1), loss_scale=scale)
    parts = training.train_step(loss_fn, optax.sgd(0.1), loss_scale=scale, accumulate=4)
    a, seen_a = run(whole, 3)
    b, seen_b = run(parts, 3)
    for x, y in zip(leaves(a.params), leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
    for x, y in zip(seen_a, seen_b, strict=True):
        np.testing.assert_allclose(x.loss, y.loss, rtol=1e-3)
        np.testing.assert_allclose(x.grad_norm, y.grad_norm, rtol=3e-3)


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.adamw(1e-2)], ids=["sgd", "adamw"])
def test_steps_that_share_an_update_take_that_of_their_batches_together(device, optimizer):
    together = {key: np.concatenate([batch[key] for batch in BATCHES[:2]]) for key in BATCHES[0]}
    whole = training.train_step(loss_fn, optimizer, clip_norm=0.5)
    parts = training.train_step(loss_fn, optimizer, clip_norm=0.5, update_every=2)
    a, _ = run(whole, 2, batches=[together])
    b, _ = run(parts, 4, batches=BATCHES[:2])
    for x, y in zip(leaves(a.params), leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)
    assert int(b.step) == 4 and int(b.pending.steps) == 0


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.adamw(1e-2)], ids=["sgd", "adamw"])
def test_weights_stay_as_they_are_between_updates(device, optimizer):
    """A step that is not finite counts, but its gradients do not."""
    step = training.train_step(loss_fn, optimizer, update_every=3)
    state = step.init(mlp_params())
    spoilt = {**BATCHES[0], "x": np.full_like(BATCHES[0]["x"], np.nan)}
    before, skipped = leaves(state.params), []
    for number, batch in enumerate([BATCHES[0], spoilt, BATCHES[1]]):
        kept = [np.array(leaf) for leaf in before]
        state, metrics = step(state, batch)
        skipped.append(int(metrics.skipped))
        before = leaves(state.params)
        moved = any(not np.array_equal(x, y) for x, y in zip(kept, before, strict=True))
        assert moved == (number == 2)
    assert skipped == [0, 1, 0] and int(metrics.recompiled) == 0
    assert all(np.isfinite(leaf).all() for leaf in before)


def test_auxiliary_values_are_joined_over_micro_batches():
    def with_aux(params, batch):
        right = logits(params, batch["x"]).argmax(-1) == batch["y"]
        return loss_fn(params, batch), {"accuracy": right.mean(), "right": right.sum()}

    _, (whole,) = run(training.train_step(with_aux, optax.sgd(0.1)), 1)
    _, (parts,) = run(training.train_step(with_aux, optax.sgd(0.1), accumulate=4), 1)
    assert int(whole.aux["right"]) == int(parts.aux["right"])
    np.testing.assert_allclose(whole["aux"]["accuracy"], parts["aux"]["accuracy"], rtol=1e-6)
    assert "aux" in whole and set(run(training.train_step(loss_fn, optax.sgd(0.1)), 1)[1][0]) == {
        "loss", "grad_norm", "loss_scale", "skipped", "clamped", "nonfinite", "recompiled"
    }  # fmt: skip


def test_loss_scale_changes_nothing_but_rounding(device):
    plain, _ = run(training.train_step(loss_fn, optax.sgd(0.1)), 3)
    step = training.train_step(loss_fn, optax.sgd(0.1), loss_scale=precision.DynamicLossScale(256))
    scaled, seen = run(step, 3)
    for x, y in zip(leaves(plain.params), leaves(scaled.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
    assert [float(m.loss_scale) for m in seen] == [256.0] * 3


def exploding(params, batch):
    """Gradients are infinite where the batch says so; the loss is not."""
    bad = jnp.where(batch["bad"], jnp.inf, 0.0)

    @jax.custom_vjp
    def poison(w):
        return w

    poison.defvjp(lambda w: (w, None), lambda _, g: (g + bad,))
    return loss_fn({**params, "head": {**params["head"], "b": poison(params["head"]["b"])}}, batch)


def test_steps_that_are_not_finite_are_skipped_and_the_scale_backs_off(device):
    step = training.train_step(exploding, optax.adamw(1e-2),
                               loss_scale=precision.DynamicLossScale(1024.0))  # fmt: skip
    state = step.init(mlp_params())
    good = {**BATCHES[0], "bad": np.bool_(False)}
    bad = {**BATCHES[0], "bad": np.bool_(True)}
    state, metrics = step(state, good)
    assert int(metrics.skipped) == 0
    before = jax.tree.map(np.array, (state.params, state.opt_state))
    state, metrics = step(state, bad)
    assert int(metrics.skipped) == 1 and int(metrics.nonfinite) == 4
    assert np.isfinite(metrics.loss) and not np.isfinite(metrics.grad_norm)
    assert_same(before, (state.params, state.opt_state))
    assert float(state.loss_scale.scale) == 512.0
    state, metrics = step(state, good)
    assert int(metrics.skipped) == 0 and float(metrics.loss_scale) == 512.0
    assert int(state.step) == 3


def test_a_sanitising_optimiser_takes_the_step_without_the_bad_elements(device):
    opt = optax.chain(precision.sanitize_gradients(), optax.sgd(0.1))
    step = training.train_step(exploding, opt, clip_norm=1.0)
    state = step.init(mlp_params())
    state, metrics = step(state, {**BATCHES[0], "bad": np.bool_(True)})
    assert int(metrics.skipped) == 0 and int(metrics.nonfinite) == 4
    assert all(np.isfinite(leaf).all() for leaf in leaves(state))
    assert not np.array_equal(state.params["encoder"]["w"], mlp_params()["encoder"]["w"])
    np.testing.assert_array_equal(state.params["head"]["b"], 0)


def test_clamps_are_counted():
    params = mlp_params()
    params["encoder"]["w"] = params["encoder"]["w"] * np.float32(1e6)
    step = training.train_step(loss_fn, optax.sgd(0.0), clamp=True)
    _, (metrics,) = run(step, 1, params)
    assert int(metrics.clamped) >= 1 and np.isfinite(metrics.loss)
    _, (metrics,) = run(training.train_step(loss_fn, optax.sgd(0.0), clamp=True), 1)
    assert int(metrics.clamped) == 0


def test_gradients_are_clipped_over_all_parameters(device):
    step = training.train_step(loss_fn, optax.sgd(1.0), clip_norm=0.01)
    state, (metrics,) = run(step, 1)
    change = jax.tree.map(lambda a, b: np.asarray(a) - b, state.params, mlp_params())
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(change)))
    np.testing.assert_allclose(norm, 0.01, rtol=1e-3)
    assert float(metrics.grad_norm) > 0.01


@pytest.mark.parametrize("freeze", ["^encoder/", lambda path: path.startswith("encoder")])
def test_frozen_parameters_stay_and_have_no_optimiser_state(device, freeze):
    step = training.train_step(loss_fn, optax.adam(1e-2), freeze=freeze)
    state, _ = run(step, 3)
    assert_same(state.params["encoder"], mlp_params()["encoder"])
    assert not np.array_equal(state.params["head"]["w"], mlp_params()["head"]["w"])
    assert len(jax.tree.leaves(state.opt_state[0].mu)) == 2


def test_masters_are_float32_and_copies():
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), mlp_params())
    params["steps"] = jnp.int32(3)
    step = training.train_step(lambda p, b: loss_fn(p, b), optax.adam(1e-2))
    state, _ = run(step, 1, params)
    assert {str(leaf.dtype) for leaf in leaves(state.params)} == {"float32", "int32"}
    assert {str(leaf.dtype) for leaf in leaves(state.opt_state[0].mu)} == {"float32"}
    assert int(state.params["steps"]) == 3
    assert not params["encoder"]["w"].is_deleted()


def test_data_parallel_over_devices_is_the_step_of_one_device():
    code = """
import jax, json, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec as P
from jax_ane import training
import training_tools as t
devices = jax.devices("ane")
mesh = jax.sharding.Mesh(np.array(devices), ("data",))
losses = {}
for name, spec in (("one", None), ("four", P("data"))):
    step = training.train_step(t.loss_fn, optax.adamw(1e-2))
    with jax.default_device(devices[0]):
        state = step.init(t.mlp_params())
    if spec is not None:
        state = jax.device_put(state, NamedSharding(mesh, P()))
    losses[name] = []
    for batch in t.BATCHES:
        if spec is None:
            batch = jax.device_put(batch, devices[0])
        else:
            batch = jax.device_put(batch, NamedSharding(mesh, spec))
        state, metrics = step(state, batch)
        losses[name].append(float(metrics.loss))
try:
    divided = training.train_step(t.loss_fn, optax.adamw(1e-2), weight_gradients=devices[0])
    divided(state, batch)
except ValueError as error:
    losses["refused"] = str(error)
print(json.dumps(losses))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**ENVIRONMENT, "JAX_ANE_NUM_DEVICES": "4"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(losses["four"], losses["one"], rtol=2e-3)
    assert losses["refused"] == "weight_gradients: the state must be on one device"


def test_memory_is_flat_over_ten_thousand_steps():
    """Resident memory of a process of its own, from the 2,000th step on."""
    code = """
import jax
import training_tools as t
def resident():
    return int(open("/proc/self/statm").read().split()[1])
with jax.default_device(jax.devices("ane")[0]):
    step = t.new_step()
    state = step.init(t.mlp_params())
    for i in range(10_000):
        state, metrics = step(state, t.BATCHES[i % len(t.BATCHES)])
        if i == 2_000:
            before = resident()
    print(resident() / before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell the resident memory in /proc")
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 1.02


# ---- What a step refuses


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training.train_step(loss_fn, optax.sgd(1), accumulate=0), "accumulate"),
        (lambda: training.train_step(loss_fn, optax.sgd(1), update_every=0), "update_every"),
        (lambda: training.train_step(loss_fn, optax.sgd(1), clip_norm=-1), "clip_norm"),
        (lambda: training.train_step(loss_fn, optax.sgd(1), clamp=-1.0), "clamp"),
        (lambda: run(training.train_step(loss_fn, optax.sgd(1), freeze="nothing"), 1),
         "matches none.*encoder/b"),
        (lambda: run(training.train_step(loss_fn, optax.sgd(1), freeze="."), 1), "left to train"),
        (lambda: run(training.train_step(loss_fn, optax.sgd(1), accumulate=5), 1),
         r"x float32\[32, 16\].*accumulate=5"),
        (lambda: run(training.train_step(lambda p, b: b["x"], optax.sgd(1)), 1),
         r"float32\[32, 16\]"),
        (lambda: run(training.train_step(loss_fn, optax.sgd(1)), 1, batches=[batch_of(0)]),
         r"x float32\[0, 16\] is empty"),
        (lambda: run(training.train_step(loss_fn, optax.sgd(1)), 1, batches=[{}]), "no arrays"),
    ],
)  # fmt: skip
def test_refused(call, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        call()


def test_parameters_that_are_no_arrays_are_refused():
    with pytest.raises(TypeError, match="name is a str"):
        training.train_step(loss_fn, optax.sgd(1)).init({"name": "x"})


def test_changed_shapes_are_refused_unless_allowed():
    step = training.train_step(loss_fn, optax.sgd(0.1))
    state, _ = run(step, 1)
    with pytest.raises(ValueError, match=r"x is float32\[7, 16\] and was float32\[32, 16\]"):
        step(state, batch_of(7))
    state, _ = step(state, BATCHES[0])  # the state is still good
    step = training.train_step(loss_fn, optax.sgd(0.1), fixed_shapes=False)
    state, _ = run(step, 1)
    state, metrics = step(state, batch_of(8))
    assert int(metrics.recompiled) == 1
    state, metrics = step(state, batch_of(8))
    assert int(metrics.recompiled) == 0


def test_memory_is_estimated_before_the_first_step(monkeypatch):
    with jax.default_device(ANE):
        step = training.train_step(loss_fn, optax.adam(1e-2))
        found = training.estimate_memory(step, mlp_params(), BATCHES[0])
        assert step.compilations == 1
        run(step, 1)
        assert step.compilations == 1  # the same compilation serves the step
    count = sum(leaf.size for leaf in leaves(mlp_params()))
    assert found.params_bytes == 4 * count and found.images_bytes == 2 * count
    assert found.optimizer_bytes == 8 * count + 4
    assert found.batch_bytes == 32 * 17 * 4 and found.work_bytes > 0 and found.fits
    monkeypatch.setattr("jax_ane.training._memory._available_bytes", lambda: 1000)
    with pytest.warns(jax_ane.AneWarning, match="will not fit.*accumulate="):
        training.estimate_memory(step, mlp_params(), BATCHES[0])


# ---- The loop


def test_fit_learns_and_tells(device):
    seen = []

    def note(number, metrics, state):
        seen.append((number, metrics["loss"]))

    def judge(params):
        return {"loss": loss_fn(params, BATCHES[0]), "k": 1}

    result = fit(40, eval_fn=judge, eval_every=15, callbacks=[note])
    assert result.steps == 40 and [row["step"] for row in result.history] == list(range(1, 41))
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    assert [row["step"] for row in result.evaluations] == [15, 30, 40]
    assert result.best["step"] == 40 and result.best["k"] == 1
    assert seen == [(row["step"], row["loss"]) for row in result.history]
    assert result.total("skipped") == 0 and result.peak_memory_bytes > 0
    assert result.stopped_by is None and result.resumed_from is None


def counting(params, model_state, batch):
    return loss_fn(params, batch), model_state + 1


def test_evaluation_gets_the_model_state_where_it_takes_two_arguments():
    step = training.train_step(counting, optax.sgd(0.1))

    def judge(given):
        state = step.init(mlp_params(), jnp.int32(0))
        result = training.fit(step, state, BATCHES, steps=6, eval_every=3, eval_fn=given,
                              progress=False)  # fmt: skip
        return [row["loss"] for row in result.evaluations]

    assert judge(lambda params, model_state: model_state) == [3, 6]
    assert judge(lambda params, *, key=None: params["head"]["b"].size) == [4, 4]
    assert judge(lambda params, batch=7: batch) == [7, 7]  # a default is the user's own
    assert judge(lambda *given: len(given)) == [1, 1]
    assert judge(jax.jit(lambda params, model_state: model_state + 0.5)) == [3.5, 6.5]


def test_evaluation_without_model_state_gets_none():
    seen = []
    fit(2, eval_fn=lambda params, model_state: seen.append(model_state) or 1.0)
    assert seen == [None, None]


@pytest.mark.parametrize("judge", [lambda: 1.0, lambda a, b, c: 1.0, lambda a, *, b: 1.0])
def test_evaluation_that_cannot_be_called_is_refused_before_the_first_step(judge):
    with pytest.raises(TypeError, match=r"neither as eval_fn\(params\) nor as eval_fn\(params, m"):
        fit(1, eval_fn=judge, batches=[])


@pytest.mark.parametrize("kind", ["list", "function"])
def test_resumed_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, device, kind):
    def from_step(start):
        return (BATCHES[i % len(BATCHES)] for i in range(start, 1000))

    batches = {"list": BATCHES, "function": from_step}[kind]
    whole = fit(23, batches=batches)
    fit(10, tmp_path, batches=batches, checkpoint_every=4)
    second = fit(23, tmp_path, batches=batches, checkpoint_every=4)
    assert second.resumed_from == 10 and second.steps == 23
    assert_same(second.state, whole.state)
    assert [r["loss"] for r in second.history] == [r["loss"] for r in whole.history[10:]]


def test_the_newest_checkpoints_and_the_best_stay(tmp_path):
    losses = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    fit(10, tmp_path, checkpoint_every=2, keep=2, eval_every=2, eval_fn=lambda p: next(losses))
    with training.Checkpoints(tmp_path) as saved:
        assert saved.positions == [4, 8, 10] and saved.best == 4


# Orbax reads the leaves at the same time; where one fails, those that are late find its event loop
# closed and say so on their way out.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    fit(8, tmp_path, checkpoint_every=4)
    whole = fit(12)
    for path in (tmp_path / "8").rglob("d/*"):
        data = bytearray(path.read_bytes())
        for i in range(len(data) // 2, len(data)):
            data[i] ^= 0x5A
        path.write_bytes(data)
    with pytest.warns(training.CheckpointWarning, match="checkpoint 8 .* is damaged"):
        result = fit(12, tmp_path, checkpoint_every=4)
    assert result.resumed_from == 4
    assert_same(result.state, whole.state)
    with training.Checkpoints(tmp_path) as saved:
        assert saved.positions[-1] == 12


def test_silently_changed_values_are_found_by_their_checksum(tmp_path, monkeypatch):
    fit(4, tmp_path, checkpoint_every=2)
    from jax_ane.training import _checkpoints

    real = _checkpoints._checksum
    changed = lambda leaf: real(leaf) ^ (leaf.shape == (16, 64))  # noqa: E731
    monkeypatch.setattr(_checkpoints, "_checksum", changed)
    with training.Checkpoints(tmp_path) as saved:
        with pytest.raises(training.CheckpointError, match="checksum"):
            saved.restore(new_step().init(mlp_params()), position=4)
        with pytest.raises(training.CheckpointError, match="no checkpoint 3"):
            saved.restore(new_step().init(mlp_params()), position=3)


def test_checkpoint_of_another_model_is_an_error_that_names_the_difference(tmp_path):
    fit(2, tmp_path)
    other = mlp_params()
    other["head"]["w"] = np.zeros((64, 7), np.float32)
    step = training.train_step(loss_fn, optax.sgd(0.1))
    with pytest.raises(training.CheckpointMismatchError) as caught:
        training.fit(step, step.init(other), BATCHES, steps=3, progress=False,
                     checkpoint_dir=tmp_path)  # fmt: skip
    assert "params/head/w: saved float32[64, 4], wanted float32[64, 7]" in str(caught.value)
    assert "more" in str(caught.value)


def test_full_disk_is_an_error_and_older_checkpoints_stay(tmp_path, monkeypatch):
    fit(4, tmp_path, checkpoint_every=2)
    import orbax.checkpoint as ocp

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(training.CheckpointError, match="No space left on device"):
        fit(8, tmp_path, checkpoint_every=2)
    monkeypatch.undo()
    assert fit(6, tmp_path).resumed_from == 4


def test_checkpoint_that_fails_in_the_background_is_named(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    def failing(self):
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device")

    with training.Checkpoints(tmp_path) as saved:
        saved.save({"w": jnp.ones(3)}, 1)
        with monkeypatch.context() as patch:
            patch.setattr(ocp.CheckpointManager, "wait_until_finished", failing)
            with pytest.raises(training.CheckpointError, match=r"before 2 .*No space left"):
                saved.save({"w": jnp.ones(3)}, 2)
        assert saved.positions == [1]


def test_labels_out_of_range_are_named(tmp_path):
    bad = {**BATCHES[0], "y": BATCHES[0]["y"] + 3}
    with pytest.raises(training.TrainingDiverged) as caught:
        fit(5, tmp_path, batches=[bad])
    text = str(caught.value)
    assert "at the first step" in text and "batch y int32[32] lies in 3 to 6" in text
    assert "labels outside" in text
    assert_same(caught.value.state.params, mlp_params())
    assert [row["step"] for row in caught.value.history] == [1]
    assert caught.value.checkpoint is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["batch", "parameter"])
def test_a_loss_that_is_nan_from_the_start_says_where_it_comes_from(part):
    step, params, batches = new_step(), mlp_params(), BATCHES
    if part == "batch":
        batches = [{**BATCHES[0], "x": np.where(BATCHES[0]["x"] > 2, np.inf, BATCHES[0]["x"])}]
        words = r"batch x float\d+\[32, 16\] holds \d+ values that are not finite"
    else:
        params["head"]["w"][3, 1] = np.nan
        words = r"parameter head/w float32\[64, 4\] holds 1 values that are not finite"
    with pytest.raises(
        training.TrainingDiverged, match=f"(?s)at the first step.*{words}"
    ) as caught:
        training.fit(step, step.init(params), batches, steps=5, progress=False)
    assert_same(caught.value.state.params, params)
    assert caught.value.step == 1


def test_loss_that_becomes_nan_keeps_the_last_good_state(tmp_path):
    bad = {**BATCHES[0], "x": BATCHES[0]["x"] * np.float32(np.nan)}
    with pytest.raises(training.TrainingDiverged, match="for 3 steps in a row") as caught:
        fit(50, tmp_path, batches=[*BATCHES, *[bad] * 10], patience=3)
    assert_same(caught.value.state.params, fit(6).state.params)
    assert "batch x float32[32, 16] holds 512 values" in str(caught.value)
    with training.Checkpoints(tmp_path) as saved:
        found = saved.restore(new_step().init(mlp_params()))
        assert caught.value.checkpoint == saved.newest == tmp_path / str(found.position)
    assert_same(found.state.params, caught.value.state.params)


def test_a_run_that_diverges_tells_what_it_did(tmp_path):
    bad = {**BATCHES[0], "x": BATCHES[0]["x"] * np.float32(np.nan)}
    with pytest.raises(training.TrainingDiverged) as caught:
        fit(50, batches=[*BATCHES, *[bad] * 10], patience=3, eval_every=4, eval_fn=lambda p: 2.0)
    found, good = caught.value, fit(6)
    assert [row["step"] for row in found.history] == list(range(1, 10))
    assert found.history[:6] == good.history
    assert [row["skipped"] for row in found.history[6:]] == [1, 1, 1]
    assert [row["step"] for row in found.evaluations] == [4, 8]
    assert found.checkpoint is None


def test_a_run_that_diverges_on_a_full_disk_says_both(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    bad = {**BATCHES[0], "x": BATCHES[0]["x"] * np.float32(np.nan)}
    save = ocp.CheckpointManager.save

    def full(self, position, **options):
        if position > 8:
            raise OSError(28, "No space left on device")
        return save(self, position, **options)

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(training.TrainingDiverged, match=r"(?s)batch x.*No space left") as caught:
        fit(50, tmp_path, batches=[*BATCHES, *[bad] * 10], patience=3, checkpoint_every=4,
            eval_every=100)  # fmt: skip
    assert caught.value.checkpoint == tmp_path / "8"
    assert_same(caught.value.state.params, fit(6).state.params)


def by_weight(params, batch):
    """Its gradient is the batch's weight of each example; nothing else moves the loss."""
    return (params["w"] * batch["weight"]).mean() + batch["offset"]


def weighted(*weights, offset=lambda number: 1.0) -> list[dict]:
    return [{"weight": np.full(4, weight, np.float32), "offset": np.float32(offset(number))}
            for number, weight in enumerate(weights)]  # fmt: skip


def fit_weighted(batches, loss=by_weight):
    step = training.train_step(loss, optax.sgd(0.1))
    return training.fit(step, step.init({"w": np.ones(4, np.float32)}), iter(batches),
                        steps=len(batches), progress=False)  # fmt: skip


def test_gradients_that_stay_zero_are_told_once(device):
    with pytest.warns(training.ZeroGradientWarning) as caught:
        result = fit_weighted(weighted(1, *[0] * 30, 1, *[0] * 30))
    assert result.steps == 62
    (told,) = caught
    assert told.filename == __file__  # the caller of fit
    what, *rest = str(told.message).splitlines()
    assert what == "no gradient in 5 steps in a row: the run learns nothing"
    assert [line.split(":")[0] for line in rest] == ["  where", "  why", "  do"]
    assert "steps 2 to 6, loss 1, unchanged" in rest[0]
    assert "256" in rest[1] and "relu" in rest[1] and "frozen" in rest[1]
    assert "explain(step, state, batch).hazards" in rest[2] and "full_precision" in rest[2]


def test_single_steps_without_a_gradient_are_not_told():
    fit_weighted(weighted(1, 0, 1, 0, 0, 0, 0, 1, 0))


def test_a_loss_that_moves_without_a_gradient_is_told_later():
    batches = weighted(*[0] * 25, offset=lambda number: number % 3)
    fit_weighted(batches[:19])
    with pytest.warns(training.ZeroGradientWarning, match="in 20 steps in a row"):
        fit_weighted(batches)


def test_a_loss_that_came_down_to_zero_is_not_told():
    def hinge(params, batch):
        return jax.nn.relu(batch["offset"] - params["w"]).mean()

    batches = weighted(*[0] * 60, offset=lambda number: 1.2)
    assert fit_weighted(batches, hinge).history[-1]["loss"] == 0
    with pytest.warns(training.ZeroGradientWarning, match="loss 0, unchanged"):
        fit_weighted(batches, lambda params, batch: (params["w"] * 0).mean())


def test_a_norm_that_overflows_in_fp16_is_told():
    """Values of thousands: their squares are infinite, so the norm's output and gradient are 0."""

    def norm_loss(params, batch):
        hidden = batch["x"] @ params["encoder"]["w"] * 3000
        hidden = hidden * jax.lax.rsqrt(jnp.mean(hidden**2, -1, keepdims=True) + 1e-3)
        return jnp.mean((hidden @ params["head"]["w"] - 1) ** 2)

    def run_of(loss):
        step = training.train_step(loss, optax.adam(1e-2))
        return training.fit(step, step.init(mlp_params()), BATCHES[:1], steps=6, progress=False)

    with jax.default_device(ANE):
        with pytest.warns(training.ZeroGradientWarning):
            run_of(norm_loss)
        assert run_of(jax_ane.full_precision(norm_loss)).history[-1]["grad_norm"] > 0


@pytest.mark.parametrize("batches", [[], iter([]), lambda start: iter([])],
                         ids=["list", "iterator", "function"])  # fmt: skip
def test_no_batches_is_an_error(batches):
    with pytest.raises(ValueError, match="no batches"):
        fit(3, batches=batches)


def breaking_data(start):
    yield from BATCHES
    raise OSError("the data set's disk went away")


def breaking_callback(number, metrics, state):
    if number == 6:
        raise RuntimeError("the callback broke")


def breaking_evaluation(params):
    raise RuntimeError("the evaluation broke")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batches": [*BATCHES, batch_of(7)]}, r"x is float32\[7, 16\] and was float32\[32, 16\]"),
        ({"batches": [*BATCHES, {**BATCHES[0], "z": BATCHES[0]["x"]}]}, "other leaves"),
        ({"batches": [*BATCHES, batch_of(0)]}, "is empty"),
        ({"batches": breaking_data}, "disk went away"),
        ({"callbacks": [breaking_callback]}, "the callback broke"),
        ({"eval_fn": breaking_evaluation, "eval_every": 6}, "the evaluation broke"),
    ],
    ids=["shape", "leaves", "empty", "data", "callback", "evaluation"],
)
def test_an_error_in_mid_run_keeps_the_last_good_state(tmp_path, options, words):
    with pytest.raises((ValueError, OSError, RuntimeError), match=words) as caught:
        fit(20, tmp_path, **options)
    assert caught.value.__notes__ == [f"the state after step 6 is in {tmp_path / '6'}"]
    resumed, whole = fit(9, tmp_path), fit(9)
    assert resumed.resumed_from == 6
    assert_same(resumed.state, whole.state)


def test_an_error_in_mid_run_is_not_hidden_by_a_full_disk(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(OSError, match="disk went away") as caught:
        fit(20, tmp_path, batches=breaking_data)
    (note,) = caught.value.__notes__
    assert "step 6 cannot be saved" in note and "No space left on device" in note
    with pytest.raises(OSError, match="disk went away") as caught:
        fit(20, batches=breaking_data)
    assert not hasattr(caught.value, "__notes__")


def test_one_batch_is_enough_and_an_iterator_ends():
    assert fit(5, batches=BATCHES[:1]).steps == 5
    result = fit(50, batches=iter(BATCHES))
    assert result.steps == 6 and result.stopped_by == "data"


def test_callback_ends_the_run(tmp_path):
    result = fit(50, tmp_path, callbacks=[lambda n, metrics, state: n == 7])
    assert result.steps == 7 and result.stopped_by == "callback"
    assert fit(9, tmp_path).resumed_from == 7


@pytest.mark.parametrize("name", ["steps", "checkpoint_every", "keep", "patience", "eval_every"])
def test_numbers_that_cannot_work(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        fit(**{"steps": 3, name: 0})


RUN = """
import sys, time
import jax
import training_tools as t
jax.config.update("jax_default_device", jax.devices("ane")[0])
def slow(n, metrics, state):
    print("step", n, flush=True)
    time.sleep(0.05)
print(t.fit(int(sys.argv[2]), sys.argv[1], callbacks=[slow], checkpoint_every=5).steps)
"""


def start(folder, steps: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(steps)], env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(process: subprocess.Popen, line: str) -> None:
    assert process.stdout is not None
    for text in process.stdout:
        if text.strip() == line:
            return
    raise AssertionError(process.communicate()[1][-2000:])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)]
)
def test_signals_leave_a_checkpoint_of_the_last_step(tmp_path, number, code):
    process = start(tmp_path, 1000)
    wait_for(process, "step 7")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (code, 1), err[-2000:]  # Python turns SIGINT into an exception
    last = max([7, *(int(line.split()[1]) for line in out.splitlines() if line.startswith("step"))])
    with jax.default_device(ANE):
        result = fit(last + 3, tmp_path)
        assert result.resumed_from == last
        assert_same(result.state, fit(last + 3).state)


def test_killed_at_any_moment_loses_at_most_an_interval(tmp_path):
    for delay in (0.0, 0.023, 0.06):
        folder = tmp_path / str(delay)
        process = start(folder, 1000)
        # A checkpoint waits for the one before to be written: from step 10 on there is one.
        wait_for(process, "step 11")
        time.sleep(delay)
        process.kill()
        out, _ = process.communicate()
        last = max([11, *(int(t.split()[1]) for t in out.splitlines() if t.startswith("step "))])
        with jax.default_device(ANE):
            result = fit(last + 2, folder)
            assert result.resumed_from is not None and result.resumed_from >= last - 9
            assert_same(result.state, fit(last + 2).state)
        shutil.rmtree(folder)
