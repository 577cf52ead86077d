# SPDX-License-Identifier: Apache-2.0
"""Chooses the layout of products by weights: rows and `matmul`, or [1, C, 1, S] and 1x1 `conv`.

before:  v1 = matmul(x = a, y = w1); v2 = relu(x = v1); v3 = matmul(x = v2, y = w2)
after:   a4 = transpose(x = a); v1 = conv(x = a4, weight = w1t); v2 = relu(x = v1)
         v4 = conv(x = v2, weight = w2t); v3 = transpose(x = v4)

A layout is chosen for a chain: products and the elementwise ops between them, with transposes where
values come in and go out, and of weights that are inputs. It changes where the chip's rates
(compiler/cost.py) say that the products save more than those transposes take. That rules out:

* M1, M2, M3 and M5, for which nothing published shows 1x1 convolutions to be faster; M1's are
  slower (constraints.md K-MM; the chip files quote each source);
* on M4 (15.5 for 11 TFLOP/s) all chains of fewer than four products: the transposes of what comes
  in and goes out take as long as one product saves at 6,300 channels, and above 2,048 the weights
  that the cores hold bound both layouts alike. Four win from 1,600 channels on;
* on M6 (31.6 for 13.7) one product below 1,800 channels, two below 900, four below 500;
* weights that are inputs, as in training, below 3,200 rows on M4 and 1,400 on M6: their own
  transposes take more than they save.

So on M4 all models of the table keep `matmul`, forward and in training: no chain of theirs is long
and wide enough. On M6 one changes, mixer-s16's forward pass, and gains 0.06 of 11.7 ms.

Both forms add the same products in the same accumulator, exactly (numerics.md section 1), so bits
are the same unless a partial sum passes 2^15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_ane.compiler import cost, mil
from jax_ane.compiler.rewrite import Edit, turn_into

_ELEMENTWISE = mil.UNARY | mil.BINARY
_MOVERS = ("reshape", "transpose")
_TO_CHANNELS, _TO_ROWS = (0, 3, 1, 2), (0, 2, 3, 1)
_POINTWISE = {
    "strides": (1, 1), "pad_type": "custom", "pad": (0,) * 4, "dilations": (1, 1), "groups": 1,
}  # fmt: skip


def choose_layout(program: mil.Program, chip: Mapping[str, Any]) -> int:
    """Rewrites in place, by a chip's file, and returns how many products changed their layout."""
    facts = cost.values_of(chip)
    if facts["conv1x1_tflops"] is None:
        return 0
    if not any(_may_be_conv(op, facts) for op in program.ops):
        return 0
    chains = _Chains(program, facts)
    chosen = {id(op): op for ops in chains.found() if chains.saved_s(ops) > 0 for op in ops}
    count = sum(chains.is_product(op) for op in chosen.values())
    edit = Edit(program)
    forms: dict[int, mil.Value] = {}
    for op in program.ops:
        if id(op) in chosen:
            _convert(op, forms, edit)
    edit.commit()
    return count


class _Chains:
    """The products of a program that may be convolutions, and what lies between them."""

    def __init__(self, program: mil.Program, facts: Mapping[str, Any]) -> None:
        self._program, self._facts = program, facts
        self._products = {id(op) for op in program.ops if _may_be_conv(op, facts)}
        self._ours = self._between()
        self._read: set[int] = {id(value) for value in program.outputs}  # from outside a chain
        for op in program.ops:
            inside = {id(v) for v in _streams(op)} if id(op) in self._ours else ()
            self._read.update(id(v) for v in op.operands() if id(v) not in inside)

    def is_product(self, op: mil.Op) -> bool:
        return id(op) in self._products

    def _between(self) -> dict[int, mil.Op]:
        """Returns the products and the ops on a way from one to another, by id."""
        members = [op for op in self._program.ops if id(op) in self._products or _follows(op)]
        behind: set[int] = set()  # values made of a product's result
        for op in members:
            if id(op) in self._products or any(id(v) in behind for v in _streams(op)):
                behind.add(id(op.result))
        ahead: set[int] = set()  # values of which a product's operand is made
        for op in reversed(members):
            if id(op) in self._products or id(op.result) in ahead:
                ahead.update(id(v) for v in _streams(op))
        return {
            id(op): op
            for op in members
            if id(op) in self._products or (id(op.result) in behind and id(op.result) in ahead)
        }

    def found(self) -> list[list[mil.Op]]:
        """Returns the chains: of ops joined by values that stay in the layout."""
        parent = {key: key for key in self._ours}

        def root(key: int) -> int:
            while parent[key] != key:
                parent[key] = key = parent[parent[key]]
            return key

        for key, op in self._ours.items():
            for value in _streams(op):
                if id(value.op) in parent:
                    parent[root(id(value.op))] = root(key)
        chains: dict[int, list[mil.Op]] = {}
        for key, op in self._ours.items():
            chains.setdefault(root(key), []).append(op)
        return list(chains.values())

    def saved_s(self, chain: list[mil.Op]) -> float:
        """Returns the seconds that the other layout of a chain saves; negative where it costs."""
        products = [op for op in chain if self.is_product(op)]
        return sum(map(self._gain_s, products)) - cost.move_s(self._facts, self._moved(chain))

    def _gain_s(self, op: mil.Op) -> float:
        rows, channels, columns = _extents(op)
        rate = cost.pointwise_rate(self._facts, channels, rows)
        assert rate is not None
        flops, weights = 2 * rows * channels * columns, channels * columns
        slow = cost.matmul_rate(self._facts, channels)
        return cost.product_s(self._facts, flops, slow, weights) - cost.product_s(
            self._facts, flops, rate, weights
        )

    def _moved(self, chain: list[mil.Op]) -> int:
        """Returns how many elements have to be transposed for a chain."""
        crossing: dict[int, int] = {}
        for op in chain:
            for value in _streams(op):
                if id(value.op) not in self._ours:
                    crossing[id(_unshaped(value))] = value.type.size
            if id(op.result) in self._read:
                crossing[id(_unshaped(op.result))] = op.result.type.size
            if self.is_product(op) and not op.params["transpose_y"]:
                weight = op.input("y")
                if weight.constant is None:
                    crossing[id(_unshaped(weight))] = weight.type.size
        return sum(crossing.values())


def _may_be_conv(op: mil.Op, facts: Mapping[str, Any]) -> bool:
    """Whether an op multiplies rows by weights that a chip's `conv` takes."""
    if op.opcode != "matmul" or op.params["transpose_x"]:
        return False
    weight = op.input("y")
    rows, channels, columns = _extents(op)
    return (
        math.prod(weight.shape[:-2]) == 1
        and (weight.constant is not None or (facts["conv_input_weights"] and _is_input(weight)))
        and rows <= facts["max_axis"]
        and max(channels, columns) <= facts["max_channels"]
    )


def _extents(op: mil.Op) -> tuple[int, int, int]:
    """Returns a matmul's rows, channels and columns."""
    shape, columns = op.input("x").shape, op.result.shape[-1]
    return math.prod(shape[:-1]), shape[-1], columns


def _is_input(value: mil.Value) -> bool:
    while value.op is not None and value.op.opcode in _MOVERS:
        value = value.op.input("x")
    return value.op is None


def _unshaped(value: mil.Value) -> mil.Value:
    while value.op is not None and value.op.opcode == "reshape":
        value = value.op.input("x")
    return value


def _follows(op: mil.Op) -> bool:
    """Whether an op does the same in both layouts: it works on elements, or reshapes rows."""
    if op.opcode == "reshape":
        before, after = op.input("x").shape, op.result.shape
        return len(before) > 1 < len(after) and before[-1:] == after[-1:]
    return (
        op.opcode in _ELEMENTWISE
        and len(op.result.shape) > 1
        and all(_new_shape(value, op.result) is not None for value in op.operands())
        and any(value.shape == op.result.shape for value in op.operands())
    )


def _streams(op: mil.Op) -> list[mil.Value]:
    """Returns the operands that an op of a chain takes in the chain's layout."""
    if op.opcode in ("matmul", "reshape"):
        return [op.input("x")]
    return [value for value in op.operands() if value.shape == op.result.shape]


def _new_shape(value: mil.Value, result: mil.Value) -> tuple[int, ...] | None:
    """Returns the shape [1, C, 1, S] of an elementwise op's operand; None where it has none.

    It is a scalar, one number a channel, one number a row, or as large as the result.
    """
    rows, channels = math.prod(result.shape[:-1]), result.shape[-1]
    if value.shape == result.shape:
        return (1, channels, 1, rows)
    if value.type.size == 1:
        return (1, 1, 1, 1)
    if value.type.size == channels == value.shape[-1]:
        return (1, channels, 1, 1)
    if value.shape == (*result.shape[:-1], 1):
        return (1, 1, 1, rows)
    return None


def _convert(op: mil.Op, forms: dict[int, mil.Value], edit: Edit) -> None:
    """Places an op's form in the other layout, and makes the op what brings it back to rows.

    Args:
        op: of a chain.
        forms: the values of chains in the other layout, by id of the value in rows.
        edit: takes the new ops.
    """

    def form(value: mil.Value) -> mil.Value:
        if id(value) not in forms:
            shape = (1, 1, value.type.size // value.shape[-1], value.shape[-1])
            rows = edit.op(op, "reshape", {"x": value}, shape=shape)
            forms[id(value)] = edit.op(op, "transpose", {"x": rows}, perm=_TO_CHANNELS)
        return forms[id(value)]

    def operand(value: mil.Value) -> mil.Value:
        if value.shape == op.result.shape:
            return form(value)
        if value.shape == ():
            return value
        shape = _new_shape(value, op.result)
        return edit.op(op, "reshape", {"x": value}, shape=shape)

    shape = op.result.shape
    if op.opcode == "matmul":
        weight = _weight(op, edit)
        new = edit.op(op, "conv", {"x": form(op.input("x")), "weight": weight}, **_POINTWISE)
    elif op.opcode == "reshape":
        new = form(op.input("x"))
    else:
        inputs = {name: operand(op.input(name)) for name in op.inputs}
        new = edit.op(op, op.opcode, inputs, **op.params)
    forms[id(op.result)] = new
    rows = edit.op(op, "transpose", {"x": new}, perm=_TO_ROWS)
    turn_into(op, "reshape", {"x": rows}, {"shape": shape})


def _weight(op: mil.Op, edit: Edit) -> mil.Value:
    """Returns a product's weights [K, N] or, transposed, [N, K] as [N, K, 1, 1]."""
    weight, is_turned = op.input("y"), op.params["transpose_y"]
    held = weight.constant
    if held is not None:
        matrix = held.reshape(held.shape[-2:])
        turned = np.ascontiguousarray(matrix if is_turned else matrix.T)
        return edit.constant(op, turned[:, :, None, None])
    shape = (*weight.shape[-2:], 1, 1)
    weight = edit.op(op, "reshape", {"x": weight}, shape=shape)
    return weight if is_turned else edit.op(op, "transpose", {"x": weight}, perm=(1, 0, 2, 3))
