# SPDX-License-Identifier: Apache-2.0
"""`examples/char_lstm.py` on a text of three sentences, on both devices."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

for needed in ("optax", "orbax.checkpoint", "tqdm"):
    pytest.importorskip(needed, reason="the example trains with jax_ane.training")

EXAMPLES = Path(__file__).parents[1] / "examples"
SENTENCES = ("the ship sails past the shore. ", "the cat sleeps on the mat. ", "rain fällt. ")
LETTERS = sorted(set("".join(SENTENCES)))


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("char_lstm", "training_run"):
        sys.modules.pop(name, None)
    import char_lstm

    return char_lstm


@pytest.fixture
def run(example, tmp_path, capsys):
    """Returns a function that trains and returns exit code, what it printed, and logged steps."""
    text = tmp_path / "text.txt"
    order = np.random.default_rng(0).integers(3, size=200)
    text.write_text("".join(SENTENCES[i] for i in order), encoding="utf-8")

    def train(*arguments, data=text, log="run.jsonl"):
        log = tmp_path / log
        code = example.main(
            ["--data", str(data), "--hidden", "32", "--length", "16", "--log", str(log),
             *map(str, arguments)]
        )  # fmt: skip
        lines = log.read_text().splitlines() if log.exists() else []
        rows = [json.loads(line) for line in lines]
        return code, capsys.readouterr(), [row for row in rows if "step" in row]

    return train


def test_both_devices_learn_and_write(run):
    losses = {}
    for device in ("ane", "cpu"):
        code, printed, rows = run("--steps", 60, "--every", 20, "--device", device, "--sample", 40,
                                  "--learning-rate", "2e-2", log=f"{device}.jsonl")  # fmt: skip
        assert code == 0, printed.err
        lines = printed.out.splitlines()
        assert lines[0].endswith(f" characters, {len(LETTERS)} of them different")
        assert [line.split()[0] for line in lines[2:6]] == ["1", "20", "40", "60"]
        assert "0 non-finite values, 0 recompilations" in lines[6]
        assert lines[8] == "it writes:" and len(lines[9]) == 41
        assert set(lines[9]) <= set(LETTERS)
        losses[device] = [row["loss"] for row in rows]
        assert abs(losses[device][0] - math.log(len(LETTERS))) < 0.2
        assert np.mean(losses[device][-5:]) < 1.5
    np.testing.assert_allclose(losses["ane"], losses["cpu"], rtol=2e-2)
    assert losses["ane"] != losses["cpu"]


def test_its_products_are_on_the_engine_in_the_loop_too(example):
    import jax
    import jax.numpy as jnp

    import jax_ane

    params = example.init(30, 32, 0)
    report = jax_ane.explain(jax.grad(example.loss), params, {"tokens": jnp.zeros((4, 17), int)})
    heavy = [op for op in report.ops if op.op == "stablehlo.dot_general"]
    assert {op.placement for op in heavy} == {"ane"}
    assert sum("while" in op.region for op in heavy) == 3


def test_a_run_goes_on_where_it_was_stopped(run, tmp_path):
    whole = run("--steps", 8, log="whole.jsonl")[2]
    folder = ["--checkpoint-dir", tmp_path / "checkpoints", "--steps", 8]
    run(*folder, "--until", 5)
    code, _, rows = run(*folder)
    assert code == 0
    assert [row["loss"] for row in rows] == [row["loss"] for row in whole]
    code, printed, _ = run(*folder)
    assert code == 0 and "8 steps are taken already" in printed.out


def test_letters_are_those_of_the_text(example, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abä𝄞ab", encoding="utf-8")
    letters, ids = example.read(path)
    assert letters == "abä𝄞" and ids.tolist() == [0, 1, 2, 3, 0, 1] and ids.dtype == np.int32


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "is empty"), (b"ab\xff\xfe", "not a text in UTF-8"),
     (b"short", "fewer than the 17")],
    ids=["missing", "empty", "not a text", "short"],
)  # fmt: skip
def test_bad_text_is_a_finding_not_a_traceback(run, tmp_path, content, why):
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    code, printed, _ = run("--steps", 3, data=path)
    assert code == 2
    assert printed.err.startswith("char_lstm: ") and why in printed.err
