# SPDX-License-Identifier: Apache-2.0
"""Trains a character-level LSTM on a text, on the ane device, and lets it write.

`python char_lstm.py --data FILE --steps 300 [--device cpu] [--log run.jsonl] [--sample 200]`

FILE is plain text in UTF-8; its characters are the vocabulary. The model is plain JAX: one product
for the inputs of all steps, then a `lax.scan` whose body has the product of the hidden state.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import training_run

Params = dict[str, jax.Array]


def read(file: Path) -> tuple[str, np.ndarray]:
    """Returns a text's characters in order of their code, and the text as numbers of them.

    Raises:
        ValueError: it is empty, or not UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text in UTF-8: {error}") from error
    if not text:
        raise ValueError(f"{file} is empty: there is nothing to learn from")
    points, ids = np.unique(np.frombuffer(text.encode("utf-32-le"), "<u4"), return_inverse=True)
    return "".join(map(chr, points)), ids.astype(np.int32)


def init(words: int, hidden: int, seed: int) -> Params:
    """Returns the weights at the start: float32; matrices [in, out]."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> jax.Array:
        return jnp.asarray(random.normal(size=(rows, columns)) / np.sqrt(rows), jnp.float32)

    # The forget gate, the second of four, begins open.
    bias = jnp.zeros(4 * hidden).at[hidden : 2 * hidden].set(1.0)
    embedding = jnp.asarray(random.normal(size=(words, hidden)), jnp.float32)
    return {"embedding": embedding, "inputs": matrix(hidden, 4 * hidden),
            "hidden": matrix(hidden, 4 * hidden), "bias": bias,
            "head": 0.1 * matrix(hidden, words)}  # fmt: skip


def cell(params: Params, carry: Any, given: jax.Array) -> tuple[Any, jax.Array]:
    """One step; `given` is what the inputs add to the gates, [batch, 4 * hidden]."""
    h, c = carry
    enter, forget, leave, value = jnp.split(given + h @ params["hidden"], 4, axis=-1)
    c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(enter) * jnp.tanh(value)
    h = jax.nn.sigmoid(leave) * jnp.tanh(c)
    return (h, c), h


def start(params: Params, batch: int) -> Any:
    return (jnp.zeros((batch, params["hidden"].shape[0])),) * 2


def loss(params: Params, batch: dict[str, jax.Array]) -> jax.Array:
    """Returns cross-entropy in nats a character; `tokens` is int32 [batch, length + 1]."""
    tokens = batch["tokens"].T  # time first, as a scan takes it
    given = params["embedding"][tokens[:-1]] @ params["inputs"] + params["bias"]
    _, h = jax.lax.scan(
        lambda carry, x: cell(params, carry, x), start(params, tokens.shape[1]), given
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(h @ params["head"], tokens[1:])
    return losses.mean()


def write(params: Params, first: int, count: int, seed: int, temperature: float) -> np.ndarray:
    """Returns the numbers of `count` characters after `first`, each drawn given those before."""

    @jax.jit
    def run(params: Params, key: jax.Array) -> jax.Array:
        def draw(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            state, last = carry
            given = params["embedding"][last] @ params["inputs"] + params["bias"]
            state, h = cell(params, state, given)
            last = jax.random.categorical(key, h @ params["head"] / temperature)
            return (state, last), last[0]

        begin = start(params, 1), jnp.full(1, first, jnp.int32)
        return jax.lax.scan(draw, begin, jax.random.split(key, count))[1]

    return np.asarray(run(params, jax.random.key(seed)))


def decays(params: Params) -> Any:
    """Which weights decay: matrices."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def train(options: argparse.Namespace, written: list[str]) -> training_run.Summary | None:
    """Trains as the command line says; `written` gets the sample."""
    letters, ids = read(options.data)
    print(f"{len(ids):,} characters, {len(letters)} of them different")
    step = training_run.make_step(loss, options, decays)
    params = init(len(letters), options.hidden, options.seed)
    done, params = training_run.run(step, params, ids, options.length, options)
    if options.sample:
        with jax.default_device(jax.devices(options.device)[0]):
            found = write(params, ids[0], options.sample, options.seed, options.temperature)
        written.append(letters[ids[0]] + "".join(letters[i] for i in found))
    return done


def main(argv: Sequence[str] | None = None) -> int:
    written: list[str] = []
    options = _parser().parse_args(argv)
    code = training_run.finish("char_lstm", lambda options: train(options, written), options)
    for text in written:
        print(f"\nit writes:\n{text}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FILE", help="a text in UTF-8")
    add("--hidden", type=training_run.count, default=128, help="width of the LSTM")
    add("--length", type=training_run.count, default=64, help="characters of context")
    add("--learning-rate", type=float, default=5e-3, help="the largest")
    add("--sample", type=int, default=200, metavar="COUNT", help="characters written at the end")
    add("--temperature", type=float, default=0.8, help="of the sample: lower is surer")
    add("--seed", type=int, default=0, help="of weights, batches and sample")
    training_run.add_options(parser, batch=16)
    return parser


if __name__ == "__main__":
    sys.exit(main())
