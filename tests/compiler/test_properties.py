# SPDX-License-Identifier: Apache-2.0
"""Random small programs with at least two products: `ane` against `cpu`, and the compiler's own
promises on each."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import plans_of, stablehlo_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from parity_tools import assert_close, normal, run, run_counted
from test_partition import check_plan

import jax_ane
from jax_ane.compiler import frontend, passes, pipeline

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
    "cos": jnp.cos,
    "atan": jnp.arctan,
    "asin": lambda h: jnp.arcsin(0.8 * jnp.tanh(h)),
    "cosh": lambda h: jnp.cosh(jnp.tanh(h)),
    "cbrt": lambda h: jnp.cbrt(1 + jnp.abs(h)),
    "square": lambda h: jnp.tanh(h) ** 2,
    "power": lambda h: (1 + jnp.abs(jnp.tanh(h))) ** 1.5 / 2,
    "cumsum": lambda h: jnp.cumsum(h, 1) / 4,
    "cumsum_of_all": lambda h: jnp.cumsum(jnp.tanh(h).reshape(-1)).reshape(N, N) / 16,
    "cumprod": lambda h: jnp.cumprod(1 + 0.1 * jnp.tanh(h), 0),
    "cummax": lambda h: lax.cummax(h.reshape(-1), 0, reverse=True).reshape(N, N),
    "prod": lambda h: h * jnp.prod(1 + 0.1 * jnp.tanh(h), 1, keepdims=True) / 2,
    "gather": lambda h: h[jnp.array([3, 1, 0, 2, 7, 7, 5, 6])],
    "gather_points": lambda h: h + h[jnp.arange(N), jnp.array([3, 1, 0, 2, 7, 7, 5, 6])][:, None],
    "take": lambda h: jnp.take(h, jnp.array([6, 4, 2, 0, 1, 3, 5, 7]), axis=1),
    "place": lambda h: h + jnp.argmax(h, 1)[:, None] / 16,
    "six_axes": lambda h: lax.rev(h.reshape((2,) * 6), (0, 2, 3)).reshape(N, N),
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
    "set": lambda a, b: a.at[2:4].set(b[:2]),
    "set_columns": lambda a, b: a.at[:, jnp.array([6, 1, 3])].set(b[:, :3]),
    "add_rows": lambda a, b: a.at[jnp.array([1, 3, 1])].add(b[:3]) / 2,
    "angle": lambda a, b: jnp.arctan2(a, 1 + jnp.abs(b)),
    "row": lambda a, b: a + b[0],
    "bias": lambda a, b: jnp.maximum(a + b[:, :1], 0.0),
    # Branches and loops name values of the blocks around them. Which branch does not depend on
    # rounding.
    "branch": lambda a, b: lax.cond(holds(a), lambda: (a @ b) / 4, lambda: b),
    "other_branch": lambda a, b: lax.cond(
        ~holds(b), lambda: a @ a, lambda: jnp.tanh(b @ a) + jnp.abs(b) / 4
    ),
    "branch_of_branch": lambda a, b: lax.cond(
        holds(a), lambda: lax.cond(holds(b), lambda: jnp.sin(a) @ b, lambda: a) / 4, lambda: b
    ),
    "branch_in_loop": lambda a, b: lax.fori_loop(
        0, 2, lambda i, v: lax.cond(i > 0, lambda: (v @ b) / 4, lambda: jnp.tanh(b @ v)), a
    ),
    "rows": lambda a, b: lax.map(lambda row: jnp.tanh(row @ b), a),
}


def holds(h):
    return jnp.isfinite(h).any()


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


def build(recipe, ops=OPS):
    """Returns a recipe's program, of these functions."""
    steps, returned = recipe

    def program(x, y):
        values = [x, y]
        for name, i, j in steps:
            # Recent values are likelier operands: chains, not stars.
            a, b = values[-1 - i % min(3, len(values))], values[j % len(values)]
            values.append(ops[name](a) if name in UNARY else ops[name](a, b))
        return values[-1], *(values[i % len(values)] for i in returned)

    return program


ARGUMENTS = normal(N, N, seed=1), normal(N, N, seed=2)
SETTINGS = dict(derandomize=True, deadline=None, database=None,
                suppress_health_check=list(HealthCheck))  # fmt: skip


# Compiling costs more than running, and XLA most of it: programs are compiled together.
BATCH = 25
BATCHES = st.lists(recipes(), min_size=BATCH, max_size=BATCH)
# One compiled function an op: the reference is run op by op, without compiling the program.
ON_CPU = {name: jax.jit(fn) for name, fn in OPS.items()}
SLOW_PROGRAMS = int(os.environ.get("ANE_RANDOM_PROGRAMS", "10000"))


@settings(max_examples=80, **SETTINGS)
@given(BATCHES)
def test_random_programs_on_the_engine_match_cpu(batch):
    """2,000 programs, with all that is legal on the ANE."""
    check_batch(batch, "ane")


@settings(max_examples=12, **SETTINGS)
@given(BATCHES)
def test_random_programs_where_it_pays_match_cpu(batch):
    """300 programs, cut into clusters: XLA compiles what stays on the host, which takes longer."""
    check_batch(batch, "auto")


@pytest.mark.slow
@settings(max_examples=max(1, SLOW_PROGRAMS // BATCH), **SETTINGS)
@given(BATCHES, st.sampled_from(["ane", "ane", "ane", "auto"]))
def test_many_random_programs_match_cpu(batch, placement):
    """As many programs as ANE_RANDOM_PROGRAMS says, by default 10,000.

    A million: ANE_RANDOM_PROGRAMS=1000000 pytest -m slow tests/compiler/test_properties.py, about
    10 hours on one core: 24 ms a program with all on the engine, and 74 ms, most of them XLA's, for
    the quarter that is cut into clusters (measured over 2,500 and 500).
    """
    check_batch(batch, placement)


def check_batch(batch, placement: str) -> None:
    def program(x, y):
        return [build(recipe)(x, y) for recipe in batch]

    results, programs = run_counted(program, ARGUMENTS, "ane", placement)
    assert programs, "nothing ran on the ANE"
    got = iter(results)
    for recipe in batch:
        limit = 4e-3 * (2 + len(recipe[0]))  # tables and fp16 rounding, once a step
        for want in build(recipe, ON_CPU)(*ARGUMENTS):
            # Against the data's own order, 1: a result that cancels to nothing has no scale.
            want = np.asarray(want)
            error = np.linalg.norm(next(got) - want) / max(np.linalg.norm(want), N)
            assert error <= limit, f"{recipe}: {error:.3g} > {limit:.3g}"
    assert next(got, None) is None


@settings(max_examples=40, **SETTINGS)
@given(recipes(), st.sampled_from(["auto", "ane"]))
def test_compiler_promises(recipe, placement):
    program = stablehlo_of(build(recipe), *ARGUMENTS)
    for plan in plans_of(program, placement):
        check_plan(plan, placement)
    with jax_ane.config(placement=placement, validate_ir=True):
        first = pipeline.compile(program, load=False)
        second = pipeline.compile(program, load=False)
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
        pipeline.compile(program, load=False)


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
