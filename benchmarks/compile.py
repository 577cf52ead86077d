# SPDX-License-Identifier: Apache-2.0
"""What compiling costs: GPT-2 124M's AdamW step, and how it grows with the number of ops.

`python benchmarks/compile.py [--check] [--json] [--plot PATH]`. CPU time throughout: the machine
may be busy with other things.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
from models import gpt2

import jax_ane
from jax_ane import report
from jax_ane.compiler import pipeline

PYTHON_S = 1.0  # most, of GPT-2's step
OF_CPU = 0.25  # most, of jax's CPU compile of the same step
GROWTH = 1.15  # most: the exponent of time over ops
OP_COUNTS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
WORDS = ("dot_general", "add", "tanh", "multiply", "maximum")


@dataclasses.dataclass(frozen=True)
class Step:
    """Compiling one training step, in seconds of CPU time.

    Attributes:
        ops: StableHLO ops of the step.
        python_s: our compiler alone, without XLA and without loading programs.
        ane_s, cpu_s: `lowered.compile()` for each device.
    """

    ops: int
    python_s: float
    ane_s: float
    cpu_s: float

    @property
    def ratio(self) -> float:
        return self.ane_s / self.cpu_s


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; returns 1 where one misses its bound and `--check` asks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a bound")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="PATH", help="write a PNG of the growth")
    options = parser.parse_args(argv)
    jax_ane.config.update("cache_dir", "off")
    step, growth = measure_step(), measure_growth()
    exponent = slope(growth)
    if options.json:
        figures = {**dataclasses.asdict(step), "ratio": step.ratio, "exponent": exponent}
        print(json.dumps({**figures, "growth": growth}))
    else:
        print(f"GPT-2 124M AdamW step, {step.ops:,} ops, CPU seconds")
        print(f"  our compiler  {step.python_s:6.2f}  (at most {PYTHON_S})")
        print(f"  all for ane   {step.ane_s:6.2f}")
        print(f"  all for cpu   {step.cpu_s:6.2f}  ratio {step.ratio:.3f} (at most {OF_CPU})")
        print("growth of our compiler's time with the number of ops")
        for ops, seconds in growth.items():
            print(f"  {ops:7,} ops {seconds:7.2f} s {1e6 * seconds / ops:7.1f} us an op")
        print(f"  exponent {exponent:.3f} (at most {GROWTH})")
    if options.plot:
        plot(growth, exponent, Path(options.plot))
    good = step.python_s <= PYTHON_S and step.ratio <= OF_CPU and exponent <= GROWTH
    return 1 if options.check and not good else 0


def cpu_seconds(fn: Callable[[], object]) -> float:
    start = time.process_time()
    fn()
    return time.process_time() - start


def measure_step() -> Step:
    """Compiles the step for both devices, each twice in turn; the quicker one counts."""
    arguments = gpt2.train_step_args()
    program = report._stablehlo(gpt2.train_step, arguments, {})
    ours = min(cpu_seconds(lambda: pipeline.compile(program, load=False)) for _ in range(3))

    def whole(platform: str) -> float:
        # A function of its own each time, or JAX finds what it has compiled.
        jax.clear_caches()
        with jax.default_device(jax.devices(platform)[0]):
            lowered = jax.jit(lambda *a: gpt2.train_step(*a)).lower(*arguments)
            return cpu_seconds(lowered.compile)

    times: dict[str, list[float]] = {"ane": [], "cpu": []}
    for platform in ("ane", "cpu") * 2:
        times[platform].append(whole(platform))
    ops = len(jax_ane.explain(gpt2.train_step, *arguments).ops)
    return Step(ops, ours, min(times["ane"]), min(times["cpu"]))


def chain(ops: int) -> str:
    """Returns a StableHLO program of so many ops in a row, every fifth a matrix product."""
    t = "tensor<64x64xf32>"
    lines, last = [f"%c = stablehlo.constant dense<0.5> : {t}"], "%a"
    for i in range(ops):
        word = WORDS[i % len(WORDS)]
        if word == "dot_general":
            call = f"{last}, %a, contracting_dims = [1] x [0] : ({t}, {t}) -> {t}"
        else:
            call = f"{last} : {t}" if word == "tanh" else f"{last}, %c : {t}"
        lines.append(f"%v{i} = stablehlo.{word} {call}")
        last = f"%v{i}"
    body = "\n".join(lines)
    return (
        f"module {{ func.func public @main(%a: {t}) -> {t} {{\n{body}\nreturn {last} : {t}\n}} }}"
    )


def measure_growth() -> dict[int, float]:
    """Returns our compiler's CPU seconds by number of ops."""
    pipeline.compile(chain(100), load=False)  # imports
    times = {}
    for ops in OP_COUNTS:
        text = chain(ops)
        times[ops] = cpu_seconds(lambda text=text: pipeline.compile(text, load=False))
    return times


def slope(growth: dict[int, float]) -> float:
    """Returns the least-squares exponent of time over ops."""
    points = [(math.log(ops), math.log(seconds)) for ops, seconds in growth.items()]
    x = sum(p[0] for p in points) / len(points)
    y = sum(p[1] for p in points) / len(points)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def plot(growth: dict[int, float], exponent: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.loglog(list(growth), list(growth.values()), "o-")
    axes.set(xlabel="StableHLO ops", ylabel="CPU seconds", title=f"growth as ops^{exponent:.2f}")
    axes.grid(True, which="both", alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    sys.exit(main())
