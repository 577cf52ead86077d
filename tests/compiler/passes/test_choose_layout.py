# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pass_tools import SIMPLE, Maker, assemble, assert_same_bits, clean, evaluate, opcodes, programs

import jax_ane
from jax_ane import _chips, _native
from jax_ane.compiler import cost, mil, mil_text, passes
from jax_ane.compiler.passes.choose_layout import choose_layout

# A chip on which transposes cost nothing, so that small products change their layout too.
EAGER = {**_chips.load("M4"), "dma_gb_per_s": {"value": 1e9}}


def dense(m, x, width, weight=None, turned=False):
    if weight is None:
        random = np.random.default_rng(len(m.program.ops))
        shape = (width, x.shape[-1]) if turned else (x.shape[-1], width)
        weight = m.constant(random.standard_normal(shape) / 16)
    return m.op("matmul", {"x": x, "y": weight}, transpose_x=False, transpose_y=turned)


def mlp(layers=3, rows=(4, 160), width=192, are_inputs=False, turned=False):
    """Rank 3 between the products, rank 2 in them, as `dot_general` is lowered."""
    m = Maker()
    flat = (int(np.prod(rows)), width)
    x = m.x(*rows, width)
    for _ in range(layers):
        weight = m.x(width, width) if are_inputs else None
        x = m.unary("reshape", x, shape=flat)
        y = m.unary("reshape", dense(m, x, width, weight, turned), shape=(*rows, width))
        x = m.unary("relu", m.binary("add", y, m.x(1, 1, width)))
    return m.finish(x)


def settled(program, chip=EAGER, disabled=()):
    statistics = passes.run(program, disabled, validate=True, chip=chip)
    return statistics.get("choose_layout", 0)


@pytest.mark.parametrize("are_inputs", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_chain_changes_its_layout_and_keeps_its_bits(are_inputs, turned):
    ours, theirs = (mlp(are_inputs=are_inputs, turned=turned) for _ in range(2))
    assert settled(ours) == 3
    assert settled(theirs, disabled=("choose_layout",)) == 0
    found = opcodes(ours)
    assert found.count("conv") == 3 and "matmul" not in found
    assert found.count("transpose") == 2 + 3 * (are_inputs and not turned)
    assert_same_bits(evaluate(ours), evaluate(theirs))


def test_what_is_read_between_comes_back_to_rows():
    def build():
        m = Maker()
        x = m.x(640, 128)
        y = m.unary("tanh", dense(m, x, 128))
        scale = m.unary("exp", m.unary("reshape", m.x(640), shape=(640, 1)))
        z = dense(m, m.binary("mul", y, scale), 128)
        return m.finish(m.binary("add", z, x), m.unary("softmax", y, axis=1))

    ours, theirs = build(), build()
    assert settled(ours) == 2
    # x in, y and z out: the sum after the last product stays in rows.
    assert opcodes(ours).count("transpose") == 3
    assert_same_bits(evaluate(ours), evaluate(theirs))


def test_running_twice_changes_nothing():
    program = mlp()
    assert settled(program) == 3
    assert sum(passes.run(program, chip=EAGER).values()) == 0


def near_misses():
    def of_two_computed_values(m, x):
        return m.op(
            "matmul", {"x": x, "y": m.unary("tanh", x)}, transpose_x=False, transpose_y=True
        )

    def of_turned_rows(m, x):
        weight = m.constant(np.ones((640, 128)))
        return m.op("matmul", {"x": x, "y": weight}, transpose_x=True, transpose_y=False)

    def of_a_batch_of_weights(m, x):
        x = m.unary("reshape", x, shape=(2, 320, 128))
        weight = m.constant(np.ones((2, 128, 128)))
        return m.op("matmul", {"x": x, "y": weight}, transpose_x=False, transpose_y=False)

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("build", near_misses(), ids=lambda f: f.__name__)
def test_other_products_are_not_convolutions(build):
    m = Maker()
    assert choose_layout(m.finish(build(m, m.x(640, 128))), EAGER) == 0


@pytest.mark.parametrize(
    ("fact", "limit"), [("max_axis", 639), ("max_channels", 191), ("conv_input_weights", False)]
)
def test_not_where_a_constraint_forbids_it(fact, limit):
    program = mlp(are_inputs=True)
    assert choose_layout(program, {**EAGER, fact: {"value": limit}}) == 0
    assert choose_layout(program, EAGER) == 3


@pytest.mark.parametrize("chip", ["M1", "M2", "M3", "M5"])
def test_not_on_chips_without_a_published_rate(chip):
    wide = wide_chain(8, 2048, 4096)
    assert choose_layout(wide, _chips.load(chip)) == 0


def wide_chain(layers, width, rows, are_inputs=False):
    """A chain whose weights take no memory: turned inputs cost what constants do."""
    m = Maker()
    x = m.x(rows, width)
    for _ in range(layers):
        x = m.unary("relu", dense(m, x, width, m.x(width, width), turned=not are_inputs))
    return m.finish(x)


@pytest.mark.parametrize(
    ("chip", "layers", "width", "rows", "are_inputs", "wins"),
    [
        ("M4", 1, 8192, 4096, False, False),
        ("M4", 3, 2048, 4096, False, False),
        ("M4", 4, 1536, 4096, False, False),
        ("M4", 4, 1664, 4096, False, True),
        ("M4", 4, 2048, 4096, False, True),
        ("M4", 4, 4096, 4096, False, False),
        ("M4", 4, 2048, 1024, True, False),
        ("M6", 1, 1536, 4096, False, False),
        ("M6", 1, 1792, 4096, False, True),
        ("M6", 2, 1024, 1024, True, False),
        ("M6", 2, 1280, 4096, True, True),
        ("M6", 4, 1024, 256, False, False),  # one engine's work
    ],
)
def test_changes_what_the_cost_model_says_it_should(chip, layers, width, rows, are_inputs, wins):
    facts, kept = _chips.load(chip), range(1, layers + 1)
    program = wide_chain(layers, width, rows, are_inputs)
    before = cost.estimate(program, facts, kept).engine_s
    assert (choose_layout(program, facts) > 0) == wins
    clean(program, passes.drop_identities)
    after = cost.estimate(program, facts, kept).engine_s
    assert (after < before) if wins else (after == before)
    # What it would cost where it is not done.
    forced = wide_chain(layers, width, rows, are_inputs)
    choose_layout(forced, {**facts, "dma_gb_per_s": {"value": 1e9}})
    clean(forced, passes.drop_identities)
    assert (cost.estimate(forced, facts, kept).engine_s < before) == wins


@pytest.mark.parametrize("chip", ["M4", "M6"])
def test_the_chip_takes_it(chip):
    program = mlp()
    assert settled(program) == 3
    printed = mil_text.to_text(program)
    assert not _native.mil_check(printed.text, printed.blobs, _chips.load(chip))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(*SIMPLE, "silu"))
def test_random_programs_keep_their_bits(instructions):
    rates = ("conv1x1_tflops", "matmul_tflops_per_ocg", "weight_gb_per_s")
    few = {**EAGER, **{name: {"value": 1e9} for name in rates}}
    ours, theirs = (weighted(instructions) for _ in range(2))
    assert settled(ours, few) > 0
    settled(theirs, few, ("choose_layout",))
    assert_same_bits(evaluate(ours), evaluate(theirs))


def weighted(instructions) -> mil.Program:
    """A random program with products by weights before and after each of its outputs."""
    program = assemble(instructions)
    m = Maker()
    m.program = program
    outputs = []
    for value in program.outputs:
        y = m.unary("tanh", dense(m, value, 8))
        outputs += [dense(m, m.binary("add", y, m.constant(np.arange(8) / 8)), 8), y]
    return m.finish(*outputs)


def test_a_jax_chain_is_predicted_to_be_faster_on_m6():
    def fn(x, weights):
        for w in weights:
            x = jax.nn.relu(x @ w)
        return x

    arguments = np.zeros((4, 1024, 1280), np.float32), [np.zeros((1280, 1280), np.float32)] * 3
    with jax_ane.config(chip="M6", placement="ane"):
        (ours,) = jax_ane.explain(fn, *arguments).programs
        with jax_ane.config(disable_passes="choose_layout"):
            (theirs,) = jax_ane.explain(fn, *arguments).programs
    assert ours.text.count("= conv(") == 3 and "= matmul(" not in ours.text
    assert "= conv(" not in theirs.text
    assert ours.estimate.total_s < theirs.estimate.total_s
