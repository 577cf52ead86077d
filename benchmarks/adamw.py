# SPDX-License-Identifier: Apache-2.0
"""AdamW over 110 million parameters: the native call beside the machine's memory bandwidth.

`python benchmarks/adamw.py [--check] [--json] [--rounds N] [--small]`. In one process, in turn: the
call of `training.train_step` with float32 gradients and with the fp16 of the engine, and optax's
AdamW compiled by jax for `cpu`, all in place; and, for the bandwidth, NumPy multiplying as much
memory by a number in place, on as many threads as there are cores. Bytes are those that must be
read and written: 28 an element, 26 with fp16 gradients.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_ane.training import _adamw

SHARE_BOUND = 0.8  # of the memory's bandwidth
MEMORY = "memory"
SHAPES = [(32_000, 768), (32_000, 768)] + [(768, 2048)] * 36 + [(768, 768)] * 16 + [(768,)] * 25
OPTIMISER = optax.adamw(1e-4, weight_decay=0.1)


def state_of(shapes: list[tuple[int, ...]]) -> list[jax.Array]:
    """Returns parameters, then first moments, then second ones."""
    random = np.random.default_rng(0)
    parameters = [jnp.asarray(random.standard_normal(s, np.float32) * 0.02) for s in shapes]
    return [*parameters, *(jnp.zeros(s) for s in shapes), *(jnp.zeros(s) for s in shapes)]


def stream(elements: int) -> Callable[[], None]:
    """Returns what reads and writes 28 bytes an element."""
    parts = np.array_split(np.ones(elements * 28 // 8, np.float32), os.cpu_count() or 1)
    threads = futures.ThreadPoolExecutor(len(parts))

    def scale(part: np.ndarray) -> None:
        np.multiply(part, np.float32(1.000001), out=part)

    return lambda: collections.deque(threads.map(scale, parts), maxlen=0).clear()


def native(shapes: list[tuple[int, ...]]) -> Callable[..., Any]:
    """Returns the native call as a function of gradients and of what `state_of` returns."""
    found = _adamw.recognise(OPTIMISER)
    assert found is not None
    n = len(shapes)

    def step(gradients: list[jax.Array], *state: jax.Array) -> Any:
        adam = optax.ScaleByAdamState(jnp.int32(3), list(state[n : 2 * n]), list(state[2 * n :]))
        whole = (adam, optax.EmptyState(), optax.EmptyState())
        yes = jnp.bool_(True)
        new, (adam, *_), _ = found.update(
            gradients, jnp.float32(1), yes, yes, whole, list(state[:n])
        )
        return [*new, *adam.mu, *adam.nu]

    return jax.jit(step, donate_argnums=tuple(range(1, 1 + 3 * n)))


def by_optax(shapes: list[tuple[int, ...]]) -> Callable[..., Any]:
    """Returns the same of optax's AdamW."""
    n = len(shapes)

    def step(gradients: list[jax.Array], *state: jax.Array) -> Any:
        adam = optax.ScaleByAdamState(jnp.int32(3), list(state[n : 2 * n]), list(state[2 * n :]))
        whole = (adam, optax.EmptyState(), optax.EmptyState())
        given, (adam, *_) = OPTIMISER.update(gradients, whole, list(state[:n]))
        return [*optax.apply_updates(list(state[:n]), given), *adam.mu, *adam.nu]

    return jax.jit(step, donate_argnums=tuple(range(1, 1 + 3 * n)))


def measure(shapes: list[tuple[int, ...]], rounds: int) -> dict[str, float]:
    """Returns GB/s by kind, medians over the rounds, each kind once a round."""
    elements = sum(int(np.prod(shape)) for shape in shapes)
    wide = [jnp.full(shape, 1e-3) for shape in shapes]
    narrow = [leaf.astype(jnp.float16) for leaf in wide]
    kinds = {
        "native": (native(shapes), wide, 28),
        "native, fp16 gradients": (native(shapes), narrow, 26),
        "optax on cpu": (by_optax(shapes), wide, 28),
    }
    state = state_of(shapes)
    rates: dict[str, list[float]] = {name: [] for name in (MEMORY, *kinds)}
    memory = stream(elements)
    for turn in range(rounds + 1):  # the first compiles
        start = time.perf_counter()
        memory()
        if turn:
            rates[MEMORY].append(28 * elements / 1e9 / (time.perf_counter() - start))
        for name, (step, gradients, byte_count) in kinds.items():
            start = time.perf_counter()
            state = jax.block_until_ready(step(gradients, *state))
            if turn:
                rates[name].append(byte_count * elements / 1e9 / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 beyond the bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--small", action="store_true", help="few parameters, to try the script")
    options = parser.parse_args()
    shapes = [(128, 128)] * 3 if options.small else SHAPES
    with jax.default_device(jax.devices("cpu")[0]):
        rates = measure(shapes, options.rounds)
    for name, rate in rates.items():
        print(f"{name:26}{rate:8.1f} GB/s{rate / rates[MEMORY]:8.2f} of it")
    print(f"bound: native at least {SHARE_BOUND} of the memory's")
    if options.json:
        print(json.dumps(rates))
    return int(options.check and rates["native"] < SHARE_BOUND * rates[MEMORY])


if __name__ == "__main__":
    sys.exit(main())
