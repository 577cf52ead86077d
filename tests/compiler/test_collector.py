# SPDX-License-Identifier: Apache-2.0
"""The cycle collector during a compilation."""

from __future__ import annotations

import gc

import pytest

from jax_ane.compiler import collector, frontend, pipeline

ADD = """module { func.func public @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %b = stablehlo.add %a, %a : tensor<4xf32>
  return %b : tensor<4xf32>
} }"""


def test_a_compilation_does_not_collect(monkeypatch):
    seen = []
    normalise = frontend.normalise

    def watched(module):
        seen.append(gc.isenabled())
        normalise(module)

    monkeypatch.setattr(frontend, "normalise", watched)
    pipeline.compile(ADD, load=False)
    assert seen == [False]
    assert gc.isenabled()


def test_a_failed_compilation_collects_again():
    with pytest.raises(ValueError):
        pipeline.compile("no program", load=False)
    assert gc.isenabled()


def test_the_last_of_overlapping_holders_enables():
    first, second = collector.paused(), collector.paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_disabled_collector_stays_disabled():
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
