# SPDX-License-Identifier: Apache-2.0
"""Chains of elementwise operations run piece by piece and give what they give one by one."""

from __future__ import annotations

import numpy as np
import pytest

from jax_ane import mil

BINARY = ("add", "sub", "mul", "maximum", "minimum")
UNARY = ("abs", "square", "relu", "tanh", "sigmoid")


def program(shape, statements, results):
    dims = "[" + ", ".join(map(str, shape)) + "]"
    row = "[" + ", ".join("1" if i < len(shape) - 1 else str(n) for i, n in enumerate(shape)) + "]"
    column = "[" + ", ".join("1" if i == len(shape) - 1 else str(n) for i, n in enumerate(shape))
    column += "]"
    inputs = f"tensor<fp16, {dims}> x, tensor<fp16, {row}> r, tensor<fp16, {column}> c"
    body = "".join(
        f'tensor<fp16, {dims}> {name} = {call}[name = string("{name}")];\n'
        for name, call in statements
    )
    return f"program(1.3)\n{{ func main<ios18>({inputs}) {{\n{body}}} -> ({', '.join(results)}); }}"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_a_random_chain_equals_its_operations_one_by_one(seed, numerics):
    random = np.random.default_rng(seed)
    shape = [(3, 50, 77), (9000,), (2, 5, 3, 1000), (130, 130)][seed % 4]
    names, statements = ["x"], []
    for i in range(14):
        if random.random() < 0.5:
            call = f"{random.choice(UNARY)}(x = {random.choice(names[-3:])})"
        else:
            others = [*names[-4:], *(("r", "c") if len(shape) > 1 else ())]
            x, y = random.choice(names[-3:]), random.choice(others)
            call = f"{random.choice(BINARY)}(x = {x}, y = {y})"
        names.append(f"v{i}")
        statements.append((f"v{i}", call))
    inputs = {
        "x": random.standard_normal(shape),
        "r": random.standard_normal((1,) * (len(shape) - 1) + shape[-1:]),
        "c": random.standard_normal((*shape[:-1], 1)),
    }
    inputs = {name: value.astype(np.float16) for name, value in inputs.items()}
    kept = sorted({"v13", *random.choice(names[1:], 2)})
    together = mil.run(program(shape, statements, kept), inputs, numerics=numerics)
    # Every value a result: nothing is overwritten in place, no block is shared.
    alone = mil.run(program(shape, statements, names[1:]), inputs, numerics=numerics)
    for name in kept:
        np.testing.assert_array_equal(together[name], alone[name])
