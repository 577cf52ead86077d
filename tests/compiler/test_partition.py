# SPDX-License-Identifier: Apache-2.0
"""Which ops join a cluster: the rules of partition.py one by one, and what always holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import plans_of, records, stablehlo_of
from jax import lax
from parity_tools import assert_same_bits, normal, relative_error, run, run_counted

import jax_ane

X = np.ones((8, 8), np.float32)
V = np.ones(8, np.float32)


def codes(fn, *args, placement="auto") -> dict[str, str]:
    """Returns {op: reason code}, the last op of a name."""
    found = records(stablehlo_of(fn, *args), placement)
    return {name: op.reason.code for name, op in found.items()}


def test_between_two_products_joins():
    assert codes(lambda x: jnp.tanh(x @ x) @ x, X)["tanh"] == "between"


def test_after_the_last_product_not_joined():
    assert codes(lambda x: jnp.tanh(x @ x), X)["tanh"] == "not-between"


def test_before_the_first_product_not_joined():
    assert codes(lambda x: jnp.tanh(x) @ x, X)["tanh"] == "not-between"


def test_between_across_a_host_op_not_joined():
    found = codes(lambda x: jnp.sort(jnp.tanh(x @ x)) @ x, X)
    assert found["tanh"] == "not-between"
    assert found["dot_general"] == "heavy"


def test_epilogue_takes_bias_and_relu():
    found = codes(lambda x, v: jnp.maximum(x @ x + v, 0.0), X, V)
    assert (found["add"], found["maximum"]) == ("epilogue", "epilogue")


def test_epilogue_not_a_residual_or_a_scaling():
    assert codes(lambda x: x @ x + jnp.sin(x), X)["add"] == "not-between"
    assert codes(lambda x: (x @ x) * 0.5, X)["multiply"] == "not-between"


def test_movement_joins_before_and_after():
    found = codes(lambda x: lax.rev((x.reshape(2, 4, 8) @ x).transpose(0, 2, 1), (0,)), X)
    assert found["reshape"] == "movement"
    assert found["transpose"] == "movement"
    assert found["reverse"] == "movement"


def test_state_update_stays_on_host():
    def step(w, x):
        w = w - (x @ w)
        return w - (x @ w)

    found = records(stablehlo_of(step, X, X))
    assert found["subtract"].reason.code == "state"
    assert found["subtract"].placement == "host"
    # The same arithmetic on a value that is not returned is ordinary.
    assert codes(lambda w, x: (w - x @ w) @ x, X, X)["subtract"] == "between"


def test_a_residual_block_is_no_state_update():
    def block(x, w, v, b):
        h = x + (jnp.tanh(x @ w) @ v + b)
        return h + (jnp.tanh(h @ w) @ v + b)

    report = jax_ane.explain(block, X, X, X, V)
    assert len(report.programs) == 1
    assert "state" not in {op.reason.code for op in report.placement.ops}


def test_sums_and_scaled_updates_are_state():
    def accumulate(total, x):
        return total + x @ x

    def descend(w, x):
        return w + -0.1 * (x @ w)

    assert codes(accumulate, X, X)["add"] == "state"
    assert codes(descend, X, X)["add"] == "state"


def test_a_bias_is_broadcast_next_to_its_product_however_late_that_is():
    def fn(x, w, b):
        h = jnp.sort(jnp.sort(x @ w) @ w)
        return jnp.tanh(h @ w + b) @ w

    report = jax_ane.explain(fn, X, X, V)
    shapes = [str(t) for p in report.programs for t in p.inputs]
    assert "f32[8]" in shapes or "f32[1,8]" in shapes
    spread = [op for op in report.placement.ops if "broadcast" in op.op]
    assert all(op.placement == "ane" for op in spread)


def test_a_loss_that_would_sink_begins_its_gradient_on_the_host():
    """A mean square's gradient is 2 / N times a difference: nothing but arithmetic on the way."""
    w, x, y = normal(64, 64) / 8, normal(128, 64, seed=1), normal(128, 64, seed=2)

    def loss(w, x, y):
        return jnp.square(jnp.tanh(x @ w) @ w - y).mean()

    codes = {op.reason.code for op in jax_ane.explain(jax.grad(loss), w, x, y).placement.ops}
    assert "sinks" in codes
    got, want = (run(jax.grad(loss), (w, x, y), device) for device in ("ane", "cpu"))
    assert relative_error(got, want) < 3e-3


def test_means_within_layers_do_not_sink():
    def normed(x, w):
        x = x @ w
        centred = x - x.mean(-1, keepdims=True)
        batch = jnp.square(centred).mean((0, 1), keepdims=True)
        return (centred * lax.rsqrt(batch + 1e-3)) @ w

    def loss(w, x):
        return normed(normed(x, w), w)[0, 0, 0]

    x, w = np.ones((8, 512, 2048), np.float32), np.ones((2048, 2048), np.float32)
    found = jax_ane.explain(jax.grad(loss), w, x).placement.ops
    assert "sinks" not in {op.reason.code for op in found}


def test_adams_epsilon_vanishes():
    fn = lambda x: ((x @ x) / (jnp.sqrt(jnp.abs(x @ x)) + 1e-8)) @ x  # noqa: E731
    assert codes(fn, X)["add"] == "vanishes"


def test_placement_host_and_ane():
    fn = lambda x: jnp.sort(jnp.tanh(x))  # noqa: E731
    assert codes(fn, X, placement="host")["tanh"] == "placement"
    assert codes(fn, X, placement="ane")["tanh"] == "legal"
    assert codes(fn, X, placement="ane")["sort"] == "sort"
    assert codes(fn, X)["tanh"] == "not-between"


def test_sharded_programs_stay_on_host():
    from jax_ane.compiler import frontend, partition

    module = frontend.parse(stablehlo_of(lambda x: x @ x, X))
    (block,) = frontend.code_blocks(module)
    plan = partition.plan_block(block, "auto", "M4", sharded=True)
    assert {reason.code for reason in plan.reasons} == {"sharded"}


def chain(length):
    def fn(x):
        for i in range(length):
            x = jnp.tanh(x @ x) if i % 3 else jnp.cos(x @ x)
        return x

    return fn


def loops(x):
    def body(h, row):
        h = lax.cond(h[0, 0] > 0, lambda h: jnp.tanh(h @ x) @ x, lambda h: h, h)
        return h @ x, (h + row).sum()

    return lax.scan(body, x, x)


def effects(x):
    h = x @ x
    jax.debug.print("a {}", h[0, 0], ordered=True)
    h = jnp.tanh(h @ x) @ x
    jax.debug.print("b {}", h[0, 0], ordered=True)
    return h @ x + jnp.sort(x @ h) @ h


PROGRAMS = {
    "chain": chain(7),
    "grad": jax.grad(lambda x: (jnp.tanh(jnp.tanh(x @ x) @ x) ** 2).sum()),
    "diamond": lambda x: (lambda h: jnp.tanh(h) @ jnp.sort(h) + jnp.exp(-h) @ x)(x @ x),
    "loops": loops,
    "effects": effects,
    "two_islands": lambda x: (jnp.tanh(x @ x) @ x, lax.cumsum(x) @ jnp.cos(x)),
}


@pytest.mark.parametrize("placement", ["auto", "ane"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_plan_invariants(name, placement):
    for plan in plans_of(stablehlo_of(PROGRAMS[name], X), placement):
        check_plan(plan, placement)


def check_plan(plan, placement) -> None:
    """Fails unless every op has one place and a reason, and clusters are convex."""
    assert len(plan.reasons) == len(plan.block.ops)
    assert all(reason.code and reason.text for reason in plan.reasons)
    members = [op.index for cluster in plan.clusters for op in cluster.ops]
    assert len(members) == len(set(members))
    assert set(members) == set(plan.cluster_of)
    for cluster in plan.clusters:
        assert placement == "ane" or any(
            op.name in ("stablehlo.dot_general", "stablehlo.convolution") for op in cluster.ops
        )
        assert_convex(plan, cluster)


def assert_convex(plan, cluster) -> None:
    """No path may leave the cluster and come back."""
    inside = {op.index for op in cluster.ops}
    tainted: set[int] = set()  # ops outside that depend on the cluster
    for op in plan.block.ops:
        sources = {v.producer.index for v in op.operands if v.producer is not None}
        if op.index in inside:
            assert not sources & tainted, f"{op.name} reads {sources & tainted} from outside"
        elif sources & (inside | tainted):
            tainted.add(op.index)


def test_side_effects_keep_their_order():
    (plan,) = plans_of(stablehlo_of(effects, X))
    levels = [plan.levels[op.index] for op in plan.block.ops if op.name == "stablehlo.custom_call"]
    assert len(levels) == 2
    assert levels == sorted(levels)


def test_drop_cluster_sends_its_ops_home():
    from jax_ane.compiler import partition
    from jax_ane.compiler.able import Reason

    (plan,) = plans_of(stablehlo_of(lambda x: jnp.tanh(x @ x) @ x, X))
    (cluster,) = plan.clusters
    partition.drop_cluster(plan, cluster, Reason("ANE999", "a test"))
    assert plan.clusters == []
    assert plan.cluster_of == {}
    assert {plan.reasons[op.index].code for op in cluster.ops} == {"ANE999"}


def test_a_cluster_with_more_weights_than_slots_is_split_not_dropped():
    def deep(x, weights):
        for w in weights:
            x = jnp.maximum(x @ w, 0.0)
        return x

    x = np.ones((4, 32), np.float32)
    weights = [np.eye(32, dtype=np.float32)] * 300
    report = jax_ane.explain(deep, x, weights)
    assert report.ane_flop_fraction > 0.97
    assert len(report.programs) >= 3
    ane = jax.devices("ane")[0]
    result = jax.jit(deep)(*jax.device_put((x, weights), ane))
    np.testing.assert_array_equal(np.asarray(result), x)


def branches(x):
    h = x @ jnp.sign(x)
    deeper = lambda h: lax.cond(h[0, 0] < 0, lambda: h @ h, lambda: jnp.sort(h) @ x)  # noqa: E731
    return lax.cond(h[0, 0] > 0, lambda: jnp.clip(h @ x, -2, 2) @ h, lambda: deeper(h - 1)), h


def loops(x):
    h = x @ jnp.sign(x)
    step = lambda i, c: jnp.clip(c @ h, -2, 2)  # noqa: E731
    return lax.fori_loop(0, 3, step, x), lax.map(lambda row: row @ h, x)


@pytest.mark.parametrize("function", [branches, loops])
@pytest.mark.parametrize("sign", [1, -1])
def test_programs_of_inner_blocks_read_what_outer_programs_made(function, sign):
    """A branch names values of the block around it, which become results of calls meanwhile."""
    x = np.round(normal(8, 8)) * sign
    got, ran = run_counted(function, (x,), "ane")
    assert ran
    assert_same_bits(got, run(function, (x,), "cpu"))


def random_graph(seed):
    """Returns a function of one matrix: products, arithmetic and host ops over earlier values.

    All values are whole numbers that fp16 holds.
    """
    random = np.random.default_rng(seed)
    steps = [(random.integers(0, 6), random.integers(0, 4, 2)) for _ in range(40)]

    def fn(x):
        values = [x, x.T, x + 1, x - 1]
        for kind, (i, j) in steps:
            a, b = values[-1 - i], values[-1 - j]
            value = [
                lambda a, b: a @ b,
                lambda a, b: a @ b.T,
                lambda a, b: a + b,
                lambda a, b: jnp.maximum(a, b),
                lambda a, b: jnp.sort(a, 0),  # for the host
                lambda a, b: a @ jnp.minimum(b, 1),
            ][kind](a, b)
            values.append(jnp.clip(value, -2, 2))
        return values[-1], values[-7], values[-15]

    return fn


@pytest.mark.parametrize("seed", range(12))
def test_split_and_dropped_clusters_still_run_in_order(seed, monkeypatch):
    from jax_ane.compiler import programs
    from jax_ane.compiler.able import Reason

    build, count = programs.build, [seed]

    def picky(cluster, *rest):
        count[0] += 1
        if sum(op.name == "stablehlo.dot_general" for op in cluster.ops) > 1 + seed % 3:
            raise programs.Illegal(Reason("ANE041", "a test"))
        if count[0] % 3 == 0:
            raise programs.Illegal(Reason("ANE999", "a test"))
        return build(cluster, *rest)

    monkeypatch.setattr(programs, "build", picky)
    x = np.round(normal(8, 8))
    got, ran = run_counted(random_graph(seed), (x,), "ane")
    assert ran
    assert_same_bits(got, run(random_graph(seed), (x,), "cpu"))


@pytest.mark.parametrize("dropped", [None, 0, 1, 2])
def test_pieces_of_a_cluster_not_before_what_they_read(dropped):
    """A piece cut again, or sent home, keeps its place between the others."""
    from jax_ane.compiler import hostmodule, partition, programs
    from jax_ane.compiler.able import Reason
    from jax_ane.compiler.settings import Settings

    def deep(x):
        for _ in range(12):
            x = jnp.tanh(x @ x)
        return x @ x

    (plan,) = plans_of(stablehlo_of(deep, X))
    halves = partition.split_cluster(plan, plan.clusters[0])
    assert halves
    assert partition.split_cluster(plan, halves[0])
    if dropped is not None:
        partition.drop_cluster(plan, plan.clusters[dropped], Reason("ANE999", "a test"))
    settings = Settings.current()
    built = {cluster.number: programs.build(cluster, settings) for cluster in plan.clusters}
    hostmodule.replace(plan, built)
    assert plan.block.mlir.owner.verify()
