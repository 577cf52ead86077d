# SPDX-License-Identifier: Apache-2.0
from jax_ane.compiler import mil
from jax_ane.compiler.passes.eliminate_dead_code import eliminate_dead_code


def test_removes_a_dead_chain_and_keeps_inputs():
    builder = mil.Builder()
    x, unused = (builder.input(mil.Type("fp16", (4, 4))) for _ in range(2))
    builder.op("tanh", {"x": builder.op("exp", {"x": x})})
    builder.program.outputs = [builder.op("abs", {"x": x})]
    assert eliminate_dead_code(builder.program) == 2
    assert [op.opcode for op in builder.program.ops] == ["abs"]
    assert builder.program.inputs == [x, unused]


def test_a_live_op_is_not_removed():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    y = builder.op("exp", {"x": x})
    builder.program.outputs = [builder.op("tanh", {"x": y}), y]
    assert eliminate_dead_code(builder.program) == 0
