# SPDX-License-Identifier: Apache-2.0
"""Matrix products in every form of `dot_general`: `ane` against `cpu`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parity_tools import check_exact, check_parity, normal, run

import jax_ane

# (lhs shape, rhs shape, ((lhs contracting, rhs contracting), (lhs batch, rhs batch)))
FORMS = {
    "plain": ((24, 40), (40, 17), (((1,), (0,)), ((), ()))),
    "lhs_transposed": ((40, 24), (40, 17), (((0,), (0,)), ((), ()))),
    "rhs_transposed": ((24, 40), (17, 40), (((1,), (1,)), ((), ()))),
    "both_transposed": ((40, 24), (17, 40), (((0,), (1,)), ((), ()))),
    "vector_vector": ((40,), (40,), (((0,), (0,)), ((), ()))),
    "matrix_vector": ((24, 40), (40,), (((1,), (0,)), ((), ()))),
    "vector_matrix": ((40,), (40, 24), (((0,), (0,)), ((), ()))),
    "outer": ((24,), (17,), (((), ()), ((), ()))),
    "scalar_scalar": ((), (), (((), ()), ((), ()))),
    "scalar_matrix": ((), (6, 7), (((), ()), ((), ()))),
    "batch_first": ((3, 8, 16), (3, 16, 9), (((2,), (1,)), ((0,), (0,)))),
    "batch_last": ((8, 16, 3), (16, 9, 3), (((1,), (0,)), ((2,), (2,)))),
    "batch_middle": ((8, 3, 16), (16, 3, 9), (((2,), (0,)), ((1,), (1,)))),
    "batch_crossed": ((3, 8, 16), (16, 9, 3), (((2,), (0,)), ((0,), (2,)))),
    "two_batches": ((2, 3, 8, 16), (2, 3, 16, 5), (((3,), (2,)), ((0, 1), (0, 1)))),
    "batches_swapped": ((2, 3, 8, 16), (3, 2, 16, 5), (((3,), (2,)), ((0, 1), (1, 0)))),
    "batch_only": ((7, 16), (7, 16), (((1,), (1,)), ((0,), (0,)))),
    "batch_all": ((7, 5), (7, 5), (((), ()), ((0, 1), (0, 1)))),
    "two_contracted": ((8, 4, 6), (4, 6, 9), (((1, 2), (0, 1)), ((), ()))),
    "two_contracted_swapped": ((8, 4, 6), (6, 4, 9), (((1, 2), (1, 0)), ((), ()))),
    "contracted_apart": ((4, 8, 6), (6, 9, 4), (((0, 2), (2, 0)), ((), ()))),
    "three_contracted": ((3, 4, 5, 8), (3, 4, 5, 9), (((0, 1, 2), (0, 1, 2)), ((), ()))),
    "batch_and_two_contracted": (
        (4, 3, 8, 6), (6, 9, 3, 4), (((0, 3), (3, 0)), ((1,), (2,)))),
    "free_on_both_sides": ((5, 16, 6), (7, 16, 3), (((1,), (1,)), ((), ()))),
    "ones_everywhere": ((1, 24, 1, 40), (40, 1, 17), (((3,), (0,)), ((), ()))),
    "contract_one": ((24, 1), (1, 17), (((1,), (0,)), ((), ()))),
    "row_of_one": ((1, 40), (40, 1), (((1,), (0,)), ((), ()))),
    "rank_five": ((2, 2, 2, 5, 8), (2, 2, 2, 8, 3), (((4,), (3,)), ((0, 1, 2), (0, 1, 2)))),
    "odd_sizes": ((33, 65), (65, 31), (((1,), (0,)), ((), ()))),
    "long": ((3, 1000), (1000, 5), (((1,), (0,)), ((), ()))),
}  # fmt: skip


def dot(numbers, **options):
    return lambda a, b: lax.dot_general(a, b, numbers, **options)


@pytest.mark.parametrize("name", FORMS)
def test_dot_general(name):
    lhs, rhs, numbers = FORMS[name]
    check_parity(dot(numbers), normal(*lhs), normal(*rhs, seed=1))


@pytest.mark.parametrize("name", FORMS)
def test_dot_general_gradients(name):
    lhs, rhs, numbers = FORMS[name]
    fn = dot(numbers)
    check_parity(
        jax.grad(lambda a, b: (fn(a, b) ** 2).sum(), argnums=(0, 1)),
        normal(*lhs), normal(*rhs, seed=1), tolerance=1e-2, placements=("auto",),
    )  # fmt: skip


RANK_SIX = ((2, 2, 1, 2, 3, 8), (2, 2, 1, 2, 8, 3), (((5,), (4,)), ((0, 1, 2, 3), (0, 1, 2, 3))))


def test_dot_general_above_rank_five():
    """Axes that stay together are one."""
    lhs, rhs, numbers = RANK_SIX
    check_parity(dot(numbers), normal(*lhs), normal(*rhs))


def test_dot_general_not_of_six_runs_of_axes():
    """Rank 7 with every second axis contracted: no five axes spell the move."""
    numbers = (((1, 3, 5), (0, 1, 2)), ((), ()))
    check_exact(dot(numbers), normal(*(2,) * 7), normal(2, 2, 2, 3))


@pytest.mark.parametrize("types", ["f16 f16", "f16 f16 f32", "f32 f32 f16", "f16 f32 f32"])
def test_dot_general_of_halves(types):
    lhs, rhs, *out = (np.dtype(name.replace("f", "float")) for name in types.split())
    options = {"preferred_element_type": out[0]} if out else {}
    check_parity(
        dot(FORMS["plain"][2], **options),
        normal(24, 40, dtype=lhs), normal(40, 17, seed=1, dtype=rhs),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int32", "uint8", "complex64", "bool"])
def test_dot_general_not_narrowed(dtype):
    lhs, rhs = (normal(24, 40, scale=4), normal(40, 17, seed=1, scale=4))
    check_exact(lambda a, b: a @ b, lhs.astype(jnp.dtype(dtype)), rhs.astype(jnp.dtype(dtype)))


@pytest.mark.parametrize("dtype", ["float64", "int64", "complex128"])
def test_dot_general_not_narrowed_x64(dtype):
    with jax.enable_x64(True):
        check_exact(lambda a, b: a @ b, normal(24, 40).astype(dtype), normal(40, 17).astype(dtype))


def test_dot_general_of_f64_accumulation_not_narrowed():
    with jax.enable_x64(True):
        wide = dot(FORMS["plain"][2], preferred_element_type=np.float64)
        check_exact(wide, normal(24, 40), normal(40, 17))


HIGH = [lax.Precision.HIGHEST, (lax.Precision.HIGHEST, lax.Precision.DEFAULT), "float32"]


@pytest.mark.parametrize("precision", HIGH, ids=str)
def test_dot_general_highest_precision_stays_on_host(precision):
    check_exact(lambda a, b: jnp.dot(a, b, precision=precision), normal(24, 40), normal(40, 17))


def test_default_matmul_precision_highest_stays_on_host():
    with jax.default_matmul_precision("highest"):
        check_exact(
            lambda a, b: jnp.tanh(a @ b) @ b.T, normal(24, 40), normal(40, 17),
            placements=("auto", "host"),
        )  # fmt: skip


def test_dot_algorithm_f32_stays_on_host():
    algorithm = lax.DotAlgorithmPreset.F32_F32_F32
    check_exact(lambda a, b: lax.dot(a, b, precision=algorithm), normal(24, 40), normal(40, 17))


def test_one_highest_product_among_others():
    """Only the product that asks for float32 gets it; its neighbours stay on the ANE."""

    def fn(a, b):
        return (a @ b) @ b.T, jnp.dot(a, b, precision="highest")

    args = normal(24, 40), normal(40, 17)
    want, got = run(fn, args, "cpu"), run(fn, args, "ane")
    assert got[1].tobytes() == want[1].tobytes()
    assert got[0].tobytes() != want[0].tobytes()


@pytest.mark.parametrize("length", [32768, 32769, 40000, 65536])
def test_dot_general_long_contraction(length):
    """Above the chip's 32768 the product is split and the parts added."""
    scale = length**-0.25
    check_parity(
        lambda a, b: a @ b, normal(2, length, scale=scale), normal(length, 3, scale=scale),
        tolerance=3e-2,
    )  # fmt: skip


@pytest.mark.parametrize("rows", [16385, 40000, 70000])
def test_dot_general_many_rows(rows):
    check_parity(lambda a, b: a @ b, normal(rows, 8), normal(8, 5))


@pytest.mark.parametrize("shapes", [((70001, 8), (8, 5)), ((2, 70001), (70001, 3))], ids=str)
def test_dot_general_not_beyond_every_axis_limit(shapes):
    """70,001 is prime: no folding brings it below the chip's longest axis."""
    lhs, rhs = (normal(*shape, scale=0.1) for shape in shapes)
    check_exact(lambda a, b: a @ b, lhs, rhs)
    report = jax_ane.explain(lambda a, b: a @ b, lhs, rhs)
    (product,) = (op for op in report.ops if op.op == "stablehlo.dot_general")
    assert product.placement == "host"
    assert product.reason.code.startswith("ANE")


def test_einsum_forms():
    a, b, c = normal(2, 5, 8), normal(8, 6, 4, seed=1), normal(2, 6, seed=2)
    check_parity(lambda a, b, c: jnp.einsum("bik,kjl,bj->lbi", a, b, c), a, b, c)


@pytest.mark.parametrize("shapes", [((0, 8), (8, 5)), ((4, 0), (0, 5)), ((4, 8), (8, 0))], ids=str)
def test_empty_product(shapes):
    check_exact(lambda a, b: a @ b, normal(*shapes[0]), normal(*shapes[1]))
