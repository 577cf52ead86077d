# SPDX-License-Identifier: Apache-2.0
"""Random small programs with at least two products: `ane` against `cpu`, and the compiler's own
promises on each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import plans_of, stablehlo_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from parity_tools import assert_close, normal, run
from test_partition import check_plan

import jax_ane
from jax_ane import compiler
from jax_ane.compiler import frontend, passes

N = 8
# Ops that keep values of order 1 and have bounded slopes, so that errors add up, not multiply.
UNARY = {
    "tanh": jnp.tanh,
    "abs": jnp.abs,
    "neg": lambda h: -h,
    "t": lambda h: h.T,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "rev": lambda h: h[::-1],
    "roll": lambda h: jnp.roll(h, 3, 1),
    "halves": lambda h: jnp.concatenate([h[:, 4:], h[:, :4]], 1),
    "blocks": lambda h: h.reshape(2, 4, 8).transpose(1, 0, 2).reshape(N, N),
    "clip": lambda h: jnp.clip(h, -1.5, 1.5),
    "pad": lambda h: jnp.pad(h[1:, :-2], ((0, 1), (2, 0))),
    "center": lambda h: h - h.mean(1, keepdims=True),
    "peak": lambda h: h - h.max(0) / 2,
    "scale": lambda h: h / (1 + jnp.abs(h)),
    "window": lambda h: lax.reduce_window(h, 0.0, lax.add, (2, 2), (1, 1), "SAME") / 4,
    "sin": jnp.sin,
    "cumsum": lambda h: jnp.cumsum(h, 1) / 4,
    "gather": lambda h: h[jnp.array([3, 1, 0, 2, 7, 7, 5, 6])],
    "loop": lambda h: lax.fori_loop(0, 2, lambda i, v: jnp.tanh(v @ jnp.eye(N)) + h, h) / 2,
    "conv": lambda h: lax.conv(h[None, None], jnp.full((1, 1, 3, 3), 0.2), (1, 1), "SAME")[0, 0],
}
BINARY = {
    "add": lambda a, b: (a + b) / 2,
    "sub": lambda a, b: (a - b) / 2,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "mul": lambda a, b: jnp.tanh(a) * jnp.tanh(b),
    "dot": lambda a, b: (a @ b) / 4,
    "dot_t": lambda a, b: lax.dot_general(a, b, (((0,), (1,)), ((), ()))) / 4,
    "mask": lambda a, b: jnp.where(lax.iota("int32", N) % 3 == 0, a, b),
    "row": lambda a, b: a + b[0],
    "bias": lambda a, b: jnp.maximum(a + b[:, :1], 0.0),
}
OPS = {**UNARY, **BINARY}
STEP = st.tuples(st.sampled_from(sorted(OPS)), st.integers(0, 99), st.integers(0, 99))


@st.composite
def recipes(draw):
    """A list of (op, operand, operand) with two products somewhere, and which values return."""
    steps = draw(st.lists(STEP, min_size=2, max_size=9))
    for _ in range(2):
        product = (draw(st.sampled_from(["dot", "dot_t"])), draw(st.integers(0, 99)), 0)
        steps.insert(draw(st.integers(0, len(steps))), product)
    return steps, draw(st.lists(st.integers(0, 99), max_size=3))


def build(recipe):
    steps, returned = recipe

    def program(x, y):
        values = [x, y]
        for name, i, j in steps:
            # Recent values are likelier operands: chains, not stars.
            a, b = values[-1 - i % min(3, len(values))], values[j % len(values)]
            values.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
        return values[-1], *(values[i % len(values)] for i in returned)

    return program


ARGUMENTS = normal(N, N, seed=1), normal(N, N, seed=2)
SETTINGS = dict(derandomize=True, deadline=None, database=None,
                suppress_health_check=list(HealthCheck))  # fmt: skip


@settings(max_examples=60, **SETTINGS)
@given(recipes())
def test_random_program_matches_cpu(recipe):
    check_random(recipe)


@pytest.mark.slow
@settings(max_examples=600, **SETTINGS)
@given(recipes())
def test_many_random_programs_match_cpu(recipe):
    check_random(recipe)


def check_random(recipe) -> None:
    program = build(recipe)
    want = run(program, ARGUMENTS, "cpu")
    limit = 4e-3 * (2 + len(recipe[0]))  # tables and fp16 rounding, once a step
    for placement in ("auto", "ane"):
        got = run(program, ARGUMENTS, "ane", placement)
        for a, b in zip(got, want, strict=True):
            # Against the data's own order, 1: a result that cancels to nothing has no scale.
            error = np.linalg.norm(a - b) / max(np.linalg.norm(b), np.sqrt(b.size))
            assert error <= limit, f"{placement}: {error:.3g} > {limit:.3g}"


@settings(max_examples=40, **SETTINGS)
@given(recipes(), st.sampled_from(["auto", "ane"]))
def test_compiler_promises(recipe, placement):
    program = stablehlo_of(build(recipe), *ARGUMENTS)
    for plan in plans_of(program, placement):
        check_plan(plan, placement)
    with jax_ane.config(placement=placement, validate_ir=True):
        first = compiler.compile(program, load=False)
        second = compiler.compile(program, load=False)
    assert frontend.parse(first.host_module).operation.verify()
    names = [p.name for p in first.placement.programs]
    assert names == [p.name for p in second.placement.programs]
    assert len(names) == len(set(names))
    for record in first.placement.ops:
        assert (record.placement == "ane") == (record.program is not None)
    source_ops = sum(op.placement == "ane" for op in first.placement.ops)
    mil_ops = sum(p.op_count * first.placement.calls[p.name] for p in first.placement.programs)
    assert mil_ops <= 20 * source_ops + 20  # a window or a convolution becomes nine slices


@pytest.mark.parametrize("disabled", passes.PIPELINE, ids=lambda p: p.name)
@settings(max_examples=8, **SETTINGS)
@given(recipe=recipes())
def test_disabling_a_pass_changes_no_more_than_it_says(disabled, recipe):
    program = build(recipe)
    plain = run(program, ARGUMENTS, "ane", "ane")
    with jax_ane.config(disable_passes=disabled.name):
        without = run(program, ARGUMENTS, "ane", "ane")
    for a, b in zip(without, plain, strict=True):
        if not disabled.tolerance:
            assert a.tobytes() == b.tobytes()
        # Simpler constants may change what is raised, so what a step may differ by is a table.
        assert np.abs(a - b).max() <= 7e-3 * (2 + len(recipe[0])) * np.sqrt(N)


def test_disabling_an_unknown_pass_is_an_error():
    program = stablehlo_of(lambda x: x @ x, ARGUMENTS[0])
    wrong = jax_ane.config(disable_passes="no_such_pass")
    with wrong, pytest.raises(ValueError, match="there are"):
        compiler.compile(program, load=False)


def test_the_hot_path_compiles_nothing(ane):
    with jax.default_device(ane):
        fn = jax.jit(lambda x, y: jnp.tanh(x @ y) @ jnp.sort(x))
        args = jax.device_put(ARGUMENTS, ane)
        fn(*args).block_until_ready()
        before = jax_ane.stats()
        for _ in range(5):
            fn(*args).block_until_ready()
        after = jax_ane.stats()
    assert after.compilations == before.compilations
    assert after.programs_compiled == before.programs_compiled
    assert after.program_cache_hits == before.program_cache_hits
    assert after.evaluations > before.evaluations


def test_equal_clusters_are_one_program(ane):
    """Six equal layers with a host op between them: one program, called six times."""

    def fn(x, weights):
        for w in weights:
            x = jnp.sort(jnp.tanh(x @ w) @ w)
        return x

    weights = [normal(N, N, seed=i) for i in range(6)]
    report = jax_ane.explain(fn, ARGUMENTS[0], weights)
    assert len(report.programs) == 1
    assert list(report.placement.calls.values()) == [6]
    assert_close(*(run(fn, (ARGUMENTS[0], weights), d) for d in ("ane", "cpu")), 2e-2)
