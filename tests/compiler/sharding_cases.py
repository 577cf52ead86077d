# SPDX-License-Identifier: Apache-2.0
"""Runs functions of an array that is split over four devices; prints how they went as JSON.

`tests/compiler/test_sharding.py` runs it: the number of devices is fixed at the start of a process.
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jax_ane

RANDOM = np.random.default_rng(0)
W = np.float32(RANDOM.normal(size=(16, 16)) / 4)
X = np.float32(RANDOM.normal(size=(32, 16)))
IMAGES = np.float32(RANDOM.normal(size=(8, 8, 8, 4)))
KERNEL = np.float32(RANDOM.normal(size=(3, 3, 4, 4)) / 6)
IDS = np.int32(RANDOM.integers(0, 16, 32))


def conv(x, kernel=KERNEL, **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers, **options
    )


def pool(x):
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def cross_entropy(w, x):
    labels = jnp.int32(jnp.abs(x[:, :1]) * 3)
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ w), labels, -1).mean()


# On the engine, with the values of one device.
ON_ANE = {
    "matmul": (lambda x: x @ W, X),
    "gradient": (lambda x: jax.grad(lambda w: (jnp.tanh(x @ w) ** 2).mean())(W), X),
    "cross entropy": (lambda x: jax.value_and_grad(cross_entropy)(W, x), X),
    "softmax": (lambda x: jax.nn.softmax(x @ W), X),
    "softmax over the split": (lambda x: jax.nn.softmax(x @ W, 0), X),
    "maximum over the split": (lambda x: ((x @ W).max(0), (x @ W).min()), X),
    "any over the split": (lambda x: ((x @ W > 2).any(0), (x @ W > -2).all(0)), X),
    "statistics": (lambda x: (x @ W - (x @ W).mean(0)) * (x @ W).var(0), X),
    "counters": (lambda x: (x @ W) + jnp.arange(32.0)[:, None] * jnp.arange(16.0), X),
    "masks": (lambda x: jnp.tril(x @ W) + jnp.eye(32, 16), X),
    "other axes": (lambda x: jnp.pad(jnp.concatenate([x @ W, x[:, :3]], 1)[:, ::-1],
                                     ((0, 0), (1, 2))), X),
    "cumulative": (lambda x: jnp.cumsum(x @ W, 1), X),
    "sorted rows": (lambda x: jnp.sort(x @ W, 1), X),
    "reshape": (lambda x: ((x @ W).reshape(8, 64), (x @ W).reshape(64, 8)), X),
    "attention": (lambda x: jnp.einsum("nij,nkj->nik", *[(x @ W).reshape(8, 4, 16)] * 2), X),
    "branch": (lambda x: jax.lax.cond(x.sum() > 0, lambda: x @ W, lambda: x), X),
    "embedding": (lambda x: jnp.asarray(W)[jnp.int32(jnp.abs(x[:, 0]) * 3)] @ W, X),
    "conv": (conv, IMAGES),
    "conv gradient": (lambda x: jax.grad(lambda k: (pool(conv(x, k)) ** 2).mean())(KERNEL), IMAGES),
    "depthwise": (lambda x: conv(conv(x), KERNEL[:, :, :1], feature_group_count=4), IMAGES),
    "shard_map": (lambda x: jax.shard_map(
        lambda x: jax.lax.psum(jnp.tanh(x @ W).T @ x, "data"), mesh=MESH, in_specs=P("data"),
        out_specs=P())(x), X, lambda x: jnp.tanh(x @ W).T @ x),
    "loop in shard_map": (lambda x: jax.shard_map(
        lambda x: jax.lax.fori_loop(0, 3, lambda _, c: jnp.tanh(c @ W), x), mesh=MESH,
        in_specs=P("data"), out_specs=P("data"))(x), X,
        lambda x: jnp.tanh(jnp.tanh(jnp.tanh(x @ W) @ W) @ W)),
}  # fmt: skip
# On the host, where XLA splits them, for a reason that the README names.
ON_HOST = {
    "reverse": (lambda x: (x @ W)[::-1], X),
    "roll": (lambda x: jnp.roll(x @ W, 5, 0), X),
    "strided": (lambda x: (x @ W)[1::2], X),
    "uneven": (lambda x: (x @ W)[3:20], X),
    "padded": (lambda x: jnp.pad(x @ W, ((2, 3), (0, 0))), X),
    "joined": (lambda x: jnp.concatenate([x @ W, x[:7]]), X),
    "cumulative over the split": (lambda x: jnp.cumsum(x @ W, 0), X),
    "argmax over the split": (lambda x: (x @ W).argmax(0), X),
    "product over the split": (lambda x: (x @ W).prod(0), X),
    "scatter": (lambda x: jnp.zeros((16, 16)).at[jnp.int32(jnp.abs(x[:, 0]) * 3)].add(x @ W), X),
    "gather over the split": (lambda x: (x @ W)[IDS], X),
    "loop": (lambda x: jax.lax.fori_loop(0, 3, lambda _, c: jnp.tanh(c @ W), x), X),
    "random bits": (lambda x: (x @ W) * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), X),
    "callback": (lambda x: (jax.debug.callback(lambda total: None, x.sum()), x @ W)[1], X),
    "constants of no pattern": (lambda x: jax.nn.one_hot(IDS, 16) * (x @ W), X),
}
# What the Shardy of jax 0.12 splits, and rightly; that of 0.10 does not.
OF_NEWER_SHARDY = ("loop", "random bits")
MESH = Mesh(np.array(jax.devices("ane")), ("data",))
# Of a gradient of two layers on a mesh of 2 x 2: how the weights and the rows are split.
TWO_AXES = {
    "data and tensor parallel": (P(None, "model"), P("model"), P("data")),
    "weights split both ways": (P("data", "model"), P("model", "data"), P("data")),
    "rows over both axes": (P(), P(), P(("data", "model"))),
    "all on each device": (P(), P(), P()),
}


def judged(got, want, report) -> dict:
    """Returns the largest error by the largest value, and where the ops of a device are."""
    errors = [
        np.abs(np.float64(g) - np.float64(w)).max() / max(np.abs(np.float64(w)).max(), 1e-9)
        for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    ]
    return {
        "error": float(max(errors)),
        "fraction": report.ane_flop_fraction,
        "codes": sorted({op.reason.code for op in report.ops}),
    }


def run(fn, value, plain=None) -> dict:
    """Returns the largest error by the largest value, and where the ops of a device are.

    Args:
        fn: of the split array.
        value: the array.
        plain: the same on one device, where `fn` needs the mesh.
    """
    with jax.default_device(MESH.devices[0]):
        want = jax.tree.map(np.asarray, jax.jit(plain or fn)(value))
    split = jax.device_put(value, NamedSharding(MESH, P("data")))
    return judged(jax.jit(fn)(split), want, jax_ane.explain(fn, split))


def run_on_two_axes(specs) -> dict:
    """Returns what `run` does."""
    mesh = Mesh(np.array(jax.devices("ane")).reshape(2, 2), ("data", "model"))
    values = W, W.T, X

    def layers(a, b, x):
        return ((jax.nn.relu(x @ a) @ b) ** 2).mean()

    fn = jax.value_and_grad(layers, (0, 1, 2))
    with jax.default_device(mesh.devices.flat[0]):
        want = jax.tree.map(np.asarray, jax.jit(fn)(*values))
    split = [jax.device_put(v, NamedSharding(mesh, s)) for v, s in zip(values, specs, strict=True)]
    return judged(jax.jit(fn)(*split), want, jax_ane.explain(fn, *split))


if __name__ == "__main__":
    found = {name: run(*case) for name, case in {**ON_ANE, **ON_HOST}.items()}
    found |= {name: run_on_two_axes(specs) for name, specs in TWO_AXES.items()}
    print(json.dumps(found))
