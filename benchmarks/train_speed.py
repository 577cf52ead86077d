# SPDX-License-Identifier: Apache-2.0
"""A training step on `ane` (the software ANE, `fast` numerics) beside the same one on `cpu`.

`python benchmarks/train_speed.py [--check] [--json] [--only NAME] [--rounds N]`. Theirs is a plain
`jax.jit` step of optax's AdamW in float32, weights and moments donated. Ours are two: the same
function, plain, on the device `ane`, and `training.train_step` with clamped activations, a dynamic
loss scale, clipping and sanitised gradients. Time: one process, in turn, medians of the rounds'
ratios. Memory: the largest resident size of a process that takes three steps, one process each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from models import resnet
from models.decoders import stories_model

import jax_ane
from jax_ane import precision, training

MEMORY_BOUND = 0.8  # of theirs
KINDS = {"plain": "ane", "guarded": "ane", "cpu": "cpu"}  # and their devices


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its batches.

    Attributes:
        init: returns the float32 weights.
        loss: of weights and a batch, a dict of arrays.
        batch: makes one.
        bound: how many times as fast as on `cpu` the plain step must be.
    """

    init: Callable[[], Any]
    loss: Callable[[Any, Any], jax.Array]
    batch: Callable[[np.random.Generator], dict[str, np.ndarray]]
    bound: float


def _stories(small: bool) -> Case:
    size = stories_model.TINY if small else stories_model.STORIES_110M

    def batch(random: np.random.Generator) -> dict[str, np.ndarray]:
        return {"tokens": random.integers(0, size.words, (4, size.length + 1), dtype=np.int32)}

    return Case(lambda: stories_model.init(size), stories_model.loss, batch, 1.5)


def _resnet(small: bool) -> Case:
    specs = [
        dataclasses.replace(spec, shape=(32, *spec.shape[1:]))
        for spec in resnet.example(small=small, cifar=True)
    ]

    def batch(random: np.random.Generator) -> dict[str, np.ndarray]:
        return dict(zip("xy", (spec.sample(random) for spec in specs), strict=True))

    return Case(
        lambda: resnet.init(0, small=small, cifar=True),
        lambda params, batch: resnet.loss(params, batch["x"], batch["y"]),
        batch,
        1.2,
    )


CASES = {"Stories-110M, 4 x 256 tokens": _stories, "ResNet-18 (CIFAR), batch 32": _resnet}


def stepper(case: Case, kind: str) -> Callable[[], None]:
    """Returns what takes a training step and waits for its loss."""
    return _guarded(case) if kind == "guarded" else _plain(case, jax.devices(KINDS[kind])[0])


def _plain(case: Case, device: Any) -> Callable[[], None]:
    random = np.random.default_rng(0)
    adamw = optax.adamw(1e-4, weight_decay=0.1)

    def update(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, gradients = jax.value_and_grad(case.loss)(params, batch)
        updates, opt_state = adamw.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    jitted = jax.jit(update, donate_argnums=(0, 1))
    with jax.default_device(device):
        params = jax.tree.map(jax.numpy.array, case.init())
        state = params, adamw.init(params)
    del params

    def step() -> None:
        nonlocal state
        with jax.default_device(device):
            *state, loss = jitted(*state, case.batch(random))
        loss.block_until_ready()

    return step


def _guarded(case: Case) -> Callable[[], None]:
    random = np.random.default_rng(0)
    device = jax.devices("ane")[0]
    train_step = training.train_step(
        case.loss,
        optax.chain(precision.sanitize_gradients(), optax.adamw(1e-4, weight_decay=0.1)),
        clamp=True,
        loss_scale=precision.DynamicLossScale(1024.0),
        clip_norm=1.0,
    )
    with jax.default_device(device):
        state = train_step.init(case.init())

    def step() -> None:
        nonlocal state
        with jax.default_device(device):
            state, metrics = train_step(state, case.batch(random))
        metrics.loss.block_until_ready()

    return step


@dataclasses.dataclass(frozen=True)
class Row:
    """What a case came to: seconds a step, ratios of theirs to ours, and GiB at the peak."""

    name: str
    plain_s: float
    guarded_s: float
    cpu_s: float
    plain_ratio: float
    guarded_ratio: float
    plain_gib: float
    cpu_gib: float
    bound: float

    @property
    def is_good(self) -> bool:
        """Whether it is within the bounds."""
        return self.plain_ratio >= self.bound and self.plain_gib <= MEMORY_BOUND * self.cpu_gib


def _seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _peak_gib(name: str, kind: str, small: bool) -> float:
    command = [sys.executable, __file__, "--only", name, "--peak", kind]
    done = subprocess.run(
        [*command, *["--small"] * small], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def measure(name: str, rounds: int, small: bool) -> Row:
    """Measures a case."""
    case = CASES[name](small)
    steps = {kind: stepper(case, kind) for kind in KINDS}
    for step in steps.values():
        for _ in range(2):  # compiles, then settles
            step()
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, step in steps.items():
            taken[kind].append(_seconds(step))
    steps.clear()

    def ratio(kind: str) -> float:
        pairs = zip(taken[kind], taken["cpu"], strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)

    plain, guarded, cpu = (statistics.median(taken[kind]) for kind in KINDS)
    return Row(
        name, plain, guarded, cpu, ratio("plain"), ratio("guarded"),
        _peak_gib(name, "plain", small), _peak_gib(name, "cpu", small), case.bound,
    )  # fmt: skip


def _print_peak(case: Case, kind: str) -> None:
    step = stepper(case, kind)
    for _ in range(3):
        step()
    print(_peak_bytes() / 2**30)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not ru_maxrss, which on Linux begins with that of the process that started this one.
    (line,) = (text for text in status.read_text().splitlines() if text.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--rounds", type=int, default=7, help="steps of each kind that count")
    parser.add_argument("--small", action="store_true", help="small models, to try the script")
    parser.add_argument("--peak", choices=tuple(KINDS), help="print only GiB at the peak")
    options = parser.parse_args()
    names = [name for name in CASES if options.only in name]
    with jax_ane.config(numerics="fast"):
        if options.peak:
            _print_peak(CASES[names[0]](options.small), options.peak)
            return 0
        rows = []
        print(f"{'model':30}{'cpu':>10}{'plain':>10}{'guarded':>10}"
              f"{'cpu peak':>12}{'plain peak':>12}")  # fmt: skip
        for name in names:
            row = measure(name, options.rounds, options.small)
            rows.append(row)
            print(f"{name:30}{row.cpu_s:8.2f} s{row.plain_ratio:9.2f}x{row.guarded_ratio:9.2f}x"
                  f"{row.cpu_gib:8.2f} GiB{row.plain_gib / row.cpu_gib:11.2f}x"
                  f"{'' if row.is_good else '  beyond a bound'}", flush=True)  # fmt: skip
    print(f"bounds: plain {', '.join(f'{row.bound}x' for row in rows)} as fast as cpu, "
          f"peak memory {MEMORY_BOUND}x of cpu's")  # fmt: skip
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
    return int(options.check and not all(row.is_good for row in rows))


if __name__ == "__main__":
    sys.exit(main())
