# SPDX-License-Identifier: Apache-2.0
"""Plots the losses of training logs, and tells how far two of them are apart.

`python plot_runs.py LOG... [--out plot.svg] [--compare 100 300] [--window 20]`

A log is JSON lines, as `stories110m.py --log` writes them: those with `step` and `loss` count.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jax_ane._errors import four_parts


@dataclasses.dataclass(frozen=True)
class Run:
    """One log.

    Attributes:
        name: the file's name without its ending.
        steps: int64 [n], rising.
        losses: float64 [n]; may be non-finite where a run diverged.
    """

    name: str
    steps: np.ndarray
    losses: np.ndarray

    def smoothed(self, window: int) -> np.ndarray:
        """Returns the mean loss of each step and up to `window - 1` before it, float64 [n]."""
        ends = range(1, len(self.losses) + 1)
        return np.array([self.losses[max(0, end - window) : end].mean() for end in ends])


def read(path: Path) -> Run:
    """Reads a log. A step that comes twice, after a run was taken up again, counts as the later.

    Raises:
        FileNotFoundError: there is no such log.
        ValueError: a line is no JSON object, or none has a step and a loss.
    """
    losses: dict[int, float] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            if "step" in row and "loss" in row:
                losses[int(row["step"])] = math.nan if row["loss"] is None else float(row["loss"])
        except (ValueError, TypeError) as error:
            raise ValueError(
                four_parts(f"{path.name} is not a log", f"{path}, line {number}", str(error),
                           "give files that a run's --log wrote")
            ) from None  # fmt: skip
    if not losses:
        why = "no line has a step and a loss"
        raise ValueError(four_parts(f"{path.name} is not a log", str(path), why, "run it again"))
    steps = sorted(losses)
    return Run(path.stem, np.array(steps), np.array([losses[step] for step in steps]))


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far two smoothed losses are apart at worst.

    Attributes:
        relative: |a - b| / |b|; nan if one of them is not finite at `step`.
        step: where.
        steps: how many steps both runs have in the range.
    """

    relative: float
    step: int
    steps: int


def compare(run: Run, reference: Run, first: int, last: int, window: int) -> Distance:
    """Returns the largest relative difference of the smoothed losses, first to last step.

    Raises:
        ValueError: the runs share no step in the range.
    """
    shared = np.intersect1d(run.steps, reference.steps)
    shared = shared[(shared >= first) & (shared <= last)]
    if not shared.size:
        raise ValueError(
            four_parts("the runs cannot be compared", f"{run.name} and {reference.name}",
                       f"they share no step from {first} to {last}", "give another range")
        )  # fmt: skip
    a, b = (r.smoothed(window)[np.searchsorted(r.steps, shared)] for r in (run, reference))
    relative = np.abs(a - b) / np.abs(b)
    worst = int(np.argmax(relative))  # nan counts as the largest
    return Distance(float(relative[worst]), int(shared[worst]), len(shared))


def plot(runs: Sequence[Run], path: Path, window: int) -> None:
    """Draws each run's losses, pale, and their smoothed curve, in the format of the file's name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for run in runs:
        (line,) = axes.plot(run.steps, run.smoothed(window), label=run.name)
        axes.plot(run.steps, run.losses, color=line.get_color(), alpha=0.25, linewidth=0.7)
    axes.set(xlabel="step", ylabel="loss (nats a token)", title=f"Mean of {window} steps")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG")
    parser.add_argument("--out", type=Path, help="picture to write: .svg, .png or .pdf")
    parser.add_argument("--window", type=int, default=20, help="steps that are averaged")
    parser.add_argument(
        "--compare", type=int, nargs=2, metavar=("FIRST", "LAST"),
        help="print the largest relative difference of each log's smoothed loss from the last "
             "log's, over these steps",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if options.window < 1:
        parser.error("--window must be at least 1")
    if options.compare and len(options.logs) < 2:
        parser.error("--compare needs two logs")
    try:
        runs = [read(path) for path in options.logs]
        for run in runs[:-1] if options.compare else ():
            far = compare(run, runs[-1], *options.compare, options.window)
            print(f"{run.name} against {runs[-1].name}: {far.relative:.3%} at most, at step "
                  f"{far.step}, over {far.steps} steps")  # fmt: skip
    except (OSError, ValueError) as error:
        print(f"plot_runs: {error}", file=sys.stderr)
        return 2
    if options.out:
        plot(runs, options.out, options.window)
    return 0


if __name__ == "__main__":
    sys.exit(main())
