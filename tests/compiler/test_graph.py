# SPDX-License-Identifier: Apache-2.0
"""The graph of a module."""

from __future__ import annotations

from jaxlib.mlir import ir

from jax_ane import _jax_internals
from jax_ane.compiler import graph

CHAIN = "module {{ func.func public @main(%a: tensor<4xf32>) -> tensor<4xf32> {{\n{}\n}} }}"


def chain(count: int) -> str:
    lines = [f"%v{i + 1} = stablehlo.add %v{i}, %v{i} : tensor<4xf32>" for i in range(count)]
    body = "\n".join(["%v0 = stablehlo.negate %a : tensor<4xf32>", *lines])
    return CHAIN.format(f"{body}\nreturn %v{count} : tensor<4xf32>")


def test_what_a_graph_is_shown_as_does_not_grow_with_it():
    """A failing test prints its arguments: a text of all that hangs on an op would never end."""
    with _jax_internals.make_ir_context():
        module = ir.Module.parse(chain(40))
        block = graph.build_block(module.body.operations[0].regions[0].blocks[0], "main")
        for thing in (block, block.ops[-1], block.returned[0], block.arguments[0]):
            assert len(repr(thing)) < 200
        assert (
            repr(block.ops[1]) == "<1 stablehlo.add [<%1: f32[4]>, <%1: f32[4]>] -> [<%2: f32[4]>]>"
        )
