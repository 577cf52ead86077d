# SPDX-License-Identifier: Apache-2.0
"""Gathers and scatters by indices that are known at compile time, and those that are not."""

from __future__ import annotations

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import records, stablehlo_of
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from parity_tools import assert_close, check_parity, normal, run

import jax_ane
from jax_ane.compiler.lower.index import runs_of

X = normal(6, 8)
ROWS = np.random.default_rng(0)
MIXED = ROWS.permutation(240)[:150]

GATHERS = {
    "rows": lambda x: x[jnp.array([3, 1, 0])],
    "columns": lambda x: x[:, jnp.array([3, 1, 0])],
    "points": lambda x: x[jnp.array([3, 1, 0]), jnp.array([1, 2, 3])],
    "negative": lambda x: x[jnp.array([-1, -2])],
    "repeated": lambda x: x[jnp.array([2, 2, 2, 2])],
    "backwards": lambda x: x[jnp.array([5, 4, 3, 2, 1])],
    "every_second": lambda x: x[:, jnp.array([1, 3, 5, 7])],
    "table_of_indices": lambda x: x[jnp.array([[3, 1], [0, 5]])],
    "computed": lambda x: x[(jnp.arange(6) * 5 + 1) % 6],
    "take": lambda x: jnp.take(x, jnp.array([1, 2]), axis=1),
    "diagonal": lambda x: jnp.diagonal(x),
    "along_axis": lambda x: jnp.take_along_axis(x, jnp.arange(12).reshape(6, 2) % 8, axis=1),
    "middle_axis": lambda x: x.reshape(2, 3, 8)[:, jnp.array([2, 0])],
    "axes_apart": lambda x: x.reshape(2, 3, 8)[jnp.array([1, 0]), :, jnp.array([2, 5])],
    "many_rows": lambda x: jnp.tile(x, (40, 1))[MIXED],
    "windows": lambda x: jax.vmap(lambda i: lax.dynamic_slice(x, (i, 1), (2, 3)))(
        jnp.array([0, 3])
    ),
    "clamped": lambda x: jax.vmap(lambda i: lax.dynamic_slice(x, (i, 1), (2, 3)))(
        jnp.array([-7, 30])
    ),
    "mask": lambda x: jnp.where((x > 0)[jnp.array([3, 1, 0])], 1.0, x[:3]),
    "gradient_of_set": jax.grad(lambda x: (x.at[jnp.array([1, 4])].set(2.0) ** 2).sum()),
}
SCATTERS = {
    "set_slice": lambda x: x.at[2:4].set(1.0),
    "set_rows": lambda x: x.at[jnp.array([4, 1])].set(x[:2]),
    "add_row": lambda x: x.at[1].add(x[0]),
    "add_repeated": lambda x: x.at[jnp.array([1, 3, 1])].add(x[:3]),
    "multiply": lambda x: x.at[:, jnp.array([1, 3])].multiply(x[:, :2]),
    "maximum": lambda x: x.at[jnp.array([0, 2, 4])].max(0.25),
    "minimum_strided": lambda x: x.at[::2, ::3].min(0.25),
    "points": lambda x: x.at[jnp.array([0, 5]), jnp.array([7, 2])].set(9.0),
    "outside_is_dropped": lambda x: x.at[jnp.array([1, 9])].set(5.0),
    "many_rows": lambda x: jnp.tile(x, (40, 1)).at[MIXED].set(jnp.tile(x, (25, 1))),
    "many_rows_added": lambda x: jnp.tile(x, (40, 1)).at[MIXED // 2].add(jnp.tile(x, (25, 1))),
    "gradient": jax.grad(lambda x: (x[jnp.array([3, 1, 1])] ** 2).sum()),
    "diagonal": lambda x: x.at[jnp.arange(6), jnp.arange(6)].add(1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", GATHERS)
def test_gather(name):
    placed(GATHERS[name], "gather" if name != "gradient_of_set" else "scatter")
    check_parity(GATHERS[name], X, placements=("ane",), tolerance=1e-3)


@pytest.mark.parametrize("name", SCATTERS)
def test_scatter(name):
    placed(SCATTERS[name], "scatter")
    check_parity(SCATTERS[name], X, placements=("ane",), tolerance=1e-3)


def placed(fn, op):
    record = records(stablehlo_of(fn, X), "ane")[op]
    assert record.placement == "ane", record.reason


@pytest.mark.parametrize(
    ("op", "code", "fn"),
    [
        ("gather", "dynamic", lambda x: x[jnp.argmax(x, 1) % 6]),
        ("dynamic_slice", "dynamic", lambda x: lax.dynamic_slice(x, (jnp.argmax(x), 0), (2, 2))),
        ("scatter", "dynamic", lambda x: x.at[jnp.argmax(x, 1) % 6].set(1.0)),
        ("scatter", "indices", lambda x: x.at[jnp.array([1, 1])].set(x[:2])),
        ("scatter", "indices", lambda x: x.at[jnp.array([1, 1])].max(x[:2])),
        ("scatter", "indices", lambda x: x.at[jnp.array([1, 3])].apply(jnp.sin)),
        ("gather", "indices", lambda x: jnp.tile(x, (400, 1))[
            np.random.default_rng(0).permutation(2400)]),
        ("gather", "indices", lambda x: jnp.broadcast_to(x[0, 0], (65536,))[jnp.array([1, 9])]),
        ("reduce", "indices", lambda x: jnp.argmax(x, 1)),
        ("composite", "indices", lambda x: lax.top_k(x, 2)),
        ("sort", "sort", lambda x: jnp.sort(x, 1)),
    ],
)  # fmt: skip
def test_what_stays_on_the_host(op, code, fn):
    record = records(stablehlo_of(fn, X), "ane")[op]
    assert (record.placement, record.reason.code) == ("host", code)
    want, got = (run(fn, (X,), device, "ane") for device in ("cpu", "ane"))
    assert_close(got, want, 1e-3)


def test_indices_are_no_inputs_of_the_program():
    with jax_ane.config(placement="ane"):
        (program,) = jax_ane.explain(lambda x: x[(jnp.arange(6) * 5) % 6], X).programs
    assert [t.dtype for t in program.inputs] == ["f32"]


def test_gather_between_products_is_one_program():
    fn = lambda x: (x @ x.T)[jnp.array([3, 1, 0])] @ x  # noqa: E731
    assert len(jax_ane.explain(fn, X).programs) == 1


@given(st.lists(st.integers(-1, 9), max_size=20))
@settings(derandomize=True, deadline=None, max_examples=300, database=None)
def test_runs_spell_the_list(places):
    runs = runs_of(np.array(places, np.int64))
    spelt = [run.first + i * run.step for run in runs for i in range(run.count)]
    assert spelt == places
    assert all(run.step == 0 for run in runs if run.first < 0)


def random_case(rng: random.Random):
    """Returns an array's shape, indices and dimension numbers that `lax.gather` takes."""
    rank = rng.randint(1, 4)
    shape = [rng.randint(1, 5) for _ in range(rank)]
    batch = [rng.randint(1, 3) for _ in range(rng.randint(0, 2))]
    free = list(range(rank))
    batching = {}
    if batch and rng.random() < 0.4:
        axis = rng.choice(free)
        batching = {axis: rng.randrange(len(batch))}
        batch[batching[axis]] = shape[axis]
        free.remove(axis)
    # Without an indexed axis XLA:CPU adds only the first of several updates.
    mapped = tuple(rng.sample(free, rng.randint(min(1, len(free)), len(free))))
    sizes = [1 if a in batching else rng.randint(1, shape[a]) for a in range(rank)]
    collapsed = tuple(a for a in free if sizes[a] == 1 and rng.random() < 0.5)
    windows = rank - len(collapsed) - len(batching)
    offset = tuple(sorted(rng.sample(range(windows + len(batch)), windows)))
    starts = np.array([rng.randint(-1, 5) for _ in range(int(np.prod(batch)) * len(mapped))],
                      np.int32).reshape(*batch, len(mapped))  # fmt: skip
    return shape, sizes, starts, offset, collapsed, mapped, batching


@pytest.mark.parametrize("seed", range(4))
def test_random_gathers_and_scatters(seed):
    """Twenty of each at a time: compiling costs more than running."""
    rng = random.Random(seed)
    gathers, scatters, data = [], [], []
    for number in range(20):
        shape, sizes, starts, offset, collapsed, mapped, batching = random_case(rng)
        batch_axes = {"operand_batching_dims": tuple(batching),
                      "start_indices_batching_dims": tuple(batching.values())}  # fmt: skip
        numbers = lax.GatherDimensionNumbers(offset, collapsed, mapped, **batch_axes)
        gathers.append((starts, numbers, tuple(sizes)))
        limits = [shape[a] - sizes[a] for a in mapped]
        inside = np.clip(starts, 0, limits).astype(np.int32) if mapped else starts
        back = lax.ScatterDimensionNumbers(offset, collapsed, mapped, tuple(batching),
                                           tuple(batching.values()))  # fmt: skip
        scatters.append((inside, back))
        data.append(normal(*shape, seed=100 * seed + number))

    def fn(*arrays):
        read = [lax.gather(x, i, n, s, mode="clip") for x, (i, n, s) in
                zip(arrays, gathers, strict=True)]  # fmt: skip
        added = [lax.scatter_add(x, i, r, n) for x, r, (i, n) in
                 zip(arrays, read, scatters, strict=True)]  # fmt: skip
        return read, added

    ops = [op for op in explained(fn, data) if op.op in ("stablehlo.gather", "stablehlo.scatter")]
    assert sum(op.placement == "ane" for op in ops) >= 0.9 * len(ops) > 20
    assert {op.reason.code for op in ops if op.placement == "host"} <= {"indices", "ANE001"}
    check_parity(fn, *data, placements=("ane",), tolerance=2e-3)


def explained(fn, data):
    with jax_ane.config(placement="ane"):
        return jax_ane.explain(fn, *data).placement.ops
