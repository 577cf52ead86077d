# SPDX-License-Identifier: Apache-2.0
"""Training runs on `ane` beside the same ones in float32 on `cpu`.

`python benchmarks/train.py [--check] [--json] [--only NAME] [--steps N] [--numerics exact]`. Each
model trains for 50 steps of AdamW by `training.train_step`, clamped and with a dynamic loss scale,
on both devices from the same weights on the same batches. Loss: the largest relative difference of
losses averaged over ten steps. Gradient: relative L2 over all parameters at the first step, from
the model's own loss function.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
from models import common, llama, lstm, mlp, resnet

import jax_ane
from jax_ane import precision, training
from jax_ane.adapters import lora

LOSS_BOUND = 0.01
GRADIENT_BOUND = 2e-2
WINDOW = 10  # steps that a loss is averaged over


@dataclasses.dataclass(frozen=True)
class Case:
    """A training run.

    Attributes:
        init: returns the weights.
        loss: of weights, inputs and targets.
        example: returns the specs of inputs and targets.
        freeze: what is not trained.
        rate: the learning rate.
        adapters: which matrices get LoRA adapters, and only these are trained.
    """

    init: Callable[[], Any]
    loss: Callable[..., jax.Array]
    example: Callable[[], tuple[common.Spec, common.Spec]]
    freeze: str | None = None
    rate: float = 1e-3
    adapters: str | None = None


def _case(module: Any, **options: Any) -> Case:
    return Case(
        functools.partial(module.init, 0, small=True),
        module.loss,
        functools.partial(module.example, small=True),
        **options,
    )


_CNN = Case(
    functools.partial(resnet.init, 0, small=True, cifar=True),
    resnet.loss,
    functools.partial(resnet.example, small=True, cifar=True),
)
CASES: dict[str, Case] = {
    "mlp": _case(mlp),
    "cnn": _CNN,
    "lstm": _case(lstm),
    "transformer": _case(llama),
    "transformer, blocks frozen": _case(llama, freeze="^blocks/"),
    "transformer, LoRA": _case(llama, adapters="/(q|v|up)$", rate=1e-2),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What a case came to.

    Attributes:
        first, last: float32's loss, averaged over the first and the last steps.
        loss_distance: largest relative difference of averaged losses.
        gradient_distance: relative L2 at the first step.
        skipped, recompiled: steps and compilations on `ane`.
    """

    name: str
    first: float
    last: float
    loss_distance: float
    gradient_distance: float
    skipped: int
    recompiled: int

    @property
    def is_good(self) -> bool:
        """Whether it is within the bounds."""
        near = self.loss_distance <= LOSS_BOUND and self.gradient_distance <= GRADIENT_BOUND
        return near and self.recompiled == 0


def _batches(case: Case) -> Iterator[dict[str, np.ndarray]]:
    """Eight batches, again and again, so that there is something to learn."""
    random = np.random.default_rng(1)
    made = [
        dict(zip("xy", (spec.sample(random) for spec in case.example()), strict=True))
        for _ in range(8)
    ]
    while True:
        yield from made


def _loss_fn(case: Case) -> Callable[[Any, Any], jax.Array]:
    if case.adapters is None:
        return lambda params, batch: case.loss(params, batch["x"], batch["y"])
    return lambda params, batch: case.loss(lora.merge_lora(params), batch["x"], batch["y"])


def _run(case: Case, platform: str, steps: int) -> tuple[np.ndarray, Any, int, int]:
    """Returns losses, the first gradient, skipped steps and recompilations."""
    with jax.default_device(jax.devices(platform)[0]):
        params, freeze = case.init(), case.freeze
        if case.adapters is not None:
            params, freeze = lora.add_lora(params, 4, case.adapters), lora.FREEZE
        loss_fn = _loss_fn(case)
        step = training.train_step(
            loss_fn, optax.adamw(case.rate), freeze=freeze, clamp=True,
            loss_scale=precision.DynamicLossScale(256.0),
        )  # fmt: skip
        state = step.init(params)
        batches = _batches(case)
        gradient = jax.jit(jax.grad(case.loss))(case.init(), *next(_batches(case)).values())
        losses, skipped, recompiled = [], 0, 0
        for _ in range(steps):
            state, metrics = step(state, next(batches))
            losses.append(float(metrics.loss))
            skipped += int(metrics.skipped)
            recompiled += int(metrics.recompiled)
    return np.array(losses), gradient, skipped, recompiled


def _distance(got: Any, want: Any) -> float:
    pairs = list(zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True))
    error = sum(np.sum(np.square(np.asarray(a) - np.asarray(b))) for a, b in pairs)
    return float(np.sqrt(error / sum(np.sum(np.square(np.asarray(b))) for _, b in pairs)))


def measure(name: str, steps: int) -> Row:
    """Runs a case on both devices."""
    case = CASES[name]
    ours, gradient, skipped, recompiled = _run(case, "ane", steps)
    theirs, wanted, _, _ = _run(case, "cpu", steps)
    window = min(WINDOW, steps)
    kernel = np.ones(window) / window
    a, b = (np.convolve(losses, kernel, "valid") for losses in (ours, theirs))
    return Row(
        name, float(b[0]), float(b[-1]), float(np.max(np.abs(a - b) / np.abs(b))),
        _distance(gradient, wanted), skipped, recompiled,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--numerics", default="exact", choices=("exact", "fast"))
    options = parser.parse_args()
    print(f"{'model':28}{'loss':>18}{'loss off by':>13}{'gradient off by':>17}{'skipped':>9}")
    rows = []
    with jax_ane.config(numerics=options.numerics):
        for name in CASES:
            if options.only in name:
                row = measure(name, options.steps)
                rows.append(row)
                print(f"{name:28}{row.first:8.4f} ->{row.last:7.4f}{row.loss_distance:13.2%}"
                      f"{row.gradient_distance:17.1e}{row.skipped:9}"
                      f"{'' if row.is_good else '  beyond a bound'}", flush=True)  # fmt: skip
    print(f"bounds: loss {LOSS_BOUND:.0%}, gradient {GRADIENT_BOUND:.0e}, no recompilation")
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
    return int(options.check and not all(row.is_good for row in rows))


if __name__ == "__main__":
    sys.exit(main())
