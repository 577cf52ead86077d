# SPDX-License-Identifier: Apache-2.0
"""What a call costs beside its work: CPU time of tiny programs, against that of jax's CPU client.

`python benchmarks/dispatch.py [--check] [--json] [--seconds S]`. Both clients run in this process,
in turn, on the same function; a call ends when its results are there. CPU time of the process: the
machine may be busy with other things. The steps of a call are measured apart, by calling them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jax_ane import _host
from jax_ane import _jax_internals as internals

# Inputs and outputs: the most that a call may cost, in calls of jax's CPU client.
BOUNDS = {(1, 1): 1.4, (10, 10): 2.0, (450, 450): 1.6, (450, 1): 1.3}
ELEMENTS = 8  # of each array


@dataclasses.dataclass(frozen=True)
class Row:
    """One call's CPU time in microseconds, medians over the rounds.

    Attributes:
        ratio: median of ane_us / cpu_us, round by round.
        host_us: of ane_us, the call of XLA:CPU's executable through jaxlib.
        results_us: of ane_us, making jaxlib's arrays of its results.
        plugin_us: the rest beyond what jax itself takes for its CPU client: arguments, buffers,
            events and the C API on both of its sides; negative where XLA:CPU's own work, which
            host_us has too, is more.
    """

    inputs: int
    outputs: int
    ane_us: float
    cpu_us: float
    host_us: float
    results_us: float
    ratio: float

    @property
    def plugin_us(self) -> float:
        return self.ane_us - self.cpu_us - self.host_us - self.results_us

    @property
    def is_good(self) -> bool:
        return self.ratio <= BOUNDS[self.inputs, self.outputs]


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; returns 1 where one misses its bound and `--check` asks."""
    parser = argparse.ArgumentParser(description="What a call costs beside its work.")
    parser.add_argument("--check", action="store_true", help="exit 1 beyond a bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--seconds", type=float, default=6.0, help="of measuring each row")
    options = parser.parse_args(argv)
    print("CPU microseconds of a call")
    print(f"{'in / out':>10}{'ane':>9}{'cpu':>9}{'ratio':>8}  bound  |"
          f"{'host call':>10}{'results':>9}{'plugin':>9}")  # fmt: skip
    rows = []
    for inputs, outputs in BOUNDS:
        row = measure(inputs, outputs, options.seconds)
        rows.append(row)
        print(f"{f'{inputs} / {outputs}':>10}{row.ane_us:9.1f}{row.cpu_us:9.1f}{row.ratio:8.2f}"
              f"{BOUNDS[inputs, outputs]:7.1f}  |{row.host_us:10.1f}{row.results_us:9.1f}"
              f"{row.plugin_us:9.1f}{'' if row.is_good else '  beyond'}", flush=True)  # fmt: skip
    first, many, one = rows[0], rows[2], rows[3]
    argument = (one.ane_us - first.ane_us) / (one.inputs - 1)
    result = (many.ane_us - one.ane_us) / (many.outputs - 1)
    print(f"an argument more takes {argument:.2f} us, a result more {result:.2f} us")
    if options.json:
        print(json.dumps([{**dataclasses.asdict(r), "plugin_us": r.plugin_us} for r in rows]))
    return int(options.check and not all(row.is_good for row in rows))


def measure(inputs: int, outputs: int, seconds: float) -> Row:
    """Measures one row; `seconds` are those of the clock, for all of it."""

    def function(*arrays: jax.Array) -> list[jax.Array]:
        return [arrays[i % inputs] + 1.0 for i in range(outputs)]

    calls = {}
    for platform in ("ane", "cpu"):
        device = jax.devices(platform)[0]
        arrays = [jax.device_put(_array(i), device) for i in range(inputs)]
        compiled = jax.jit(function, keep_unused=True).lower(*arrays).compile()
        jitted = jax.jit(function, keep_unused=True)
        calls[platform] = lambda f=jitted, a=arrays: jax.block_until_ready(f(*a))
        if platform == "ane":
            calls |= _steps(compiled, inputs)
    for call in calls.values():
        for _ in range(20):
            call()
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 5:
        rounds.append({name: _cpu_us(call) for name, call in calls.items()})
    middle = {name: statistics.median(r[name] for r in rounds) for name in calls}
    return Row(
        inputs, outputs, middle["ane"], middle["cpu"], middle["host"],
        middle["results"] - middle["host"],
        statistics.median(r["ane"] / r["cpu"] for r in rounds),
    )  # fmt: skip


def _array(number: int) -> np.ndarray:
    return np.full(ELEMENTS, number, np.float32)


def _steps(compiled: Any, inputs: int) -> dict[str, Callable[[], object]]:
    """Returns what the plugin calls in jaxlib during an execution: the launch, and all of it."""
    fingerprint = compiled.runtime_executable().fingerprint
    host = internals.programs[
        fingerprint.decode() if isinstance(fingerprint, bytes) else fingerprint
    ]
    engine = _host.engine()
    arrays = [
        internals.put(_array(i), engine.shardings[0], engine.devices[0]) for i in range(inputs)
    ]
    return {
        "host": lambda: host.execute(arrays),
        "results": lambda: host.execute(arrays).consume_with_handlers(host.handlers),
    }


def _cpu_us(call: Callable[[], object], seconds: float = 0.06) -> float:
    start, count = time.process_time(), 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(5):
            call()
        count += 5
    return 1e6 * (time.process_time() - start) / count


if __name__ == "__main__":
    sys.exit(main())
