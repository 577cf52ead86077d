# SPDX-License-Identifier: Apache-2.0
from jax_ane.compiler import mil
from jax_ane.compiler.passes.fuse_casts import fuse_casts


def test_removes_casts_to_the_same_type():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    cast = builder.op("cast", {"x": builder.op("cast", {"x": x}, dtype="fp16")}, dtype="fp16")
    builder.program.outputs = [builder.op("exp", {"x": cast})]
    assert fuse_casts(builder.program) == 2
    assert builder.program.outputs[0].op.inputs["x"] is x


def test_a_cast_that_is_the_only_op_is_not_removed():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    builder.program.outputs = [builder.op("cast", {"x": x}, dtype="fp16")]
    assert fuse_casts(builder.program) == 0


def test_a_cast_to_another_type_is_not_removed():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    cast = builder.op("cast", {"x": x}, dtype="fp32")
    builder.program.outputs = [builder.op("exp", {"x": cast})]
    assert fuse_casts(builder.program) == 0
