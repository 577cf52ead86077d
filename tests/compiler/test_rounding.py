# SPDX-License-Identifier: Apache-2.0
"""Scalars after floor, ceil and round, on the chip whose compiler drops them."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import assert_close, normal, run

import jax_ane
from jax_ane.compiler import mil, rounding

X = normal(8, 24, scale=4.0)


def quantized(round_):
    return lambda x: round_(x * 8) * 0.125 + x


ROUNDED = {
    "floor": quantized(jnp.floor),
    "ceil": quantized(jnp.ceil),
    "divided": lambda x: jnp.floor(x * 8) / 8 + x,
    "round": quantized(lambda x: jax.lax.round(x, jax.lax.RoundingMethod.AWAY_FROM_ZERO)),
    "remainder": lambda x: jax.lax.rem(x, jnp.float32(0.75)),
    "one": lambda x: jnp.floor(x[:1, :1]) * 0.3,
    "power": lambda x: jnp.abs(x[:, :12] / 4) ** (x[:, 12:] / 4),
    "steps": lambda x: (jnp.floor(x) * 2 + 1) @ (jnp.ceil(x) * 3).T,
}


@pytest.mark.parametrize("name", ROUNDED)
def test_m5_gets_no_scalar_after_a_rounding(name):
    with jax_ane.config(placement="ane", chip="M5"):
        report = jax_ane.explain(ROUNDED[name], X)
        got = run(ROUNDED[name], (X,), "ane", "ane")
    assert len(report.programs) == 1  # accepted: the check refuses what is not guarded
    assert all(op.placement == "ane" or op.reason.code == "constant" for op in report.ops)
    want = run(ROUNDED[name], (X,), "cpu")
    assert_close(got, want, 4e-3, name)


def test_without_the_guard_m5_refuses_and_m4_does_not(monkeypatch):
    monkeypatch.setattr(rounding, "guard", lambda program: 0)
    for chip, placed in (("M5", "host"), ("M4", "ane")):
        with jax_ane.config(placement="ane", chip=chip):
            ops = jax_ane.explain(ROUNDED["floor"], X).ops
        (floor,) = (op for op in ops if op.op == "stablehlo.floor")
        assert floor.placement == placed
        assert placed == "ane" or floor.reason.code == "ANE034"


def test_other_chips_keep_the_scalar():
    texts = {}
    for chip in ("M4", "M5"):
        with jax_ane.config(placement="ane", chip=chip):
            (program,) = jax_ane.explain(ROUNDED["floor"], X).programs
        texts[chip] = program.text
    full = {
        chip: len(re.findall(r"fp16, \[\d.*\]> \w+ = const", text)) for chip, text in texts.items()
    }
    assert full == {"M4": 0, "M5": 1}


def chain(*opcodes, number=2.0):
    builder = mil.Builder()
    value = builder.input(mil.Type("fp16", (4, 6)))
    for opcode in opcodes:
        if opcode == "mul":
            value = builder.op("mul", {"x": builder.constant(number), "y": value})
        elif opcode == "reshape":
            value = builder.op("reshape", {"x": value}, shape=value.shape[::-1])
        else:
            value = builder.op(opcode, {"x": value})
    builder.program.outputs = [value]
    return builder.program


@pytest.mark.parametrize(
    ("opcodes", "count"),
    [
        (("floor", "mul"), 1),
        (("round", "reshape", "mul"), 1),
        (("ceil", "abs", "mul"), 0),
        (("mul", "floor"), 0),
        (("floor", "mul", "mul"), 1),
        (("floor", "mul", "floor", "reshape", "mul"), 2),
    ],
)
def test_what_is_widened(opcodes, count):
    program = chain(*opcodes)
    assert rounding.guard(program) == count
    mil.verify(program)
    assert rounding.guard(program) == 0
    wide = [op for op in program.ops if op.value is not None and op.value.size > 1]
    assert all((op.value == 2).all() for op in wide)
    assert {op.result.shape for op in wide} <= {(4, 6), (6, 4)}
    products = [op for op in program.ops if op.opcode == "mul"]
    assert sum(np.prod(op.input("y").shape) > 1 and op.input("y").constant is not None
               for op in products) == count  # fmt: skip
