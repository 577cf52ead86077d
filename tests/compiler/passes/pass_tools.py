# SPDX-License-Identifier: Apache-2.0
"""Builds MIL programs, random ones too, and runs them with and without a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from jax_ane import mil as device
from jax_ane.compiler import mil, mil_text
from jax_ane.compiler.passes.eliminate_dead_code import eliminate_dead_code
from jax_ane.compiler.passes.merge_common import merge_common

Run = Callable[[mil.Program], int]
Value = mil.Value


class Maker(mil.Builder):
    """A builder with a method for what tests write often."""

    def x(self, *shape: int) -> Value:
        return self.input(mil.Type("fp16", shape))

    def unary(self, opcode: str, x: Value, **params) -> Value:
        return self.op(opcode, {"x": x}, **params)

    def binary(self, opcode: str, x: Value | float, y: Value | float) -> Value:
        held = {
            name: v if isinstance(v, Value) else self.constant(v)
            for name, v in (("x", x), ("y", y))
        }
        return self.op(opcode, held)

    def reduce(self, opcode: str, x: Value, axes: Sequence[int] = (1,)) -> Value:
        return self.op(opcode, {"x": x}, axes=tuple(axes), keep_dims=True)

    def mean(self, x: Value, axes: Sequence[int] = (1,)) -> Value:
        terms = int(np.prod([x.shape[axis] for axis in axes]))
        return self.binary("real_div", self.reduce("reduce_sum", x, axes), float(terms))

    def finish(self, *outputs: Value) -> mil.Program:
        self.program.outputs = list(outputs)
        mil.verify(self.program)
        return self.program


def opcodes(program: mil.Program) -> list[str]:
    """Returns the opcodes of a program in order, constants left out."""
    return [op.opcode for op in program.ops if op.value is None]


def clean(program: mil.Program, *runs: Run) -> int:
    """Runs passes and what cleans up after them; returns their changes."""
    count = sum(run(program) for run in runs)
    mil.verify(program)
    eliminate_dead_code(program)
    mil.verify(program)
    return count


def evaluate(
    program: mil.Program, numerics: str = "exact", seed: int = 0, scale: float = 1.0
) -> list[np.ndarray]:
    """Returns a program's outputs for seeded N(0, scale) inputs."""
    random = np.random.default_rng(seed)
    inputs = {
        name: (scale * random.standard_normal(value.shape)).astype(np.float16)
        for name, value in zip(program.input_names(), program.inputs, strict=True)
    }
    printed = mil_text.to_text(program)
    results = device.run(printed.text, inputs, printed.blobs, numerics=numerics)
    return [results[name] for name in program.output_names()]


def assert_same_bits(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> None:
    """Fails unless all bits agree; the sign of zero does not count."""
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_within_ulp(
    got: Sequence[np.ndarray], want: Sequence[np.ndarray], count: float, of: float = 0.0
) -> None:
    """Fails unless results are within `count` fp16 ulp of the largest value, or of `of`."""
    for a, b in zip(got, want, strict=True):
        largest = max(float(np.abs(b).max(initial=0)), of)
        ulp = float(np.spacing(np.float16(min(largest, 60000.0))))
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=0, atol=count * ulp)


# ---------------------------------------------------------------------------- random programs

# An instruction: what to do, with which two values (counted from the newest), and a number.
Instruction = tuple[str, int, int, float]
_BOUNDED = ("tanh", "abs", "sigmoid", "relu", "floor")
_BINARY = ("add", "sub", "mul", "maximum", "minimum")
_NUMBERS = (-1.0, 0.0, 1.0, 0.5, 2.0, 8.0, 0.3, -1.7, 65504.0, -65504.0)
SIMPLE = (*_BOUNDED, *_BINARY, *(f"{op}_number" for op in (*_BINARY, "real_div")),
          "transpose", "reshape", "unsqueeze", "squeeze", "product", "repeat")  # fmt: skip
MACROS = ("softmax", "norm", "flax_norm", "silu", "gelu", "leaky", "softsign", "clip")


def programs(*kinds: str) -> st.SearchStrategy[list[Instruction]]:
    """Random programs made of instructions of these kinds."""
    instruction = st.tuples(
        st.sampled_from(kinds), st.integers(0, 4), st.integers(0, 4), st.sampled_from(_NUMBERS)
    )
    return st.lists(instruction, min_size=1, max_size=14)


def assemble(instructions: Sequence[Instruction]) -> mil.Program:
    """Makes the program; its outputs are the values that nothing reads, and one in the middle."""
    maker = Maker()
    values = [maker.x(4, 8), maker.x(4, 8)]
    for kind, i, j, number in instructions:
        first = values[-1 - i % len(values)]
        values.append(_one(maker, kind, first, _partner(values, first, j), number))
    read = {id(operand) for op in maker.program.ops for operand in op.operands()}
    made = values[2:]
    outputs = [v for v in made if id(v) not in read] + [made[len(made) // 2]]
    return maker.finish(*dict.fromkeys(outputs))


def _partner(values: Sequence[Value], first: Value, j: int) -> Value:
    fitting = [v for v in values if v.shape == first.shape]
    return fitting[-1 - j % len(fitting)]


def _one(maker: Maker, kind: str, x: Value, y: Value, number: float) -> Value:
    if kind in _BOUNDED:
        return maker.unary(kind, x)
    if kind in _BINARY:
        return maker.binary(kind, x, y)
    if kind.endswith("_number"):
        opcode = kind.removesuffix("_number")
        number = (number or 4.0) if opcode == "real_div" else number
        return maker.binary(opcode, x, min(number, 8.0) if opcode == "mul" else number)
    return globals()[f"_{kind}"](maker, x, y, number)


def _transpose(maker: Maker, x: Value, y: Value, number: float) -> Value:
    order = list(range(len(x.shape)))
    turned = [*order[:-2], order[-1], order[-2]]
    return maker.unary("transpose", x, perm=tuple(turned if number > 0 else order[::-1]))


def _reshape(maker: Maker, x: Value, y: Value, number: float) -> Value:
    rows = math.gcd(8 if number > 0 else 2, x.type.size)
    return maker.unary("reshape", x, shape=(rows, x.type.size // rows))


def _unsqueeze(maker: Maker, x: Value, y: Value, number: float) -> Value:
    shape = (1, *x.shape) if number > 0 else (*x.shape, 1)
    return maker.unary("reshape", x, shape=shape if len(shape) < 5 else (1, x.type.size))


def _squeeze(maker: Maker, x: Value, y: Value, number: float) -> Value:
    left = [d for d in x.shape if d != 1]
    return maker.unary("reshape", x, shape=(*(1,) * (2 - len(left)), *left))  # a matrix at least


def _product(maker: Maker, x: Value, y: Value, number: float) -> Value:
    flags = {"transpose_x": number > 0, "transpose_y": number <= 0}
    return maker.binary("mul", maker.op("matmul", {"x": x, "y": y}, **flags), 0.01)


def _repeat(maker: Maker, x: Value, y: Value, number: float) -> Value:
    twins = [maker.binary("add", maker.unary("tanh", x), y) for _ in range(2)]
    return maker.binary("sub", maker.binary("mul", twins[0], 2.0), twins[1])


def _softmax(maker: Maker, x: Value, y: Value, number: float) -> Value:
    axes = (len(x.shape) - 1,)
    shifted = maker.binary("sub", x, maker.reduce("reduce_max", x, axes))
    e = maker.unary("exp", shifted)
    return maker.binary("real_div", e, maker.reduce("reduce_sum", e, axes))


def _norm(maker: Maker, x: Value, y: Value, number: float) -> Value:
    axes = (len(x.shape) - 1,)
    d = maker.binary("sub", x, maker.mean(x, axes))
    v = maker.binary("add", maker.mean(maker.binary("mul", d, d), axes), 0.01)
    return maker.binary("mul", d, maker.unary("rsqrt", v, epsilon=np.float16(6e-8)))


def _flax_norm(maker: Maker, x: Value, y: Value, number: float) -> Value:
    axes = (len(x.shape) - 1,)
    mean = maker.mean(x, axes)
    squares = maker.mean(maker.binary("mul", x, x), axes)
    v = maker.binary("maximum", 0.0, maker.binary("sub", squares, maker.binary("mul", mean, mean)))
    s = maker.unary("rsqrt", maker.binary("add", v, 0.01), epsilon=np.float16(6e-8))
    return maker.binary("mul", maker.binary("sub", x, mean), s)


def _silu(maker: Maker, x: Value, y: Value, number: float) -> Value:
    e = maker.unary("exp", maker.binary("mul", x, -1.0))
    return maker.binary("mul", x, maker.binary("real_div", 1.0, maker.binary("add", e, 1.0)))


def _gelu(maker: Maker, x: Value, y: Value, number: float) -> Value:
    if number > 0:
        inner = maker.unary("erf", maker.binary("mul", x, 0.70711))
    else:
        cube = maker.binary("mul", maker.binary("mul", x, x), x)
        inner = maker.binary("add", x, maker.binary("mul", cube, 0.044715))
        inner = maker.unary("tanh", maker.binary("mul", inner, 0.79788))
    half = maker.binary("mul", maker.binary("add", 1.0, inner), 0.5)
    return maker.binary("mul", x, half)


def _leaky(maker: Maker, x: Value, y: Value, number: float) -> Value:
    scaled = maker.binary("mul", 0.25, x)
    if number > 0:
        cond = maker.binary("greater_equal", x, 0.0)
        return maker.op("select", {"cond": cond, "a": x, "b": scaled})
    cond = maker.binary("less", x, 0.0)
    return maker.op("select", {"cond": cond, "a": scaled, "b": x})


def _softsign(maker: Maker, x: Value, y: Value, number: float) -> Value:
    return maker.binary("real_div", x, maker.binary("add", maker.unary("abs", x), 1.0))


def _clip(maker: Maker, x: Value, y: Value, number: float) -> Value:
    low, high = (0.0, 6.0) if number > 0 else (-0.5, 1.0)
    if abs(number) < 1:
        return maker.binary("maximum", maker.binary("minimum", x, high), low)
    return maker.binary("minimum", maker.binary("maximum", x, low), high)


def on_and_off(
    instructions: Sequence[Instruction], run: Run, numerics: str = "exact"
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the outputs with and without a pass; both have equal values merged before."""
    with_pass, without = assemble(instructions), assemble(instructions)
    for program in (with_pass, without):
        merge_common(program)
    clean(with_pass, run)
    return evaluate(with_pass, numerics), evaluate(without, numerics)
