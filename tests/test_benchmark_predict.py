# SPDX-License-Identifier: Apache-2.0
"""`benchmarks/predict.py`: published times as they are read, and predictions of a small model."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest

import jax_ane
from jax_ane import _chips

pytest.importorskip("optax", reason="the steps train with optax, which is not installed")
ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
HEAD = "model,source,chip,ms,engine_ms,io_ms,notes\n"
SMALL = "tiny-ane 13.3M"


@pytest.fixture
def predict(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    ours = lambda: [n for n in sys.modules if n == "predict" or n.split(".")[0] == "models"]  # noqa: E731
    for name in ours():
        del sys.modules[name]
    yield importlib.import_module("predict")
    for name in ours():
        del sys.modules[name]


@pytest.fixture
def times(predict):
    with predict.PUBLISHED.open(newline="") as file:
        return predict.published(file)


def test_published_times_are_all_of_known_models_and_chips(predict, times):
    assert {time.model for time in times} == set(predict.DECODERS)
    assert {"M1", "M3", "M4", "M5"} == {time.base for time in times}
    found = {(time.source, time.chip): time for time in times}
    whole = found["mad report (issue #3)", "M1 Pro"]
    assert (whole.ms, whole.middle, whole.engine_ms) == ((148, 163), 155.5, "32-35")
    exact = found["mad#50 dynamic", "M5 Max"]
    assert (exact.ms, exact.base) == ((320, 320), "M5")
    assert found["mad#22 weights apart", "not stated"].base == "M4"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("other,them,M4,1,,,", "'other' is none of stories-110m"),
        (f"{SMALL},them,A17,1,,,", "'A17' is none of M1"),
        (f"{SMALL},them,M4,fast,,,", "could not convert string to float: 'fast'"),
        (f"{SMALL},them,M4,1,,,bz", "no note z"),
    ],
)
def test_a_line_that_is_wrong_is_named(predict, line, why):
    lines = [*HEAD.splitlines(), f"{SMALL},them,M4,1-2,,,b", line]
    with pytest.raises(ValueError, match="line 3: ") as caught:
        predict.published(lines)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words", "millions"),
    [
        ("stories-110m", 32000, 109.53),
        ("qwen3-0.6b, 9.2k words", 151936, 596),
        ("tiny-ane 13.3M", 32000, 13.3),
        ("small-ane 27.6M", 32000, 27.6),
        ("medium-ane 43.7M", 32000, 43.7),
        ("wide-ane 52.4M", 32000, 52.4),
        ("gpt 48.8M", None, 48.8),
        ("gpt 67.6M", None, 67.6),
        ("600m-A", None, 579),
    ],
)
def test_sizes_come_to_the_published_numbers_of_weights(predict, name, words, millions):
    decoder = predict.DECODERS[name]
    whole = dataclasses.replace(decoder, words=words or decoder.words)
    assert whole.count / 1e6 == pytest.approx(millions, rel=2e-3)


def test_the_parts_of_a_prediction(predict):
    """Against the plan's own estimate, and bytes and FLOPs counted by hand."""
    decoder = predict.Decoder(width=64, hidden=192, depth=1, words=0, length=64)
    made = predict.predict("block", decoder, "M4")
    with jax_ane.config(chip="M4"):
        plain = jax_ane.explain(decoder.loss(), decoder.params(), decoder.batch())
    assert made.calls >= sum(plain.placement.calls.values()) > 0
    rate = _chips.load("M4")["copy_gb_per_s"]["value"] * 1e9
    assert made.calls_ms == pytest.approx(made.calls * _chips.load("M4")["call_ms"]["value"])
    matrices = 4 * 64 * 64 + 3 * 64 * 192
    assert made.weights_ms == pytest.approx(1e3 * 2 * matrices / rate, rel=0.01)
    assert made.update_gb == pytest.approx(28 * (matrices + 2 * 64) / 1e9)
    assert made.engine_ms > 1e3 * plain.placement.estimate.engine_s
    assert made.copies_ms > 1e3 * plain.placement.estimate.copies_s
    assert 0 < made.host_gflop < 0.1 and 0.5 < made.ane_share < 1
    parts = made.calls_ms + made.copies_ms + made.weights_ms + made.engine_ms
    assert made.total_ms == pytest.approx(parts)


def test_a_larger_variant_copies_at_its_own_rate(predict):
    made = predict.Prediction("m", "M4", 10, 0.66, 28.6, 2.86, 5.0, 0.0, 0.0, 1.0)
    larger = made.on("M4 Max")
    assert larger.calls_ms == pytest.approx(0.82)
    assert larger.copies_ms == pytest.approx(8.83)
    assert larger.weights_ms == pytest.approx(0.883)
    assert larger.engine_ms == 5.0
    assert made.on("M5 Max").total_ms == made.total_ms


def test_the_table_has_prediction_and_published_time_side_by_side(python):
    done = python(
        str(BENCHMARKS / "predict.py"), "--only", SMALL, "--chips", "M4", "M5", "--json",
        PYTHONPATH=str(BENCHMARKS),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *text, data = done.stdout.splitlines()
    data = json.loads(data)
    totals = {row["chip"]: row["total_ms"] for row in data["predicted"]}
    assert set(totals) == {"M4", "M5"} and totals["M5"] < totals["M4"]
    (row,) = [line for line in text if "| slv sweep |" in line]
    assert row == (
        f"| {SMALL} | slv sweep | M4 | 26 |  | {totals['M4']:.0f} | {totals['M4'] / 26:.2f} "
        f"| {totals['M4']:.0f} | {totals['M5']:.0f} |  |"
    )


def test_the_page_in_docs_has_every_published_time(predict, times):
    """It takes long to print, so that a forgotten one would not be noticed otherwise."""
    page = (ROOT / "docs" / "results" / "predicted-steps.md").read_text()
    assert predict.HEADER in page and predict.FOOTER in page
    assert all(text in page for text in predict.NOTES.values())
    cells = {tuple(c.strip() for c in line.split("|")[1:5]) for line in page.splitlines()}
    for time in times:
        low, high = time.ms
        ms = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        assert (time.model, time.source, time.chip, ms) in cells
    parts = [line for line in page.splitlines() if line.count("|") == 12]
    assert len(parts) >= 2 + len(predict.DECODERS) * len(predict.CHIPS)
