# SPDX-License-Identifier: Apache-2.0
"""`examples/stories_model.py` against a second spelling of it in numpy, and its start."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ane

pytest.importorskip("optax", reason="the model's loss is optax's")
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop("stories_model", None)
    import stories_model

    return stories_model


@pytest.fixture
def size(model):
    return model.Size(width=128, hidden=96, depth=2, words=50, length=12)


def tokens_of(size, extra=0):
    random = np.random.default_rng(2)
    return random.integers(0, size.words, (3, size.length + extra)).astype(np.int32)


def turned(x, position):
    """Returns a head's 64 values as 32 complex ones, turned by its position."""
    return (x[:32] + 1j * x[32:]) * np.exp(1j * position * 10000.0 ** (-np.arange(32) / 32))


def reference(params, tokens):
    """Returns the logits, float64, token by token and head by head, positions as complex turns."""
    rows = []
    norm = lambda g, x: x / math.sqrt((x * x).mean() + 1e-5) * g  # noqa: E731
    for sequence in tokens:
        stream = [np.float64(params["word"][t]) for t in sequence]
        for p in params["blocks"]:
            normed = [norm(p["norm1"], x) for x in stream]
            q, k, v = ([h @ np.float64(p[name]) for h in normed] for name in ("q", "k", "v"))
            mixed = []
            for t in range(len(stream)):
                heads = []
                for h in range(0, len(stream[0]), 64):
                    one, others = (
                        [turned(x[h : h + 64], at) for at, x in enumerate(xs)] for xs in (q, k)
                    )
                    scores = [(one[t] * other.conj()).real.sum() / 8 for other in others[: t + 1]]
                    weights = np.exp(scores - np.max(scores))
                    weights /= weights.sum()
                    heads.append(sum(w * v[s][h : h + 64] for s, w in enumerate(weights)))
                mixed.append(np.concatenate(heads))
            stream = [x + m @ np.float64(p["out"]) for x, m in zip(stream, mixed, strict=True)]
            for t, x in enumerate(stream):
                h = norm(p["norm2"], x)
                gate = h @ np.float64(p["gate"])
                hidden = gate / (1 + np.exp(-gate)) * (h @ np.float64(p["up"]))
                stream[t] = x + hidden @ np.float64(p["down"])
        head = params["head"] if "head" in params else params["word"].T
        rows.append([norm(params["norm"], x) @ np.float64(head) for x in stream])
    return np.array(rows)


def larger(params):
    """Makes all weights of a fresh model count: ten times as large, gains that differ."""
    random = np.random.default_rng(3)
    return jax.tree.map(
        lambda w: w * 10 if w.ndim == 2 else w + random.normal(size=w.shape).astype(w.dtype) / 2,
        params,
    )


def distance(got, want):
    return np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)


@pytest.mark.parametrize("tied", [True, False])
def test_forward_is_the_reference(model, size, tied):
    params = larger(model.init(size))
    if not tied:
        random = np.random.default_rng(4)
        params["head"] = random.normal(size=(size.width, size.words)).astype(np.float32)
    tokens = tokens_of(size)
    assert distance(model.forward(params, tokens), reference(params, tokens)) < 1e-5


def test_fewer_keys_serve_groups_of_queries(model, size):
    """As many keys as queries, of which each is there twice, say the same."""
    params = larger(model.init(size))
    whole = {**params, "blocks": []}
    for p in params["blocks"]:
        for name in "kv":
            p[name] = p[name][:, :64]
        doubled = {name: np.tile(p[name], 2) for name in "kv"}
        whole["blocks"].append({**p, **doubled})
    tokens = tokens_of(size)
    want = reference(whole, tokens)
    assert distance(model.forward(params, tokens), want) < 1e-5
    wide = [model.forward(whole, tokens, head_width=width) for width in (64, 128)]
    assert distance(wide[0], want) < 1e-5 < distance(wide[1], want)


def test_forward_on_ane_is_near_the_reference(model, size, ane):
    params = larger(model.init(size))
    tokens = tokens_of(size)
    got = jax.jit(model.forward)(*jax.device_put((params, tokens), ane))
    assert distance(got, reference(params, tokens)) < 5e-3


@pytest.mark.parametrize(("numerics", "bound"), [("fast", 5e-3), ("exact", 5e-2)])
def test_gradients_of_a_fresh_model_on_ane_are_near_float32(model, ane, cpu, numerics, bound):
    """A fresh embedding's mean square, 4e-4, is where the gradient of rsqrt leaves fp16."""
    size = model.Size(width=128, hidden=384, depth=2, words=512, length=32)
    arguments = model.init(size), {"tokens": tokens_of(size, extra=1)}
    with jax_ane.config(numerics=numerics):
        got, want = (
            jax.jit(jax.grad(model.loss))(*jax.device_put(arguments, device))
            for device in (ane, cpu)
        )
    distances = jax.tree.map(lambda g, w: distance(g, np.asarray(w)), got, want)
    assert max(jax.tree.leaves(distances)) < bound


def test_loss_predicts_the_next_token(model, size):
    params = larger(model.init(size))
    tokens = tokens_of(size, extra=1)
    logits = reference(params, tokens[:, :-1])
    logits -= logits.max(-1, keepdims=True)
    chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    want = -np.take_along_axis(chances, tokens[:, 1:, None], -1).mean()
    assert abs(float(model.loss(params, {"tokens": tokens})) / want - 1) < 1e-5


def test_a_fresh_model_knows_nothing(model, size):
    """Its loss is that of guessing, log(words), and the stream is as large after deep as before."""
    deep = model.Size(width=128, hidden=256, depth=12, words=1000, length=64)
    params = model.init(deep, seed=1)
    tokens = tokens_of(deep, extra=1)
    assert abs(float(model.loss(params, {"tokens": tokens})) - math.log(1000)) < 0.05
    scale = {name: np.std(params["blocks"][5][name]) for name in ("q", "gate", "out", "down")}
    assert scale["q"] == pytest.approx(0.02, rel=0.03)
    assert scale["gate"] == pytest.approx(0.02, rel=0.03)
    assert scale["out"] == pytest.approx(0.02 / math.sqrt(24), rel=0.03)
    assert scale["down"] == pytest.approx(0.02 / math.sqrt(24), rel=0.03)


def test_seeds_differ_and_repeat(model, size):
    one, same, other = (model.init(size, seed)["word"] for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_only_the_blocks_matrices_decay(model, size):
    mask = model.decays(model.init(size))
    assert mask["word"] is False and mask["norm"] is False
    decaying = {"q", "k", "v", "out", "gate", "up", "down"}
    assert all({name for name, on in b.items() if on} == decaying for b in mask["blocks"])


def test_the_published_size(model):
    """109.53 million: 84.95 and the embedding's 24.58."""
    params = model.init(model.STORIES_110M)
    assert model.count(params) == 109_529_856
    assert model.count({"word": params["word"]}) == 24_576_000
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
