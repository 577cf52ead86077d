# SPDX-License-Identifier: Apache-2.0
"""`examples/stories110m.py` with its tiny model, on both devices."""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest

for needed in ("optax", "orbax.checkpoint", "tqdm"):
    pytest.importorskip(needed, reason="the example trains with jax_ane.training")
from training_tools import write_chain  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"
WORDS = 512  # of the tiny model


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "tokens.bin"
    write_chain(path, WORDS, 20_000)
    return path


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("stories110m", "stories_model", "train_tokenizer", "training_run"):
        sys.modules.pop(name, None)
    import stories110m

    return stories110m


@pytest.fixture
def run(example, tokens, tmp_path, capsys):
    """Returns a function that trains and returns exit code, what it printed, and the log."""

    def train(*arguments, data=tokens, log="run.jsonl"):
        log = tmp_path / log
        code = example.main(
            ["--size", "tiny", "--data", str(data), "--out", str(tmp_path / "out"),
             "--log", str(log), "--learning-rate", "3e-3", *map(str, arguments)]
        )  # fmt: skip
        text = log.read_text() if log.exists() else ""
        return code, capsys.readouterr(), [json.loads(line) for line in text.splitlines()]

    return train


def steps_of(rows):
    return [row for row in rows if "step" in row]


@pytest.mark.parametrize("device", ["ane", "cpu"])
def test_it_learns_and_says_how(run, device):
    code, printed, rows = run("--steps", 60, "--every", 20, "--device", device)
    assert code == 0, printed.err
    config, *steps, summary = rows
    assert config["config"]["device"] == device
    assert ("ANE" in config["device_kind"]) == (device == "ane")
    assert [row["step"] for row in steps] == list(range(1, 61))
    assert {"loss", "grad_norm", "loss_scale", "skipped", "ms"} <= set(steps[0])
    summary = summary["summary"]
    losses = [row["loss"] for row in steps]
    assert abs(losses[0] - math.log(WORDS)) < 0.1
    assert summary["last_loss"] == pytest.approx(statistics.fmean(losses[-20:]))
    assert summary["last_loss"] < 4.5
    assert summary["nonfinite_values"] == summary["recompilations"] == 0
    lines = printed.out.splitlines()
    assert lines[0] == "   step     loss  grad norm  loss scale  skipped  ms/step"
    assert [line.split()[0] for line in lines[1:5]] == ["1", "20", "40", "60"]
    assert "0 non-finite values, 0 recompilations" in lines[5]


def test_both_devices_see_the_same_run(run):
    """The same weights, batches and schedule: losses differ by fp16 alone."""
    _, _, ours = run("--steps", 12, "--device", "ane", log="ane.jsonl")
    _, _, theirs = run("--steps", 12, "--device", "cpu", log="cpu.jsonl")
    a, b = ([row["loss"] for row in steps_of(rows)] for rows in (ours, theirs))
    assert np.allclose(a, b, rtol=5e-3)
    assert a != b


def test_a_run_goes_on_where_it_was_stopped(run, tmp_path):
    """Weights, moments, schedule, loss scale and batches: to the bit what one run does."""
    folder = ["--checkpoint-dir", tmp_path / "checkpoints", "--checkpoint-every", 4]
    whole = steps_of(run("--steps", 10, log="whole.jsonl")[2])
    example = sys.modules["training_run"]
    log = example.Log.__call__
    try:
        example.Log.__call__ = lambda self, step, metrics, state=None: (
            log(self, step, metrics), step == 6
        )[1]  # fmt: skip
        run("--steps", 10, *folder)
    finally:
        example.Log.__call__ = log
    _, _, rows = run("--steps", 10, *folder)
    steps = steps_of(rows)
    assert [row["step"] for row in steps] == list(range(1, 11))
    assert [row["loss"] for row in steps] == [row["loss"] for row in whole]
    code, printed, _ = run("--steps", 10, *folder)
    assert (code, printed.out) == (0, "10 steps are taken already: give more --steps\n")


def test_plain_does_without_what_is_special_to_fp16(run, example, monkeypatch):
    asked = []
    training = example.training_run.training
    make = training.train_step
    monkeypatch.setattr(
        training, "train_step", lambda *a, **k: asked.append((a, k)) or make(*a, **k)
    )
    _, _, careful = run("--steps", 3, "--device", "cpu", log="careful.jsonl")
    _, _, plain = run("--steps", 3, "--device", "cpu", "--plain", log="plain.jsonl")
    assert [k["clamp"] for _, k in asked] == [True, False]
    assert [k["loss_scale"] is None for _, k in asked] == [False, True]
    assert {row["loss_scale"] for row in steps_of(careful)} == {128}
    assert {row["loss_scale"] for row in steps_of(plain)} == {1}
    a, b = ([row["loss"] for row in steps_of(rows)] for rows in (careful, plain))
    assert np.allclose(a, b, rtol=1e-5)  # on the cpu nothing needs it


def test_a_text_is_tokenised_first_and_once(run, tmp_path):
    pytest.importorskip("tokenizers")
    text = tmp_path / "text.txt"
    text.write_text(
        "".join(f"The {i}th ship sails past the shore of {i * i}.\n" for i in range(300))
    )
    code, printed, rows = run("--steps", 3, "--length", 16, data=text)
    assert code == 0, printed.err
    made = tmp_path / "out" / "tokens" / "tokens.bin"
    before = made.stat().st_mtime_ns
    code, _, again = run("--steps", 3, "--length", 16, data=text, log="again.jsonl")
    assert code == 0 and made.stat().st_mtime_ns == before
    assert [r["loss"] for r in steps_of(again)] == [r["loss"] for r in steps_of(rows)]


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "no file has this path"), (b"", "it is empty"), (b"\1", "it is cut off"),
     (b"\0\2" * 99, "id 512 is not below vocab_size 512"), (b"\0\0" * 9, "fewer than the 33")],
    ids=["missing", "empty", "cut off", "other vocabulary", "short"],
)  # fmt: skip
def test_bad_tokens_are_a_finding_not_a_traceback(run, tmp_path, content, why):
    path = tmp_path / "tokens.bin"
    if content is not None:
        path.write_bytes(content)
    code, printed, _ = run("--steps", 3, data=path)
    assert code == 2
    assert printed.err.startswith("stories110m: ") and why in printed.err


def test_a_loss_that_is_not_finite_is_told(example, tmp_path):
    """In the log as null, in the summary as a count, unless the step was skipped."""
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        log = example.training_run.Log(1, file)
        for step, (loss, norm, skipped, bad) in enumerate(
            [(2.0, 1.0, 0, 0), (math.nan, math.nan, 1, 7), (3.0, math.inf, 0, 5), (1.0, 1.0, 0, 0)]
        ):
            log(step + 1, {"loss": loss, "grad_norm": norm, "loss_scale": 8.0, "skipped": skipped,
                           "clamped": 2, "nonfinite": bad, "recompiled": 0})  # fmt: skip
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["loss"] for row in rows] == [2.0, None, 3.0, 1.0]
    assert rows[2]["grad_norm"] is None
    done = example.training_run.summary(log, {"w": np.array([1, np.inf, np.nan], np.float32)}, 100)
    assert (done.nonfinite_values, done.skipped, done.clamped) == (5 + 2, 1, 8)


def test_rate_rises_then_falls_to_a_tenth(example):
    """Read off the updates of a weight that neither decays nor has more than one gradient."""
    optimiser = example.training_run.optimiser(
        peak=0.5, warm_up=5, steps=50, sanitise=True, mask=example.stories_model.decays
    )
    params = {"word": np.zeros((2, 2), np.float32)}
    state, rates = optimiser.init(params), []
    for _ in range(50):
        updates, state = optimiser.update({"word": np.ones((2, 2), np.float32)}, state, params)
        rates.append(-float(updates["word"][0, 0]))
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert rates[5] == pytest.approx(0.5, rel=1e-3) == max(rates)
    assert rates[49] == pytest.approx(0.05, rel=0.05)
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_a_run_may_end_while_the_rate_rises(run):
    code, printed, rows = run("--steps", 1, "--device", "cpu")
    assert code == 0, printed.err
    code, _, longer = run("--steps", 2, "--warm-up", 5, "--device", "cpu", log="longer.jsonl")
    assert code == 0
    assert len(steps_of(rows)) == 1 and len(steps_of(longer)) == 2


def test_the_command_line_is_checked(python):
    done = python(
        str(EXAMPLES / "stories110m.py"),
        "--data",
        "x.bin",
        "--steps",
        "0",
        PYTHONPATH=str(EXAMPLES),
    )
    assert done.returncode == 2
    assert "argument --steps: must be at least 1, not 0" in done.stderr
