# SPDX-License-Identifier: Apache-2.0
"""Operations read transposes, slices and reshapes in place and see what a copy would show them.

Random programs over small integers, whose results numpy gives exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
from programs import const, op, program

from jax_ane import mil

SEEDS = 8
PROGRAMS_PER_SEED = 60


class Writer:
    """Statements of a program next to what numpy makes of them."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.body: list[str] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.values: dict[str, np.ndarray] = {}

    def input(self, shape: tuple[int, ...]) -> str:
        name = f"in{len(self.inputs)}"
        self.inputs[name] = self.random.integers(-3, 4, shape).astype(np.float16)
        self.values[name] = self.inputs[name]
        return name

    def add(self, call: str, value: np.ndarray, **consts: list[int] | int | bool) -> str:
        number = len(self.values)
        for key, given in consts.items():
            name = f"{key}{number}"
            self.body.append(const(name, "bool" if isinstance(given, bool) else "int32", given))
            call += f", {key} = {name}"
        self.values[f"v{number}"] = value
        self.body.append(op(f"v{number}", value.shape, f"{call})"))
        return f"v{number}"

    def view(self, x: str) -> str:
        """Returns another look at x: its elements elsewhere, or only some of them."""
        value, random = self.values[x], self.random
        kind = random.choice(["transpose", "reshape", "slice", "axis"])
        if kind == "transpose":
            perm = [int(i) for i in random.permutation(value.ndim)]
            return self.add(f"transpose(x = {x}", value.transpose(perm), perm=perm)
        if kind == "reshape":
            shape = self.factors(value.size)
            return self.add(f"reshape(x = {x}", value.reshape(shape), shape=shape)
        if kind == "slice":
            begin = [int(random.integers(0, (n + 1) // 2)) for n in value.shape]
            size = [
                int(random.integers(1, n - b + 1)) for n, b in zip(value.shape, begin, strict=True)
            ]
            cut = tuple(slice(b, b + n) for b, n in zip(begin, size, strict=True))
            return self.add(f"slice_by_size(x = {x}", value[cut], begin=begin, size=size)
        if value.ndim == 5:
            return x
        at = int(random.integers(0, value.ndim + 1))
        return self.add(f"expand_dims(x = {x}", np.expand_dims(value, at), axes=[at])

    def factors(self, size: int) -> list[int]:
        """Returns random dims, up to five and some of them 1, of so many elements."""
        dims = []
        while size > 1 and len(dims) < 3:
            n = int(self.random.choice([d for d in range(2, size + 1) if size % d == 0]))
            dims.append(n)
            size //= n
        dims.append(size)
        while len(dims) < 5 and self.random.random() < 0.4:
            dims.insert(int(self.random.integers(0, len(dims) + 1)), 1)
        return dims

    def use(self, x: str) -> str:
        """Returns a computation that reads x."""
        value, random = self.values[x], self.random
        kind = random.choice(["self", "other", "unary", "concat", "matmul", "sum", "broadcast"])
        if kind == "self":
            return self.add(f"add(x = {x}, y = {x}", value + value)
        if kind == "other":
            y = self.input(value.shape)
            return self.add(f"sub(x = {y}, y = {x}", self.values[y] - value)
        if kind == "unary":
            return self.add(f"relu(x = {x}", np.maximum(value, np.float16(0)))
        if kind == "concat":
            y, axis = self.input(value.shape), int(random.integers(0, value.ndim))
            both = np.concatenate([value, self.values[y]], axis)
            return self.add(f"concat(values = ({x}, {y})", both, axis=axis, interleave=False)
        if kind == "sum":
            axis = int(random.integers(0, value.ndim))
            total = value.sum(axis, keepdims=True)
            return self.add(f"reduce_sum(x = {x}", total, axes=[axis], keep_dims=True)
        if kind == "broadcast":
            y = self.input(tuple(n if random.random() < 0.5 else 1 for n in value.shape))
            return self.add(f"maximum(x = {x}, y = {y}", np.maximum(value, self.values[y]))
        if value.ndim not in (2, 3, 4):
            return x
        y = self.input((*value.shape[:-2], value.shape[-1], 3))
        flags = {"transpose_x": False, "transpose_y": False}
        return self.add(f"matmul(x = {x}, y = {y}", value @ self.values[y], **flags)


def random_program(random: np.random.Generator) -> Writer:
    writer = Writer(random)
    shape = tuple(int(n) for n in random.choice([1, 2, 3, 4, 6, 8, 33], random.integers(1, 4)))
    name = writer.input(shape)
    for _ in range(random.integers(1, 4)):
        for _ in range(random.integers(1, 4)):
            name = writer.view(name)
        used = writer.use(name)
        # Sometimes a second reader of the same view, which may not be able to do with strides.
        if random.random() < 0.3:
            writer.use(name)
        name = used if np.abs(writer.values[used]).max() < 64 else name
    return writer


@pytest.mark.parametrize("numerics", ["exact", "fast"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_views_show_what_copies_show(seed, numerics):
    for number in range(PROGRAMS_PER_SEED):
        writer = random_program(np.random.default_rng([seed, number]))
        read = "\n".join(writer.body)
        results = [
            name
            for name, value in writer.values.items()
            if name not in writer.inputs
            and f"= {name}," not in read
            and f"({name}," not in read
            and np.abs(value.astype(np.float64)).max() < 2048
        ]
        if not results:
            continue
        inputs = {name: (("fp16"), value.shape) for name, value in writer.inputs.items()}
        text = program(inputs, writer.body, results)
        got = mil.run(text, writer.inputs, numerics=numerics)
        for name in results:
            np.testing.assert_array_equal(got[name], writer.values[name], err_msg=text)
