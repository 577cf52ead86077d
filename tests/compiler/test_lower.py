# SPDX-License-Identifier: Apache-2.0
"""Lowering rules through StableHLO text, for what JAX itself never writes, and their shapes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import main, run_text, run_text_on_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from parity_tools import assert_close, normal, run

import jax_ane
from jax_ane.compiler import lower, optable
from jax_ane.compiler.lower.dot import MAX_CONTRACTION
from jax_ane.compiler.lower.shape import unit_reshape
from jax_ane.compiler.passes.fold_constants import round_half_away


def compare(text, *args, tolerance=5e-3):
    want = run_text(text, *args, device="cpu")
    assert_close(run_text_on_engine(text, *args), want, tolerance)


def unary(op, shape="4x6"):
    t = f"tensor<{shape}xf32>"
    return main(f"%0 = stablehlo.{op} %a : {t}\nreturn %0 : {t}", f"%a: {t}", t)


@pytest.mark.parametrize("op", ["abs", "ceil", "exponential", "floor", "logistic", "negate", "sign",
                                "tanh"])  # fmt: skip
def test_unary_rule(op):
    compare(unary(op), normal(4, 6) * 1.3 + 0.05)


@pytest.mark.parametrize("op", ["sine", "cosine", "cbrt"])
def test_unary_rule_within_its_row(op):
    """The table says how far a result may be from float32's, for operands of order 1."""
    x = normal(40, 60).astype(np.float16).astype(np.float32)
    text = unary(op, "40x60")
    want = run_text(text, x, device="cpu")[0]
    got = run_text_on_engine(text, x)[0]
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error <= optable.row(f"stablehlo.{op}").tolerance


@pytest.mark.parametrize("op", ["round_nearest_afz", "round_nearest_even"])
def test_rounding_rule_at_every_fp16_number(op):
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)].astype(np.float32).reshape(-1, 64)
    text = unary(op, f"{x.shape[0]}x64")
    want = run_text(text, x, device="cpu")[0]
    np.testing.assert_array_equal(run_text_on_engine(text, x)[0], want)


BASES = np.concatenate([-(2.0 ** np.arange(-3, 4)), [-1.5, -0.3, 0.3, 1.25, 3.0], np.zeros(1)])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 5, 8, 9, 10, -1, -2, -3, 0.5, -0.5, 1.5,
                                      0.3333, -0.7])  # fmt: skip
def test_power_rule_by_a_constant(exponent):
    """Each has its own form; negative bases count where the exponent is whole."""
    whole = exponent == int(exponent)
    x = BASES[(BASES != 0) | (exponent > 0)]
    x = (x if whole else np.abs(x)).astype(np.float32)
    t = f"tensor<{x.size}xf32>"
    text = main(f"%c = stablehlo.constant dense<{float(exponent)}> : {t}\n"
                f"%0 = stablehlo.power %a, %c : {t}\nreturn %0 : {t}", f"%a: {t}", t)  # fmt: skip
    want = run_text(text, x, device="cpu")[0]
    got = run_text_on_engine(text, x)[0]
    want = np.where(np.abs(want) > 65504, np.copysign(np.inf, want), want)
    np.testing.assert_allclose(got, want, rtol=5e-3, atol=1e-7)


def test_power_rule_by_run_time_exponents():
    x, y = (v.astype(np.float32).reshape(-1) for v in np.meshgrid(BASES, np.arange(-3, 4)))
    keep = (x != 0) | (y >= 0)
    x, y = x[keep], y[keep]
    extra = np.abs(normal(16)) + 0.1
    x, y = np.concatenate([x, extra]), np.concatenate([y, normal(16, seed=1)])
    t = f"tensor<{x.size}xf32>"
    text = main(f"%0 = stablehlo.power %a, %b : {t}\nreturn %0 : {t}", f"%a: {t}, %b: {t}", t)
    compare(text, x, y)


@pytest.mark.parametrize("divisor", [None, 1.5, -0.75, 2.0])
def test_remainder_rule(divisor):
    """The signs are the dividend's, whatever the divisor's."""
    x = (normal(8, 16) * 4).astype(np.float16).astype(np.float32)
    y = np.round(normal(8, 16, seed=1) * 4) / 4
    y = np.where(y == 0, 0.5, y).astype(np.float32)
    t = "tensor<8x16xf32>"
    second = "%b" if divisor is None else "%c"
    text = main(f"%c = stablehlo.constant dense<{divisor or 0.0}> : {t}\n"
                f"%0 = stablehlo.remainder %a, {second} : {t}\nreturn %0 : {t}",
                f"%a: {t}, %b: {t}", t)  # fmt: skip
    want = run_text(text, x, y, device="cpu")[0]
    got = run_text_on_engine(text, x, y)[0]
    size = np.abs(np.full_like(y, divisor) if divisor else y)
    # Next to a multiple of the divisor the whole divisor is as right as 0.
    error = np.abs(got - want)
    assert (np.minimum(error, np.abs(error - size)) <= 2e-3 * np.maximum(np.abs(x), size)).all()
    assert (error <= 2e-3 * np.maximum(np.abs(x), size)).mean() > 0.95


def test_atan2_rule_in_all_directions():
    angle = np.linspace(-np.pi, np.pi, 257)[:-1] + 1e-3
    length = np.array([[1e-3], [1.0], [300.0]])
    y, x = (np.concatenate([(length * f(angle)).reshape(-1), [0, 0, 1, -1]]).astype(np.float32)
            for f in (np.sin, np.cos))  # fmt: skip
    x[-4:] = [0, 2, 0, 0]
    t = f"tensor<{x.size}xf32>"
    text = main(f"%0 = stablehlo.atan2 %a, %b : {t}\nreturn %0 : {t}", f"%a: {t}, %b: {t}", t)
    want = run_text(text, y, x, device="cpu")[0]
    got = run_text_on_engine(text, y, x)[0]
    assert np.abs(got - want).max() <= optable.row("stablehlo.atan2").tolerance


@pytest.mark.parametrize(("fn", "low", "high"), [(jnp.arcsin, -1, 1), (jnp.arccos, -1, 1),
                         (jnp.sinh, -11.5, 11.5), (jnp.cosh, -11.5, 11.5), (jnp.sinh, -0.1, 0.1),
                         (lax.erf, -4, 4)])  # fmt: skip
def test_composite_rule_over_its_range(fn, low, high):
    x = np.linspace(low, high, 1000).astype(np.float16).astype(np.float32)
    with jax_ane.config(placement="ane"):
        assert jax_ane.explain(fn, x).programs
    want, got = (run(fn, (x,), device, "ane")[0] for device in ("cpu", "ane"))
    limit = 1e-2 if high > 11 else 5e-3  # 2^-7 apart, arguments of exp are 0.4 % from each other
    assert np.abs(got - want).max() / np.abs(want).max() <= limit


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
    assert_close(run_text_on_engine(text, a, b), [np.asarray(want)], 5e-3)


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
