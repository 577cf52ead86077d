# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from jax_ane.compiler import mil
from jax_ane.compiler.passes.fold_constants import fold_constants, round_half_away


def test_folds_movement_and_arithmetic():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (2, 2)))
    c = builder.constant(np.array([[1.0, 2.0], [3.0, 4.0]]))
    moved = builder.op("transpose", {"x": builder.op("mul", {"x": c, "y": c})}, perm=(1, 0))
    builder.program.outputs = [builder.op("add", {"x": x, "y": moved})]
    assert fold_constants(builder.program) == 2
    folded = builder.program.outputs[0].op.inputs["y"].constant
    np.testing.assert_array_equal(folded, [[1, 9], [4, 16]])


@pytest.mark.parametrize(
    "value, expected",
    [(2049.0, 2050.0), (-2049.0, -2050.0), (4098.0, 4100.0), (1 + 2**-11, 1 + 2**-10),
     (2.0**-25, 2.0**-24), (2.0**-26, 0.0), (65519.0, 65504.0), (65520.0, np.inf), (1.0, 1.0)],
)  # fmt: skip
def test_rounds_ties_away_from_zero(value, expected):
    assert round_half_away(np.array(value)) == np.float16(expected)


def test_an_op_on_an_input_is_not_folded():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (2, 2)))
    builder.program.outputs = [builder.op("mul", {"x": x, "y": builder.constant(2.0)})]
    assert fold_constants(builder.program) == 0


def test_a_table_function_is_not_folded():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (2, 2)))
    e = builder.op("exp", {"x": builder.constant(np.ones((2, 2)) * 0.3)})
    builder.program.outputs = [builder.op("add", {"x": x, "y": e})]
    assert fold_constants(builder.program) == 0


def test_an_overflow_is_not_folded():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (1,)))
    big = builder.constant(60000.0)
    builder.program.outputs = [
        builder.op("minimum", {"x": x, "y": builder.op("add", {"x": big, "y": big})})
    ]
    assert fold_constants(builder.program) == 0
