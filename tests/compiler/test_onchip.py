# SPDX-License-Identifier: Apache-2.0
"""What does not stay on chip, and what that adds to the estimate and the report."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane
from jax_ane import _chips
from jax_ane.compiler import cost, mil, onchip

BUDGET = 2 * 2**20


class Maker(mil.Builder):
    def x(self, *shape):
        return self.input(mil.Type("fp16", shape))

    def matmul(self, x, y, transpose_x=False, transpose_y=False):
        flags = {"transpose_x": transpose_x, "transpose_y": transpose_y}
        return self.op("matmul", {"x": x, "y": y}, **flags)

    def finish(self, *outputs):
        self.program.outputs = list(outputs)
        mil.verify(self.program)
        return self.program


def conv(m, x, size):
    weight = m.x(x.shape[1], x.shape[1], size, size)
    return m.op(
        "conv", {"x": x, "weight": weight}, strides=(1, 1), pad_type="custom",
        pad=(size // 2,) * 4, dilations=(1, 1), groups=1,
    )  # fmt: skip


def two_gradients():
    """The gradient of a layer's output is read by rows and, turned, by columns."""
    m = Maker()
    dy = m.op("relu", {"x": m.x(8192, 1024)})
    dx = m.matmul(dy, m.x(512, 1024), transpose_y=True)
    dw = m.matmul(m.x(8192, 512), dy, transpose_x=True)
    return m.finish(dx, dw)


def test_a_value_read_by_rows_and_by_columns_is_spilled():
    (spill,) = onchip.find(two_gradients(), BUDGET)
    assert (spill.opcode, spill.size_bytes, spill.times) == ("relu", 2 * 8192 * 1024, 3)
    assert spill.moved_bytes == 3 * spill.size_bytes
    assert "16.0 MiB of relu" in str(spill) and "moved 3x" in str(spill)
    assert onchip.find(two_gradients(), 2 * 8192 * 1024) == ()


def test_an_output_is_written_at_the_border_already():
    program = two_gradients()
    program.outputs.append(program.ops[0].result)
    (spill,) = onchip.find(program, BUDGET)
    assert spill.times == 2


def columns_summed():
    """A softmax needs whole rows, the sum over rows takes them one after another."""
    m = Maker()
    y = m.op("softmax", {"x": m.x(4096, 1024)}, axis=1)
    return m.finish(m.op("reduce_max", {"x": y}, axes=(0,), keep_dims=True))


def through_a_reshape():
    m = Maker()
    y = m.op("reshape", {"x": m.op("exp", {"x": m.x(4, 1024, 1024)})}, shape=(4096, 1024))
    dx = m.matmul(y, m.x(1024, 64))
    return m.finish(dx, m.matmul(m.x(4096, 64), y, transpose_x=True))


@pytest.mark.parametrize(("build", "times"), [(columns_summed, 2), (through_a_reshape, 3)])
def test_no_cut_serves_these(build, times):
    (spill,) = onchip.find(build(), BUDGET)
    assert (spill.size_bytes, spill.times) == (2 * 2**22, times)


def chain_of_convolutions():
    m = Maker()
    x = m.x(1, 64, 256, 256)
    for _ in range(3):
        x = m.op("relu", {"x": conv(m, x, 3)})
    return m.finish(x)


def attention():
    m = Maker()
    q, k, v = (m.x(12, 1024, 64) for _ in range(3))
    scores = m.op("softmax", {"x": m.matmul(q, k, transpose_y=True)}, axis=2)
    return m.finish(m.matmul(scores, v))


def layers():
    m = Maker()
    x = m.op("relu", {"x": m.matmul(m.x(8192, 512), m.x(512, 2048))})
    flat = m.op("reshape", {"x": x}, shape=(8, 1024, 2048))
    norm = m.op("layer_norm", {"x": flat}, axes=(2,), epsilon=np.float16(1e-5))
    return m.finish(m.op("reduce_sum", {"x": norm}, axes=(2,), keep_dims=True))


def moved():
    """Transposes go through memory by themselves, as their cost says."""
    m = Maker()
    x = m.op("relu", {"x": m.x(4096, 1024)})
    return m.finish(m.op("exp", {"x": m.op("transpose", {"x": x}, perm=(1, 0))}))


@pytest.mark.parametrize("build", [chain_of_convolutions, attention, layers, moved])
def test_chains_of_one_cut_are_not_spilled(build):
    program = build()
    assert max(2 * op.result.type.size for op in program.ops) > BUDGET
    assert onchip.find(program, BUDGET) == ()
    assert cost.estimate(program, _chips.load("M4")).spills_s == 0


def test_tiles_are_no_narrower_than_the_chip_cuts_them():
    def columns(rows):
        m = Maker()
        y = m.op("softmax", {"x": m.x(rows, 512)}, axis=0)
        return m.finish(m.op("exp", {"x": y}))

    assert onchip.find(columns(8192), BUDGET) == ()  # 128 columns are 2 MiB
    assert len(onchip.find(columns(16384), BUDGET)) == 1


@pytest.mark.parametrize("chip", ["M1", "M2", "M3", "M4", "M5", "M6"])
def test_spills_are_bytes_over_the_dma_rate(chip):
    facts = _chips.load(chip)
    got = cost.estimate(two_gradients(), facts)
    moved = 3 * 2 * 8192 * 1024
    assert got.spills_s == pytest.approx(moved / (facts["dma_gb_per_s"]["value"] * 1e9))
    assert got.total_s == pytest.approx(got.call_s + got.copies_s + got.engine_s + got.spills_s)
    assert " spills)" in str(got) and (got * 2).spills_s == 2 * got.spills_s


def layer_gradients(x, w1, w2):
    def loss(w1, w2):
        return jnp.tanh(jnp.tanh(x @ w1) @ w2).sum()

    return jax.grad(loss, (0, 1))(w1, w2)


def test_explain_names_what_is_spilled_and_where():
    args = [np.zeros(shape, np.float32) for shape in ((8192, 256), (256, 1024), (1024, 1024))]
    report = jax_ane.explain(layer_gradients, *args)
    spills = [spill for program in report.programs for spill in program.spills]
    assert spills and all(spill.location.file == __file__ for spill in spills)
    text = report.to_text()
    assert "through memory, since no tile on chip serves all" in text and str(spills[0]) in text
    assert "through memory" in report.to_html()
    programs = report.to_dict()["programs"]
    assert [s["bytes"] for p in programs for s in p["spills"]] == [s.size_bytes for s in spills]
    assert sum(p["estimate"]["spills_s"] for p in programs) > 0


def test_explain_says_nothing_where_all_stays():
    report = jax_ane.explain(lambda x: jnp.tanh(x @ x), np.zeros((256, 256), np.float32))
    assert "through memory" not in report.to_text() and "spills" not in report.to_text()
