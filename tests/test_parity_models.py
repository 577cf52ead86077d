# SPDX-License-Identifier: Apache-2.0
"""Flax layers, `jax.nn`, optax optimisers: `ane` against `cpu`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_tools import TOLERANCE, check_parity, normal, run, run_counted

optax = pytest.importorskip("optax", reason="the extra `train` is not installed")
nnx = pytest.importorskip("flax.nnx", reason="the extra `flax` is not installed")
nn = pytest.importorskip("flax.linen", reason="the extra `flax` is not installed")

W = normal(16, 16, scale=0.25)
X = normal(6, 16, seed=1)

# Activations whose tables are coarse (numerics.md section 6) get the table's own error.
ACTIVATIONS = {
    "relu": TOLERANCE, "relu6": TOLERANCE, "leaky_relu": TOLERANCE, "elu": 1e-2, "selu": 1e-2,
    "celu": 1e-2, "gelu": 1e-2, "silu": 1e-2, "swish": 1e-2, "sigmoid": 1e-2, "tanh": 1e-2,
    "softplus": 1e-2, "log_sigmoid": 1e-2, "hard_tanh": TOLERANCE, "hard_sigmoid": TOLERANCE,
    "hard_silu": TOLERANCE, "mish": 1e-2, "soft_sign": TOLERANCE, "softmax": 1e-2,
    "log_softmax": 1e-2, "standardize": 1e-2, "squareplus": 1e-2, "glu": 1e-2,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_between_products(name):
    def fn(x, w):
        h = getattr(jax.nn, name)(2 * (x @ w))
        return h.reshape(6, -1) @ w[: h.size // 6]

    check_parity(fn, X, W, tolerance=ACTIVATIONS[name])
    check_parity(
        jax.grad(lambda x, w: (fn(x, w) ** 2).mean() * 16, argnums=(0, 1)), X, W,
        tolerance=3 * ACTIVATIONS[name], placements=("auto",),
    )  # fmt: skip


def test_gelu_exact_form():
    check_parity(lambda x, w: jax.nn.gelu(x @ w, approximate=False) @ w, X, W, tolerance=1e-2)


def test_layer_norm_and_rms_norm():
    def layer_norm(x, w):
        h = x @ w
        h = (h - h.mean(-1, keepdims=True)) * jax.lax.rsqrt(h.var(-1, keepdims=True) + 1e-5)
        return (h * w[0] + w[1]) @ w

    def rms_norm(x, w):
        h = x @ w
        return (h * jax.lax.rsqrt((h**2).mean(-1, keepdims=True) + 1e-5)) @ w

    check_parity(layer_norm, X, W, tolerance=1e-2)
    check_parity(rms_norm, X, W, tolerance=1e-2)


@pytest.mark.parametrize("causal", [False, True])
def test_dot_product_attention(causal):
    q, k, v = (normal(2, 12, 3, 8, seed=s) for s in range(3))
    fn = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=causal)  # noqa: E731
    check_parity(fn, q, k, v, tolerance=1e-2)
    check_parity(
        jax.grad(lambda *a: (fn(*a) ** 2).sum(), argnums=(0, 1, 2)), q, k, v,
        tolerance=3e-2, placements=("auto",),
    )  # fmt: skip


def test_attention_with_mask_argument():
    q, k, v = (normal(2, 12, 3, 8, seed=s) for s in range(3))
    mask = np.arange(12)[None, None, None] < np.array([12, 5])[:, None, None, None]
    check_parity(
        lambda q, k, v, m: jax.nn.dot_product_attention(q, k, v, mask=m), q, k, v, mask,
        tolerance=1e-2,
    )  # fmt: skip


def test_one_hot_embedding():
    check_parity(lambda i, w: jax.nn.one_hot(i, 16) @ w, np.arange(6, dtype=np.int32) * 2, W)


def whole_gradient(fn):
    """Returns the gradient of a mean square as one vector: single leaves may be 0 in theory."""

    def gradient(params, *args):
        slope = jax.grad(lambda p: (fn(p, *args) ** 2).mean() * 8)(params)
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(slope)])

    return gradient


NNX = {
    "linear": (lambda r: nnx.Linear(16, 8, rngs=r), (5, 16)),
    "linear_no_bias": (lambda r: nnx.Linear(16, 8, use_bias=False, rngs=r), (2, 5, 16)),
    "linear_general": (lambda r: nnx.LinearGeneral((4, 4), (3, 5), axis=(1, 2), rngs=r), (2, 4, 4)),
    "einsum": (lambda r: nnx.Einsum("nta,hab->nthb", (3, 16, 5), (3, 5), rngs=r), (2, 4, 16)),
    "conv": (lambda r: nnx.Conv(3, 8, (3, 3), rngs=r), (2, 8, 8, 3)),
    "conv_strided": (lambda r: nnx.Conv(3, 8, (3, 3), strides=2, rngs=r), (2, 8, 8, 3)),
    "conv_grouped": (
        lambda r: nnx.Conv(4, 8, (3, 3), feature_group_count=4, rngs=r), (2, 8, 8, 4)),
    "conv_circular": (lambda r: nnx.Conv(3, 8, (3, 3), padding="CIRCULAR", rngs=r), (2, 8, 8, 3)),
    "conv_causal": (lambda r: nnx.Conv(3, 8, (4,), padding="CAUSAL", rngs=r), (2, 12, 3)),
    "conv_transpose": (
        lambda r: nnx.ConvTranspose(3, 8, (3, 3), strides=(2, 2), rngs=r), (2, 6, 6, 3)),
    "attention": (
        lambda r: nnx.MultiHeadAttention(4, 16, decode=False, deterministic=True, rngs=r),
        (2, 6, 16)),
    "mlp_with_norm": (
        lambda r: nnx.Sequential(nnx.Linear(16, 32, rngs=r), nnx.LayerNorm(32, rngs=r), jax.nn.gelu,
                                 nnx.Linear(32, 4, rngs=r)), (5, 16)),
    "batch_norm": (
        lambda r: nnx.Sequential(nnx.Conv(3, 8, (3, 3), rngs=r), nnx.BatchNorm(8, rngs=r),
                                 nnx.Conv(8, 4, (3, 3), rngs=r)), (2, 8, 8, 3)),
    "group_norm": (
        lambda r: nnx.Sequential(nnx.Conv(3, 8, (3, 3), rngs=r),
                                 nnx.GroupNorm(8, num_groups=2, rngs=r), jax.nn.relu,
                                 nnx.Conv(8, 4, (3, 3), rngs=r)), (2, 8, 8, 3)),
    "lora": (lambda r: nnx.LoRALinear(16, 8, lora_rank=2, rngs=r), (5, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", NNX)
def test_nnx_layer(name):
    build, shape = NNX[name]
    with jax.default_device(jax.devices("cpu")[0]):
        graph, params, rest = nnx.split(build(nnx.Rngs(0)), nnx.Param, ...)
        params, rest = jax.tree.map(np.asarray, (params, rest))

    def fn(params, rest, x):
        # Rebuilt here: a layer may update its statistics only in the trace that made them.
        return nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))(x)

    x = normal(*shape)
    check_parity(fn, params, rest, x, tolerance=1e-2)
    check_parity(whole_gradient(fn), params, rest, x, tolerance=3e-2, placements=("auto",))


LINEN = {
    "dense": (lambda: nn.Dense(8), (5, 16)),
    "conv": (lambda: nn.Conv(8, (3, 3)), (2, 8, 8, 3)),
    "conv_local": (lambda: nn.ConvLocal(4, (3, 3), padding="VALID"), (2, 6, 6, 3)),
    "lstm": (lambda: nn.RNN(nn.OptimizedLSTMCell(8)), (2, 5, 6)),
    "gru": (lambda: nn.RNN(nn.GRUCell(8)), (2, 5, 6)),
    "bilinear_attention": (lambda: nn.MultiHeadDotProductAttention(4), (2, 6, 16)),
    "weight_norm": (lambda: nn.WeightNorm(nn.Dense(8)), (5, 16)),
}


@pytest.mark.parametrize("name", LINEN)
def test_linen_layer(name):
    build, shape = LINEN[name]
    module, x = build(), normal(*shape)
    with jax.default_device(jax.devices("cpu")[0]):
        variables = jax.tree.map(np.asarray, module.init(jax.random.key(0), x))
    # Steps of a recurrence feed tables with the errors of the step before.
    check_parity(module.apply, variables, x, tolerance=2e-2)
    check_parity(whole_gradient(module.apply), variables, x, tolerance=4e-2, placements=("auto",))


def test_linen_dense_of_halves():
    module = nn.Dense(8, dtype=jnp.float16)
    with jax.default_device(jax.devices("cpu")[0]):
        variables = jax.tree.map(np.asarray, module.init(jax.random.key(0), X))
    check_parity(module.apply, variables, X)


OPTIMISERS = {
    "sgd": lambda: optax.sgd(0.05),
    "momentum": lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optax.adam(1e-2),
    "adamw": lambda: optax.adamw(1e-2),
    "adagrad": lambda: optax.adagrad(0.05),
    "rmsprop": lambda: optax.rmsprop(1e-2),
    "lion": lambda: optax.lion(1e-3),
    "lamb": lambda: optax.lamb(1e-2),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2)),
    "adafactor": lambda: optax.adafactor(1e-2),
}
STEPS = 8


def regression():
    """Returns parameters, data and targets of order 1."""
    params = {
        "w1": normal(16, 32, scale=0.25), "b1": np.zeros(32, np.float32),
        "w2": normal(32, 4, seed=1, scale=0.2),
    }  # fmt: skip
    return params, normal(24, 16, seed=2), normal(24, 4, seed=3)


def mean_square(params, x, y):
    h = jnp.tanh(x @ params["w1"] + params["b1"])
    return ((h @ params["w2"] - y) ** 2).mean()


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("unrolled", [False, True], ids=["stepwise", "unrolled"])
def test_optimiser(name, unrolled):
    """After eight steps the parameters moved the same way on both, inside one jit too."""
    if unrolled and name in ("lamb", "adafactor", "lion"):
        pytest.skip("covered step by step; unrolling them compiles for seconds on XLA:CPU")
    optimiser = OPTIMISERS[name]()
    params, x, y = regression()

    def step(params, state):
        loss, grads = jax.value_and_grad(mean_square)(params, x, y)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    def many(params):
        state, losses = optimiser.init(params), []
        for _ in range(STEPS):
            params, state, loss = step(params, state)
            losses.append(loss)
        return params, jnp.stack(losses)

    def stepwise(device):
        target = jax.devices(device)[0]
        with jax.default_device(target):
            held = jax.device_put(params, target)
            state, losses = optimiser.init(held), []
            jitted = jax.jit(step)
            for _ in range(STEPS):
                held, state, loss = jitted(held, state)
                losses.append(loss)
        return [np.asarray(v) for v in jax.tree.leaves((held, jnp.stack(losses)))]

    cpu, ane = (run(many, (params,), d) if unrolled else stepwise(d) for d in ("cpu", "ane"))
    assert np.allclose(ane[-1], cpu[-1], rtol=5e-3)
    moved = np.sqrt(sum(np.sum((b - p) ** 2) for b, p in zip(cpu, jax.tree.leaves(params),
                                                             strict=False)))  # fmt: skip
    apart = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(ane[:-1], cpu[:-1], strict=True)))
    # Sign-like optimisers turn a tiny gradient's noise into a whole step.
    limit = 0.15 if name in ("lion", "adam", "adamw", "clipped", "rmsprop", "lamb", "adafactor",
                             "adagrad") else 0.02  # fmt: skip
    assert apart <= limit * moved, f"{apart / moved:.3g} of the way apart"


def test_adam_state_stays_in_float32():
    """With the same gradient on both sides, Adam's own arithmetic gives cpu's bits."""
    optimiser = optax.adam(1e-3)
    params = normal(8, 8)

    def fn(params, grads, x):
        state = optimiser.init(params)
        for g in grads:
            updates, state = optimiser.update(g, state, params)
            params = optax.apply_updates(params, updates)
        return params, state, x @ params

    args = params, normal(4, 8, 8, seed=1, scale=1e-4), normal(8, 8, seed=2)
    cpu = run(fn, args, "cpu")
    ane, programs = run_counted(fn, args, "ane")
    assert programs == 1
    for a, b in zip(ane[:-1], cpu[:-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
