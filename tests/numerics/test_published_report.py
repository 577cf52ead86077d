# SPDX-License-Identifier: Apache-2.0
"""The quick published figures one by one, and that the report notices a miss."""

import dataclasses
import json

import figures
import pytest
import report
from figures import DATA, Figure

ALL = figures.figures()


@pytest.mark.parametrize("figure", [f for f in ALL if not f.slow], ids=lambda f: f.name)
def test_figure(figure):
    off = report.difference(figure.published, figure.ours())
    assert report.judge(figure, off) in ("ok", "open")


@pytest.mark.slow
@pytest.mark.parametrize("figure", [f for f in ALL if f.slow], ids=lambda f: f.name)
def test_slow_figure(figure):
    assert report.difference(figure.published, figure.ours()) <= figure.tolerance


def test_every_published_figure_is_listed():
    names = " ".join(f.name for f in ALL)
    assert len({f.name for f in ALL}) == len(ALL)
    for key, entry in DATA["fingerprints"].items():
        family = key.removesuffix("_4096").removesuffix("_vs_tanh_reference")
        found = [f for f in ALL if f.name.startswith(family)]
        assert {f.published for f in found} == set(numbers(entry)), key
    for case, _ in [
        *DATA["mac_probes_M4_M6"]["cases"],
        *DATA["mac_probes_M4_M6"]["M6_only"]["exponent_rule"],
        *DATA["mac_probes_M4_M6"]["M6_only"]["bias"],
        *DATA["mac_probes_M4_M6"]["M6_only"]["decode"],
        *DATA["pe_probes_M6"],
        *DATA["int8_probes_M6"],
    ]:
        assert case in names
    for table in set(DATA["lut_check"]) - {"columns"}:
        assert f"table {table}, max abs" in names
    assert "m5pro_dot32" in names
    assert names.count("attention_constant") == 3 * len(DATA["m5pro_attention_constant"])


def numbers(entry):
    """Yields the figures in a part of the data; its texts are comments."""
    if isinstance(entry, dict):
        for value in entry.values():
            yield from numbers(value)
    elif isinstance(entry, float):
        yield entry


def test_only_what_is_not_published_is_open():
    unproved = {f.name for f in ALL if f.kind == "open"}
    assert unproved == {
        "m5pro_dot32 on the device",
        "table sin, max ulp",
        "table inverse (extrapolated), max abs",
        "table inverse (extrapolated), max ulp",
        "table log, max abs",
        "table log, max ulp",
    }


def test_report_exits_with_1_after_a_miss(monkeypatch, capsys):
    good = next(f for f in ALL if f.name == "mac [2048,1]")
    wrong = dataclasses.replace(good, name="wrong", published=2050 * (1 + 2e-12))
    monkeypatch.setattr(report, "figures", lambda: [good])
    assert report.main([]) == 0
    assert "1 figures, 0 missed" in capsys.readouterr().out
    monkeypatch.setattr(report, "figures", lambda: [good, wrong])
    assert report.main([]) == 1
    assert "MISS" in capsys.readouterr().out
    assert report.main(["--json", "--only", "wrong"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "MISS" and row["ours"] == 2050


def test_infinities_and_zeros_are_compared():
    inf = float("inf")
    assert report.difference(inf, inf) == 0
    assert report.difference(inf, -inf) == inf
    assert report.difference(0, 2**-16) == 2**-16
    assert report.difference(100, inf) == inf
    assert report.judge(Figure("", 0, lambda: 0, "open"), 1) == "open"
