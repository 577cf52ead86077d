# SPDX-License-Identifier: Apache-2.0
"""What the language models of these examples share: optimiser, the run, its log, its options."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
import optax

import jax_ane
from jax_ane import data, precision, training

Mask = Callable[[Any], Any]


def optimiser(peak: float, warm_up: int, steps: int, sanitise: bool, mask: Mask) -> Any:
    """Returns AdamW whose learning rate rises linearly to `peak`, then falls to a tenth of it.

    Args:
        peak: largest learning rate.
        warm_up: steps until it is reached; a cosine over the rest of the run follows.
        steps: of the whole run.
        sanitise: replace gradients that are not finite by 0 first.
        mask: returns which weights of a tree decay.
    """
    end = max(steps, warm_up + 1)  # a run may end before the fall begins
    rate = optax.warmup_cosine_decay_schedule(peak / warm_up, peak, warm_up, end, peak / 10)
    adamw = optax.adamw(rate, b1=0.9, b2=0.95, weight_decay=0.1, mask=mask)
    return optax.chain(precision.sanitize_gradients(), adamw) if sanitise else adamw


def make_step(
    loss_fn: Callable[[Any, Any], jax.Array],
    options: argparse.Namespace,
    mask: Mask,
    freeze: str | None = None,
) -> training.TrainStep:
    """Returns the training step that the options of `add_options` describe.

    Args:
        loss_fn: of weights and `{"tokens": int32 [batch, length + 1]}`.
        options: from the command line.
        mask: returns which weights of a tree decay.
        freeze: what is not trained, as for `training.train_step`.
    """
    warm_up = options.warm_up or max(1, min(100, options.steps // 10))
    return training.train_step(
        loss_fn,
        optimiser(options.learning_rate, warm_up, options.steps, not options.plain, mask),
        loss_scale=None if options.plain else precision.DynamicLossScale(options.loss_scale),
        clamp=not options.plain,
        clip_norm=1.0,
        freeze=freeze,
    )


@dataclasses.dataclass
class Log:
    """Prints a line of the table every few steps and writes each step as a line of JSON.

    Attributes:
        every: steps between two lines of the table.
        file: gets the JSON lines, or None.
        rows: what was logged, a dict a step: the metrics of `training.fit`, and `ms`.
    """

    every: int
    file: TextIO | None
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    last: float = dataclasses.field(default_factory=time.perf_counter)

    def __call__(self, step: int, metrics: dict[str, float], state: object = None) -> None:
        now = time.perf_counter()
        row = {"step": step, **metrics, "ms": round(1e3 * (now - self.last), 2)}
        self.last = now
        self.rows.append(row)
        self.write(row)
        if len(self.rows) == 1 or step % self.every == 0:
            self._show(row)

    def total(self, name: str) -> int:
        """Returns the sum of a metric over the steps."""
        return int(sum(row[name] for row in self.rows))

    def recent(self, name: str, steps: int) -> list[float]:
        """Returns a metric's last values."""
        return [row[name] for row in self.rows[-steps:]]

    def write(self, row: dict[str, Any]) -> None:
        """Writes a line of JSON, with null for what is not finite."""
        if self.file is not None:
            finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v
                      for k, v in row.items()}  # fmt: skip
            print(json.dumps(finite), file=self.file, flush=True)

    def _show(self, row: dict[str, Any]) -> None:
        if len(self.rows) == 1:
            print("   step     loss  grad norm  loss scale  skipped  ms/step")
        print(f"{row['step']:7d}{row['loss']:9.4f}{row['grad_norm']:11.4f}"
              f"{row['loss_scale']:12g}{self.total('skipped'):9d}"
              f"{statistics.median(self.recent('ms', self.every)):9.1f}", flush=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run ends with.

    Attributes:
        steps: taken by this process.
        first_loss, last_loss: of its first step, and the mean of its last 20; nats a token.
        nonfinite_values: losses, and elements of gradients, that were infinite or NaN in steps
            that were not skipped, and weights that are so at the end.
        skipped: steps that were left out because their gradients were not finite.
        clamped: activation tensors that reached fp16's limit.
        recompilations: compilations after the first step.
        ms_per_step: median, without the first step.
        tokens_per_s: at that time.
    """

    steps: int
    first_loss: float
    last_loss: float
    nonfinite_values: int
    skipped: int
    clamped: int
    recompilations: int
    ms_per_step: float
    tokens_per_s: float


def summary(log: Log, params: Any, tokens_per_step: int) -> Summary:
    """Sums a run up."""
    ms = statistics.median([row["ms"] for row in log.rows[1:]] or [log.rows[0]["ms"]])
    taken = [row for row in log.rows if not row["skipped"]]
    bad = sum(row["nonfinite"] + (not math.isfinite(row["loss"])) for row in taken)
    return Summary(
        steps=len(log.rows),
        first_loss=log.rows[0]["loss"],
        last_loss=statistics.fmean(log.recent("loss", 20)),
        nonfinite_values=int(bad) + int(precision.count_nonfinite(params)),
        skipped=log.total("skipped"),
        clamped=log.total("clamped"),
        recompilations=log.total("recompiled"),
        ms_per_step=ms,
        tokens_per_s=1e3 * tokens_per_step / ms,
    )


def run(
    step: training.TrainStep,
    params: Any,
    tokens: data.TokenFile | np.ndarray,
    length: int,
    options: argparse.Namespace,
) -> tuple[Summary | None, Any]:
    """Trains as the command line says.

    Args:
        step: from `make_step`.
        params: the weights to begin with.
        tokens: what to learn from: a file, or integers [count].
        length: tokens of context.
        options: from the command line.

    Returns:
        The summary, or None if the run was complete before, and the trained weights.
    """
    device = jax.devices(options.device)[0]
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.default_device(device))
        file = stack.enter_context(options.log.open("a")) if options.log else None
        log = Log(options.every, file)

        def batches(start: int) -> Iterable[Any]:
            drawn = data.token_batches(tokens, options.batch, length, options.seed, start)
            return stack.enter_context(data.prefetch(drawn))

        log.write({"config": {name: str(value) if isinstance(value, Path) else value
                              for name, value in sorted(vars(options).items())},
                   "device_kind": device.device_kind})  # fmt: skip
        result = training.fit(
            step, step.init(params), batches,
            steps=min(options.steps, options.until or options.steps),
            progress=False, callbacks=[log],
            checkpoint_dir=options.checkpoint_dir, checkpoint_every=options.checkpoint_every,
        )  # fmt: skip
        if not log.rows:
            return None, result.state.params
        done = summary(log, result.state.params, options.batch * length)
        log.write({"summary": dataclasses.asdict(done)})
        return done, result.state.params


def finish(
    name: str, train: Callable[[argparse.Namespace], Summary | None], options: argparse.Namespace
) -> int:
    """Trains, prints how it went, and returns the exit code: 2 for what the user can mend."""
    try:
        with jax_ane.config(numerics=options.numerics):
            done = train(options)
    except (OSError, ValueError, jax_ane.AneError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    if done is None:
        print(f"{options.steps} steps are taken already: give more --steps")
        return 0
    print(
        f"{done.steps} steps: loss {done.first_loss:.4f} -> {done.last_loss:.4f}, "
        f"{done.nonfinite_values} non-finite values, {done.recompilations} recompilations, "
        f"{done.skipped} skipped, {done.ms_per_step:.0f} ms/step, {done.tokens_per_s:.0f} tokens/s"
    )
    return 0


def count(text: str) -> int:
    """Reads a number of at least 1, for argparse."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def add_options(parser: argparse.ArgumentParser, batch: int) -> None:
    """Adds the options of a run; `batch` is how many windows a batch has by default."""
    add = parser.add_argument
    add("--steps", type=count, required=True, help="of the whole run, resumed or not")
    add("--until", type=count, metavar="STEP",
        help="end there, with the learning rates of the whole run")  # fmt: skip
    add("--device", default="ane", choices=("ane", "cpu"))
    add("--numerics", default="fast", choices=("fast", "exact"),
        help="of the software ANE: float32 sums, or the chip's bits, slowly")  # fmt: skip
    add("--plain", action="store_true", help="no clamping, loss scale or sanitising")
    add("--loss-scale", type=float, default=128.0, help="to begin with; it adapts itself")
    add("--batch", type=count, default=batch, help="windows in a batch")
    add("--warm-up", type=count, metavar="STEPS", help="if not a tenth of the steps, up to 100")
    add("--checkpoint-dir", type=Path, metavar="FOLDER", help="the run goes on from what is there")
    add("--checkpoint-every", type=count, default=100, metavar="STEPS")
    add("--log", type=Path, metavar="FILE", help="lines of JSON are appended: options, steps, end")
    add("--every", type=count, default=10, metavar="STEPS", help="steps a line of the table")
