# SPDX-License-Identifier: Apache-2.0
"""Which calls are told that they need not wait for each other, and that they do not."""

from __future__ import annotations

import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import plans_of, stablehlo_of
from jax import lax
from parity_tools import normal

from jax_ane.compiler import concurrency, frontend, partition, pipeline

X = np.ones((8, 8), np.float32)
CALLS = 10  # XLA:CPU runs a program of eight steps or fewer one by one, whatever they are


def flags_of(fn, *args) -> list[bool]:
    """Returns what each call of the host module is told, in the order of the module."""
    text = pipeline.compile(stablehlo_of(fn, *args), load=False).host_module
    found = re.findall(r"concurrent = (true|false)", str(frontend.parse(text)))
    return [flag == "true" for flag in found]


def layer(x):
    """One program: a product between two sorts, which stay on the host."""
    x = jnp.sort(x)
    return jnp.sort(x @ x)


def test_a_chain_is_not_concurrent():
    assert flags_of(lambda x: layer(layer(layer(x))), X) == [False] * 3


def test_two_towers_are_and_what_is_before_and_after_both_is_not():
    def towers(x):
        x = layer(x)
        left, right = layer(layer(x + 1)), layer(x + 2)
        return layer(left + right)

    assert sorted(flags_of(towers, X)) == [False, False, True, True, True]


def test_a_side_result_is_independent_of_what_comes_after_its_source():
    def forked(x):
        x = layer(x)
        return layer(x), layer(x + 1)

    assert flags_of(forked, X) == [False, True, True]


def test_each_block_is_looked_at_by_itself():
    def loop(x):
        return lax.fori_loop(0, 3, lambda i, y: layer(y + 1) + layer(y + 2), layer(x))

    assert sorted(flags_of(loop, X)) == [False, True, True]


@pytest.mark.parametrize("seed", range(20))
def test_against_the_definition(seed):
    """A cluster is concurrent where a path neither leads to some other one nor comes from it."""
    rng = np.random.default_rng(seed)

    def program(x):
        values = [x]
        for i in range(7):
            picked = rng.choice(len(values), size=min(2, len(values)), replace=False)
            values.append(layer(sum(values[k] for k in picked) + i))
        return values[1:]

    plan = plans_of(stablehlo_of(program, X))[0]
    units = partition.schedule(plan)
    reached: dict[int, set[int]] = {}
    for unit in units:
        if not isinstance(unit, partition.Cluster):
            continue
        stack, seen = list(unit.ops), set()
        while stack:
            op = stack.pop()
            for user in (u for result in op.results for u in result.users):
                if user.index not in seen:
                    seen.add(user.index)
                    stack.append(user)
        numbers = {plan.cluster_of[i].number for i in seen if i in plan.cluster_of}
        reached[unit.number] = numbers - {unit.number}
    expected = {
        a
        for a in reached
        if any(a != b and a not in reached[b] and b not in reached[a] for b in reached)
    }
    assert len(reached) == 7
    assert concurrency.independent(units) == expected


def many(ane, size):
    """Returns a jitted function of independent products, its arguments and its results."""
    xs, ws = normal(CALLS, size, size), normal(CALLS, size, size + 1)
    with jax.default_device(ane):
        function = jax.jit(lambda xs, ws: [x @ w for x, w in zip(xs, ws, strict=True)])
        arguments = jax.device_put((list(xs), list(ws)), ane)
    return function, arguments, xs @ ws


def test_independent_calls_do_not_wait_for_each_other(ane, faults):
    faults("evaluate:*=late(200ms)")
    function, arguments, expected = many(ane, 24)
    jax.block_until_ready(function(*arguments))
    start = time.perf_counter()
    results = jax.block_until_ready(function(*arguments))
    # One after the other they would sleep for 2.0 s.
    assert time.perf_counter() - start < 1.8
    np.testing.assert_allclose(results, expected, rtol=2e-2, atol=5e-2)


def test_an_error_of_a_concurrent_call_reaches_the_caller(ane, faults):
    faults("evaluate:5=fail")
    function, arguments, expected = many(ane, 25)
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match="status=0x1d"):
        jax.block_until_ready(function(*arguments))
    results = jax.block_until_ready(function(*arguments))
    np.testing.assert_allclose(results, expected, rtol=2e-2, atol=5e-2)
