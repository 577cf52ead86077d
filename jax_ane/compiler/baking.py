# SPDX-License-Identifier: Apache-2.0
"""Weights as constants of programs: `jax_ane.config(weights="baked")`.

before: func main(a000, a001) { v0 = reshape(x = a001); r000 = matmul(x = a000, y = v0) }
after:  func main(a000) { v0 = const(BLOBFILE("w.bin")); r000 = matmul(x = a000, y = v0) }

The program is compiled once, with zeros. At a call the runtime looks at the arguments that the
weights come from: where they are others than before it loads the program with them, under a new
identity and without compiling (`pjrt_plugin/runtime/weights.h`). So a weight is never out of date.
How an argument's elements move on their way into the constant is part of the recipe.
"""

from __future__ import annotations

from collections.abc import Collection

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Block, Location, Value
from jax_ane.compiler.lower.dot import dot_dimensions

# What may lie between an argument and the product that it is the weight of.
_PASSED = frozenset(
    f"stablehlo.{name}"
    for name in ("reshape", "transpose", "convert", "reverse", "broadcast_in_dim")
)


def arguments(block: Block) -> frozenset[int]:
    """Returns the values (by index) that are weights: unchanged arguments, and so by their role.

    A weight is the kernel of a convolution, or an operand without batch axes of a matrix product.
    Of two arguments that are multiplied the second is one; the first is data, wherever it is read.
    """
    unchanged = _unchanged(block)
    weights: set[int] = set()
    data: set[int] = set()
    for op in block.ops:
        if op.name not in ("stablehlo.dot_general", "stablehlo.convolution"):
            continue
        first, second = (_source(value) for value in op.operands)
        has_first, has_second = first in unchanged, second in unchanged
        is_product = op.name == "stablehlo.dot_general"
        if is_product and any(dot_dimensions(op)[:2]):
            data.update((first, second))
        elif has_second:
            weights.add(second)
            data.add(first)
        elif has_first:
            (weights if is_product else data).add(first)
    return frozenset((weights - data) & unchanged)


def _unchanged(block: Block) -> set[int]:
    """Returns the arguments that stay the same: all of a function's, what a loop hands on."""
    in_loop = block.path != "main"
    return {
        value.index
        for i, value in enumerate(block.arguments)
        if value.type is not None
        and value.type.dtype in ("f32", "f16")
        and (not in_loop or (i < len(block.returned) and block.returned[i] is value))
    }


def _source(value: Value) -> int:
    while value.producer is not None and value.producer.name in _PASSED:
        value = value.producer.operands[0]
    return value.index


def bake(program: mil.Program, positions: Collection[int]) -> None:
    """Turns inputs into constants, in place, and moves them at once.

    Args:
        program: the program after its passes: nothing may look into the constants, or fold equal
            ones, since what they will hold is not known.
        positions: of the inputs.
    """
    made: list[mil.Op] = []
    users = program.users()
    gone: set[int] = set()

    def place(value: mil.Value, weight: mil.Weight) -> None:
        readers = users.get(id(value), [])
        movers = [op for op in readers if op.opcode in ("reshape", "transpose")]
        movers = [op for op in movers if op.result not in program.outputs]
        for op in movers:
            gone.add(id(op))
            moves = weight.moves
            if op.opcode == "transpose":
                moves = (*moves, (weight.shape, tuple(op.params["perm"])))
            place(op.result, mil.Weight(weight.argument, op.result.shape, moves))
        if len(movers) == len(readers):
            return
        constant = mil.Value(value.type)
        constant.op = mil.Op("weight", {}, {"weight": weight}, constant, Location())
        made.append(constant.op)
        for op in readers:
            op.replace_operands({id(value): constant})

    for position in sorted(positions):
        value = program.inputs[position]
        place(value, mil.Weight(position, value.shape))
    program.inputs = [v for i, v in enumerate(program.inputs) if i not in positions]
    program.ops = [*made, *(op for op in program.ops if id(op) not in gone)]
