# SPDX-License-Identifier: Apache-2.0
"""Lowering rules through StableHLO text, for what JAX itself never writes, and their shapes."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from compiler_tools import main, run_text
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_tools import assert_close, normal

import jax_ane
from jax_ane.compiler import lower, optable
from jax_ane.compiler.lower.dot import MAX_CONTRACTION
from jax_ane.compiler.lower.shape import unit_reshape
from jax_ane.compiler.passes.fold_constants import round_half_away


def compare(text, *args, tolerance=5e-3, placement="ane"):
    want = run_text(text, *args, device="cpu")
    with jax_ane.config(placement=placement):
        assert jax_ane.report.explain_program(text).programs, "nothing goes to the ANE"
        got = run_text(text, *args)
    assert_close(got, want, tolerance)


def unary(op, shape="4x6"):
    t = f"tensor<{shape}xf32>"
    return main(f"%0 = stablehlo.{op} %a : {t}\nreturn %0 : {t}", f"%a: {t}", t)


@pytest.mark.parametrize("op", ["abs", "ceil", "exponential", "floor", "logistic", "negate", "sign",
                                "tanh"])  # fmt: skip
def test_unary_rule(op):
    compare(unary(op), normal(4, 6) * 1.3 + 0.05)


@pytest.mark.parametrize("op", ["sqrt", "rsqrt"])
def test_unary_rule_of_positive_numbers(op):
    compare(unary(op), np.abs(normal(4, 6)) + 0.2)


@pytest.mark.parametrize("op", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
def test_binary_rule(op):
    t = "tensor<4x6xf32>"
    text = main(f"%0 = stablehlo.{op} %a, %b : {t}\nreturn %0 : {t}", f"%a: {t}, %b: {t}", t)
    compare(text, normal(4, 6), np.abs(normal(4, 6, seed=1)) + 0.5)


@pytest.mark.parametrize("direction", ["EQ", "NE", "LT", "LE", "GT", "GE"])
def test_compare_rule(direction):
    t, m = "tensor<4x6xf32>", "tensor<4x6xi1>"
    text = main(f"%0 = stablehlo.compare {direction}, %a, %b : ({t}, {t}) -> {m}\n"
                f"return %0 : {m}", f"%a: {t}, %b: {t}", m)  # fmt: skip
    a = np.round(normal(4, 6))
    compare(text, a, np.round(normal(4, 6, seed=1)))


@pytest.mark.parametrize("op", ["and", "or", "xor", "not"])
def test_logical_rule(op):
    m = "tensor<4x6xi1>"
    operands = "%a" if op == "not" else "%a, %b"
    text = main(f"%0 = stablehlo.{op} {operands} : {m}\nreturn %0 : {m}", f"%a: {m}, %b: {m}", m)
    compare(text, normal(4, 6) > 0, normal(4, 6, seed=1) > 0)


@pytest.mark.parametrize("dims", ["[0, 1]", "[1, 0]"])
def test_broadcast_rule_in_either_order(dims):
    a, t = "tensor<6x6xf32>", "tensor<6x6x3xf32>"
    text = main(f"%0 = stablehlo.broadcast_in_dim %a, dims = {dims} : ({a}) -> {t}\n"
                f"%1 = stablehlo.add %0, %0 : {t}\nreturn %1 : {t}", f"%a: {a}", t)  # fmt: skip
    compare(text, normal(6, 6))


@pytest.mark.parametrize("window", [(3, 2), (6, 5)], ids=["taps", "outputs"])
@pytest.mark.parametrize("flips", [("true", "false"), ("false", "true"), ("true", "true")], ids=str)
@pytest.mark.parametrize("dilate", [1, 2])
def test_convolution_rule_with_window_reversal(window, flips, dilate):
    """JAX reverses weights with an op of their own; XLA's attribute must work too."""
    extent = [8 + 2 * (d - 1) * (w - 1) for d, w in zip((dilate,) * 2, window, strict=True)]
    out = [e - (w - 1) * dilate for e, w in zip(extent, window, strict=True)]
    x, w = f"tensor<2x3x{extent[0]}x{extent[1]}xf32>", f"tensor<4x3x{window[0]}x{window[1]}xf32>"
    y = f"tensor<2x4x{out[0]}x{out[1]}xf32>"
    text = main(
        "%0 = stablehlo.convolution(%a, %b) dim_numbers = [b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1], "
        f"window = {{rhs_dilate = [{dilate}, {dilate}], reverse = [{flips[0]}, {flips[1]}]}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = 1 : i64}} : ({x}, {w}) -> {y}\n"
        f"return %0 : {y}", f"%a: {x}, %b: {w}", y,
    )  # fmt: skip
    # Not through cpu: XLA:CPU is no reference for this attribute in every version.
    a, b = normal(2, 3, *extent), normal(4, 3, *window, seed=1)
    axes = [2 + i for i, flip in enumerate(flips) if flip == "true"]
    with jax.default_device(jax.devices("cpu")[0]):
        want = jax.lax.conv_general_dilated(
            a, np.flip(b, axes).copy(), (1, 1), "VALID", rhs_dilation=(dilate, dilate)
        )
    assert jax_ane.report.explain_program(text).programs
    assert_close(run_text(text, a, b), [np.asarray(want)], 5e-3)


def test_reduce_rule_with_an_initial_value():
    t, r = "tensor<4x6xf32>", "tensor<4xf32>"
    text = main(f"%0 = stablehlo.reduce(%a init: %b) applies stablehlo.maximum across dimensions = "
                f"[1] : ({t}, tensor<f32>) -> {r}\nreturn %0 : {r}",
                f"%a: {t}, %b: tensor<f32>", r)  # fmt: skip
    compare(text, normal(4, 6), np.float32(1.25))


def test_every_lowered_op_has_a_row_and_every_row_a_rule():
    for name in lower.RULES:
        assert name in optable.TABLE, name
    for row in optable.TABLE.values():
        assert row.kind is optable.Kind.HOST or row.lowered, row.name


def test_two_rules_for_an_op_are_an_error():
    with pytest.raises(ValueError, match="two lowering rules"):
        lower.lowers("stablehlo.add")(lambda context, op: None)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(derandomize=True, deadline=None, max_examples=200, database=None)
def test_boundary_shape_keeps_the_elements(shape):
    folded = lower.boundary_shape(tuple(shape))
    assert math.prod(folded) == math.prod(shape)
    assert 2 <= len(folded) <= 3
    assert max(folded[1:]) <= 16384


@pytest.mark.parametrize(
    ("lazy", "source", "target", "want"),
    [((1, 4), (3, 4), (3, 1, 4), (1, 1, 4)), ((3, 1), (3, 4), (1, 3, 4), (1, 3, 1)),
     ((3, 4), (3, 4), (12,), None), ((1, 1, 4), (3, 1, 4), (3, 4), (1, 4))],
)  # fmt: skip
def test_unit_reshape(lazy, source, target, want):
    assert unit_reshape(lazy, source, target) == want


def test_contraction_limit_is_the_chips():
    from jax_ane import _chips

    assert _chips.load("M4")["max_matmul_inner"]["value"] == MAX_CONTRACTION


def test_round_half_away():
    values = np.array([2049.0, -2049.0, 1 + 2**-11, 4098.0, 2.0**-25, -(2.0**-25), 0.1, 70000.0])
    want = np.array([2050.0, -2050.0, 1 + 2**-10, 4100.0, 2.0**-24, -(2.0**-24), 0.0999755859375,
                     np.inf])  # fmt: skip
    np.testing.assert_array_equal(round_half_away(values).astype(np.float64), want)
