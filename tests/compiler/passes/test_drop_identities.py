# SPDX-License-Identifier: Apache-2.0
import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.passes.drop_identities import drop_identities


def build(shape=(2, 8)):
    builder = mil.Builder()
    return builder, builder.input(mil.Type("fp16", shape))


def finish(builder, *outputs):
    builder.program.outputs = list(outputs)
    mil.verify(builder.program)
    return builder.program


def test_merges_reshapes_and_drops_the_neutral_ones():
    builder, x = build()
    once = builder.op("reshape", {"x": x}, shape=(4, 4))
    again = builder.op("reshape", {"x": once}, shape=(16,))
    same = builder.op("reshape", {"x": again}, shape=(16,))
    program = finish(builder, builder.op("exp", {"x": same}))
    assert drop_identities(program) >= 2
    mil.verify(program)
    assert program.outputs[0].op.inputs["x"].op.inputs["x"] is x


def test_composes_transposes():
    builder, x = build((2, 3, 4))
    first = builder.op("transpose", {"x": x}, perm=(2, 0, 1))
    second = builder.op("transpose", {"x": first}, perm=(1, 2, 0))
    program = finish(builder, builder.op("exp", {"x": second}))
    drop_identities(program)
    assert program.outputs[0].op.inputs["x"] is x


def test_drops_neutral_arithmetic():
    builder, x = build()
    y = builder.op("mul", {"x": x, "y": builder.constant(1.0)})
    z = builder.op("add", {"x": builder.constant(0.0), "y": y})
    w = builder.op("real_div", {"x": z, "y": builder.constant(1.0)})
    program = finish(builder, builder.op("exp", {"x": w}))
    assert drop_identities(program) == 3
    assert program.outputs[0].op.inputs["x"] is x


def test_drops_mask_round_trip():
    builder, x = build()
    mask = builder.op("greater", {"x": x, "y": builder.constant(0.0)})
    number = builder.op(
        "select", {"cond": mask, "a": builder.constant(1.0), "b": builder.constant(0.0)}
    )
    back = builder.op("not_equal", {"x": number, "y": builder.constant(0.0)})
    program = finish(builder, builder.op("select", {"cond": back, "a": x, "b": number}))
    assert drop_identities(program) == 1
    assert program.outputs[0].op.inputs["cond"] is mask


def test_adding_zeros_that_broadcast_is_not_dropped():
    builder, x = build((2, 1))
    zeros = builder.constant(np.zeros((2, 8)))
    program = finish(builder, builder.op("add", {"x": x, "y": zeros}))
    assert drop_identities(program) == 0


def test_multiplying_by_two_is_not_dropped():
    builder, x = build()
    program = finish(builder, builder.op("mul", {"x": x, "y": builder.constant(2.0)}))
    assert drop_identities(program) == 0


def test_zero_minus_x_is_not_dropped():
    builder, x = build()
    program = finish(builder, builder.op("sub", {"x": builder.constant(0.0), "y": x}))
    assert drop_identities(program) == 0


def test_an_output_does_not_become_an_input():
    builder, x = build()
    program = finish(builder, builder.op("mul", {"x": x, "y": builder.constant(1.0)}))
    assert drop_identities(program) == 0
    mil.verify(program)


def test_two_outputs_do_not_become_one():
    builder, x = build()
    y = builder.op("exp", {"x": x})
    z = builder.op("mul", {"x": y, "y": builder.constant(1.0)})
    program = finish(builder, y, z)
    drop_identities(program)
    assert program.outputs[0] is not program.outputs[1]


def test_drops_reductions_over_axes_of_one():
    builder, x = build((4, 1, 8))
    y = builder.op("reduce_sum", {"x": x}, axes=(1,), keep_dims=True)
    z = builder.op("reduce_max", {"x": y}, axes=(1,), keep_dims=True)
    program = finish(builder, builder.op("exp", {"x": z}))
    assert drop_identities(program) == 2
    assert program.outputs[0].op.inputs["x"] is x


def test_keeps_reductions_that_change_values_or_shapes():
    builder, x = build((4, 1, 8))
    squares = builder.op("reduce_sum_square", {"x": x}, axes=(1,), keep_dims=True)
    total = builder.op("reduce_sum", {"x": x}, axes=(2,), keep_dims=True)
    flat = builder.op("reduce_sum", {"x": x}, axes=(1,), keep_dims=False)
    program = finish(builder, squares, total, flat)
    assert drop_identities(program) == 0
