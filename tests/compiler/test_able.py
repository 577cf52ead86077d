# SPDX-License-Identifier: Apache-2.0
"""Each reason to refuse an op: a program that breaks just that, and a neighbour that does not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import main, records, stablehlo_of
from jax import lax
from jaxlib.mlir import ir

import jax_ane

X = np.ones((8, 8), np.float32)
WIDE = np.ones((160, 160), np.float32)
SEVEN = np.ones((2,) * 7, np.float32)


def window(init, reducer, padding="VALID", **options):
    return lambda x: lax.reduce_window(x, init, reducer, (2, 2), (1, 1), padding, **options)


def conv(shape, window_shape, padding="SAME", **options):
    x, w = np.ones(shape, np.float32), np.ones(window_shape, np.float32)
    strides = (1,) * (len(shape) - 2)
    return lambda: lax.conv_general_dilated(x + 0, w, strides, padding, **options)


def max_pool(x, size):
    return lax.reduce_window(x, -jnp.inf, lax.max, size, (1, 1), "VALID")


# reason code: (op, a function that breaks just this, its neighbour on the ANE)
CASES = {
    "poles": ("tan", jnp.tan, None),
    "logarithm composite": ("composite", jnp.arcsinh, jnp.arccos),
    "logarithm": ("log", jnp.log, None),
    "sort": ("sort", lambda x: jnp.sort(x, 1), None),
    "non-finite": ("is_finite", jnp.isfinite, None),
    "complex": ("fft", lambda x: jnp.fft.rfft(x), None),
    "call": ("custom_call", lambda x: lax.linalg.triangular_solve(x, x), None),
    "control-flow": ("while", lambda x: lax.fori_loop(0, x[0, 0].astype(int), jnp.add, x), None),
    "integers": ("shift_left", lambda x: x.astype(int) << 2, None),
    "dtype f64 style": ("add", lambda x: x.astype(jnp.int32) + 1, lambda x: x + 1),
    "dtype bf16": ("multiply", lambda x: x.astype(jnp.bfloat16) * 2, lambda x: x * 2),
    "dynamic": (
        "dynamic_slice", lambda x: lax.dynamic_slice(x, (lax.convert_element_type(
            x[0, 0], jnp.int32), 0), (2, 2)),
        lambda x: lax.dynamic_slice(x, (np.int32(1), np.int32(0)), (2, 2))),
    "dtype integer and": (
        "and", lambda x: x.astype(jnp.int32) & 3, lambda x: (x > 0) & (x < 1)),
    "digits": (
        "reduce_precision", lambda x: lax.reduce_precision(x, 8, 7),
        lambda x: lax.reduce_precision(x, 8, 23)),
    "empty": ("add", lambda x: x[:0] + 1, lambda x: x[:1] + 1),
    "ANE001": (
        "reverse", lambda x: lax.rev(SEVEN * x[0, 0], (0, 2, 4, 6)),
        lambda x: lax.rev(SEVEN * x[0, 0], (0, 3, 6))),
    "ANE001 dot": (
        "dot_general", lambda x: jnp.einsum("abcdefg,bdfa->gec", SEVEN * x[0, 0], SEVEN[0, 0, 0]),
        lambda x: jnp.einsum("abcdefg,fg->abcde", SEVEN * x[0, 0], SEVEN[0, 0, 0, 0, 0])),
    "precision": (
        "dot_general", lambda x: jnp.dot(x, x, precision="highest"),
        lambda x: jnp.dot(x, x, precision="high")),
    "precision algorithm": (
        "dot_general", lambda x: lax.dot(x, x, precision=lax.DotAlgorithmPreset.F32_F32_F32),
        lambda x: lax.dot(x, x, precision=lax.DotAlgorithmPreset.DEFAULT)),
    "precision conv": (
        "convolution", conv((1, 2, 8, 8), (2, 2, 3, 3), precision="highest"),
        conv((1, 2, 8, 8), (2, 2, 3, 3), precision="default")),
    "ANE001 conv": (
        "convolution", conv((1, 2, 2, 2, 2, 2), (2, 2, 1, 1, 1, 1)),
        conv((1, 2, 2, 2, 2), (2, 2, 1, 1, 1))),
    "empty conv": (
        "convolution", conv((1, 1, 8, 8), (1, 1, 3, 3), ((-9, 12), (1, 1))),
        conv((1, 1, 8, 8), (1, 1, 3, 3), ((-5, 12), (1, 1)))),
    "taps": (
        "convolution", conv((1, 1, 24, 24), (1, 1, 17, 16)),
        conv((1, 1, 24, 24), (1, 1, 16, 16))),
    "reducer": (
        "reduce", lambda x: lax.reduce(x, np.float32(0), lambda a, b: a + 2 * b, (1,)), jnp.prod),
    "reducer window": (
        "reduce_window", lambda x: lax.cumlogsumexp(x, 1), lambda x: lax.cumprod(x, 1)),
    "taps pool": (
        "select_and_scatter",
        lambda x: jax.grad(lambda x: max_pool(WIDE * x[0, 0], (17, 16)).sum())(x),
        lambda x: jax.grad(lambda x: max_pool(WIDE * x[0, 0], (16, 16)).sum())(x)),
    "digits product": (
        "reduce", lambda x: jnp.prod(jnp.tile(x[0], 17)), lambda x: jnp.prod(jnp.tile(x[0], 16))),
    "digits cumulative": (
        "reduce_window", lambda x: lax.cumprod(jnp.tile(x[0], 17)),
        lambda x: lax.cumprod(jnp.tile(x[0], 16))),
    "ANE002": (
        "reduce_window", lambda x: lax.cummax(jnp.tile(x[0], 1025), 0),
        lambda x: lax.cummax(jnp.tile(x[0], 1024), 0)),
    "pad window": (
        "reduce_window", lambda x: window(-jnp.inf, lax.max, "SAME")(jnp.tile(x, (80, 80))),
        window(-jnp.inf, lax.max, "SAME")),
    "pad": (
        "pad", lambda x: lax.pad(x, x[0, 0], ((1, 1, 0), (0, 0, 0))),
        lambda x: jnp.pad(x, 1, constant_values=1.0)),
    "empty pad": (
        "pad", lambda x: lax.pad(x, 0.0, ((-8, 9, 0), (0, 0, 0))),
        lambda x: lax.pad(x, 0.0, ((-7, 9, 0), (0, 0, 0)))),
    "nan": ("select", lambda x: jnp.where(x > 0, x, jnp.nan), lambda x: jnp.where(x > 0, x, 1.0)),
    "vanishes": ("add", lambda x: x + 1e-8, lambda x: x + 1e-7),
    "overflows": ("multiply", lambda x: x * 1e5, lambda x: x * 1e4),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refusal_and_its_neighbour(case):
    op, broken, neighbour = CASES[case]
    wrapped = lambda x: broken(x) if _arity(broken) else broken()  # noqa: E731
    record = records(stablehlo_of(wrapped, X), "ane")[op]
    assert (record.placement, record.reason.code) == ("host", case.split()[0])
    assert record.reason.text and "no lowering rule" not in record.reason.text
    if neighbour is not None:
        wrapped = lambda x: neighbour(x) if _arity(neighbour) else neighbour()  # noqa: E731
        assert records(stablehlo_of(wrapped, X), "ane")[op].placement == "ane"


def _arity(fn) -> int:
    code = getattr(fn, "__code__", None)
    return 1 if code is None else code.co_argcount


def test_constants_are_seen_through_conversions():
    """`jnp.where(m, x, 0)` converts the weak constant: it must be the constant still."""
    fn = lambda x: jnp.where(x > 0, x, lax.convert_element_type(jnp.int32(3), "float32"))  # noqa: E731
    found = records(stablehlo_of(fn, X), "ane")
    assert found["select"].placement == "ane"
    wrong = lambda x: jnp.where(x > 0, x, lax.convert_element_type(jnp.float16(np.nan), "float32"))  # noqa: E731
    assert records(stablehlo_of(wrong, X), "ane")["select"].reason.code == "nan"


@pytest.mark.parametrize("fn", [jnp.sin, jnp.cos], ids=["sine", "cosine"])
def test_op_that_the_chip_lacks_goes_to_the_host_alone(fn):
    """The products around it stay on the engine, and the reason names the constraint."""
    program = stablehlo_of(lambda x: fn(x @ x) @ x, X)
    name = "sine" if fn is jnp.sin else "cosine"
    with jax_ane.config(chip="M2"):
        old = records(program)
    assert (old[name].placement, old[name].reason.code) == ("host", "ANE022")
    assert "M3" in old[name].reason.remedy
    assert old["dot_general"].placement == "ane"
    with jax_ane.config(chip="M3"):
        assert {op.placement for op in records(program).values()} == {"ane"}


def test_f64_is_refused():
    with jax.enable_x64(True):
        record = records(stablehlo_of(lambda x: x @ x, X.astype(np.float64)), "ane")["dot_general"]
    assert record.reason.code == "dtype"


def test_tokens_and_several_results_are_refused():
    def fn(x):
        jax.debug.print("{}", x[0, 0], ordered=True)
        return x @ x

    found = records(stablehlo_of(fn, X), "ane")
    assert found["dot_general"].placement == "ane"
    assert found["custom_call"].placement == "host"
    variadic = lambda x: lax.reduce(  # noqa: E731
        (x, x), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1] + b[1]), (0,)
    )
    assert records(stablehlo_of(variadic, X), "ane")["reduce"].reason.code == "results"


def test_product_of_masks_is_refused():
    text = main(
        "%0 = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : (tensor<4x4xi1>, "
        "tensor<4x4xi1>) -> tensor<4x4xf32>\nreturn %0 : tensor<4x4xf32>",
        "%a: tensor<4x4xi1>", "tensor<4x4xf32>",
    )  # fmt: skip
    assert records(text, "ane")["dot_general"].reason.code == "dtype"


def test_a_report_says_what_to_do_about_host_ops():
    text = str(jax_ane.explain(lambda x: jnp.tan(x @ x) @ jnp.sort(x, 1), X))
    assert "tan (poles): away from them write sin(x) / cos(x)" in text
    assert "sort (sort): use max or min" in text
    assert "what brings host ops" not in str(jax_ane.explain(lambda x: jnp.tanh(x @ x) @ x, X))


def test_every_host_row_of_the_table_says_why():
    from jax_ane.compiler import optable

    for row in optable.TABLE.values():
        assert row.lowered != (row.kind is optable.Kind.HOST), row.name
        assert bool(row.reason) == (row.kind is optable.Kind.HOST), row.name
        if row.reason is not None:
            assert row.reason.code != "no-rule" and row.reason.text and row.reason.remedy, row.name
    unheard_of = optable.row("stablehlo.unheard_of")
    assert unheard_of.kind is optable.Kind.HOST and unheard_of.reason is not None
    assert unheard_of.reason.code == "no-rule" and "unheard_of" in unheard_of.reason.text


def test_every_op_of_stablehlo_has_a_row():
    """But those that StableHLO itself deprecates, and what only stands inside another op."""
    from jaxlib.mlir.dialects import stablehlo

    from jax_ane.compiler import optable

    names = {
        held.OPERATION_NAME
        for held in vars(stablehlo).values()
        if isinstance(held, type) and issubclass(held, ir.OpView)
        if hasattr(held, "OPERATION_NAME")
    }
    assert len(names) > 80
    left_out = {
        "stablehlo." + name
        for name in ("batch_norm_grad", "batch_norm_inference", "batch_norm_training", "broadcast",
                     "dot", "einsum", "map", "return", "torch_index_select", "trace",
                     "unary_einsum", "cross-replica-sum")
    }  # fmt: skip
    assert names - set(optable.TABLE) <= left_out
