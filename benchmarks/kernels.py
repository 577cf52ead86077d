# SPDX-License-Identifier: Apache-2.0
"""The software ANE's kernels in `fast` numerics against jax's CPU backend in its best dtype.

`python benchmarks/kernels.py [--check] [--json] [--only NAME]`. Products, norms and activations are
MIL programs on fp16 arrays against jitted JAX functions on float32, bfloat16 or float16 arrays,
whichever is quickest; convolutions run through JAX on both sides. All in one process, in turn, on
equally many threads.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs
from measure import Timing, best, compare

import jax_ane

DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)
ROWS = ((256, 768), (1024, 3072))
# Width, height and channels of ResNet-18's 3x3 convolutions of stride 1.
CONVOLUTIONS = ((56, 64), (28, 128), (14, 256), (7, 512))


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: its group, our call and JAX's function with its float32 arguments."""

    group: str
    name: str
    ours: Callable[[], object]
    function: Callable[..., jax.Array]
    arguments: tuple[np.ndarray, ...]
    dtypes: tuple[type, ...] = DTYPES


EXACT = "exact against fast"
# Group: the bound of the geometric mean of its ratios, or of each ratio.
BOUNDS = {
    "gemv": (3.0, "each"),
    "gemm": (1.15, "mean"),
    "gemm 8 rows": (1.6, "each"),
    "conv 3x3": (1.3, "mean"),
    "layer norm": (4.0, "each"),
    "softmax": (2.3, "each"),
    "gelu": (1.4, "each"),
    "silu": (1.4, "each"),
    EXACT: (0.27, "each"),
}


def _layer_norm(x: jax.Array, g: jax.Array, b: jax.Array) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5).astype(x.dtype) * g + b


def _product(group: str, m: int, k: int, n: int) -> Case:
    source = programs.matmul(m, k, n)
    arrays = tuple(a.astype(np.float32) for a in source.inputs.values())
    ours = source.load().evaluate
    return Case(group, f"{m} x {k} x {n}", ours, lambda x, y: x @ y, arrays)


def _rows(group: str, source: programs.Source, function: Callable[..., jax.Array]) -> Case:
    arrays = tuple(a.astype(np.float32) for a in source.inputs.values())
    if group == "layer norm":
        width = arrays[0].shape[-1]
        arrays += (np.ones(width, np.float32), np.zeros(width, np.float32))
    name = " x ".join(map(str, arrays[0].shape))
    return Case(group, name, source.load().evaluate, function, arrays)


def _convolution(batch: int, side: int, channels: int) -> Case:
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, side, side, channels)).astype(np.float32)
    w = random.standard_normal((3, 3, channels, channels)) * math.sqrt(2 / (9 * channels))

    def function(x: jax.Array, w: jax.Array) -> jax.Array:
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=dims)

    arrays = (x, w.astype(np.float32))
    run = jax.jit(function)
    on_ane = jax.device_put(arrays, jax.devices("ane")[0])
    name = f"batch {batch}, {side} x {side} x {channels}"
    call = lambda: jax.block_until_ready(run(*on_ane))  # noqa: E731
    return Case("conv 3x3", name, call, function, arrays, (jnp.float32,))


def cases() -> Iterator[Case]:
    """Yields every comparison with JAX, one at a time: some hold much memory."""
    for n in (2304, 3072, 50257):
        yield _product("gemv", 1, 768, n)
    for m, n in ((256, 768), (256, 2048), (256, 32000), (64, 3072)):
        yield _product("gemm", m, 768, n)
    yield _product("gemm 8 rows", 8, 768, 3072)
    for batch in (1, 8):
        for side, channels in CONVOLUTIONS:
            yield _convolution(batch, side, channels)
    for shape in ROWS:
        yield _rows("layer norm", programs.layer_norm(*shape), _layer_norm)
        yield _rows("softmax", programs.softmax(*shape), jax.nn.softmax)
        yield _rows("gelu", programs.gelu(*shape), jax.nn.gelu)
        yield _rows("silu", programs.silu(*shape), jax.nn.silu)


def run(case: Case) -> tuple[Timing, str]:
    """Returns the timing against JAX's quickest dtype, and that dtype's name."""
    cpu = jax.devices("cpu")[0]
    jitted = jax.jit(case.function)
    calls = {}
    for dtype in case.dtypes:
        arrays = [jax.device_put(a.astype(dtype), cpu) for a in case.arguments]
        calls[np.dtype(dtype).name] = lambda a=arrays: jitted(*a).block_until_ready()
    quickest = min(calls, key=lambda name: best(calls[name], 0.1)) if len(calls) > 1 else "float32"
    return compare(case.ours, calls[quickest]), quickest


def exact_against_fast() -> tuple[Timing, str]:
    """Returns the timing of a fast product (theirs) against the exact one (ours), on vectors.

    Exact products cannot go by AMX tiles, so that with those the ratio tells nothing of the exact
    kernel; another process then measures both on AVX-512.
    """
    if jax_ane.info().to_dict()["isa"] == "amx":
        command = [sys.executable, __file__, "--only", EXACT, "--json"]
        done = subprocess.run(command, env={**os.environ, "JAX_ANE_ISA": "avx512"},
                              stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
        (row,) = json.loads(done.stdout.splitlines()[-1])
        return Timing(**row["timing"]), row["dtype"]
    source = programs.matmul(512, 1024, 1024)
    exact, fast = source.load("exact"), source.load("fast")
    return compare(exact.evaluate, fast.evaluate), "fast"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 below a bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", default="", help="groups whose name contains this")
    options = parser.parse_args()
    jax_ane.config.update("numerics", "fast")
    print(f"{os.cpu_count()} CPUs, kernels of {jax_ane.info().to_dict()['isa']}")
    print(f"{'kernel':42}{'ours us':>10}{'theirs us':>11}{'ratio':>7}  dtype     quiet rounds")
    rows: list[dict[str, Any]] = []

    def report(group: str, name: str, t: Timing, dtype: str) -> None:
        rows.append({"group": group, "name": name, "dtype": dtype,
                     "timing": dataclasses.asdict(t)})  # fmt: skip
        noise = "" if t.is_quiet else f"  (not quiet: {t.load:.0%} foreign load)"
        print(f"{group + ' ' + name:42}{t.ours_us:10.1f}{t.theirs_us:11.1f}{t.ratio:7.2f}  "
              f"{dtype:9} {t.kept}/{t.rounds}{noise}", flush=True)  # fmt: skip

    for case in cases():
        if options.only in case.group:
            report(case.group, case.name, *run(case))
    if options.only in EXACT:
        report(EXACT, "512 x 1024 x 1024", *exact_against_fast())
    low = 0
    print()
    for group, (bound, how) in BOUNDS.items():
        ratios = [row["timing"]["ratio"] for row in rows if row["group"] == group]
        if not ratios:
            continue
        value = min(ratios) if how == "each" else math.exp(np.mean(np.log(ratios)))
        low += value < bound
        what = "lowest" if how == "each" else "geometric mean"
        verdict = "" if value >= bound else "  below"
        print(f"{group:20} {what:15} {value:6.2f}  bound {bound:.2f}{verdict}")
    if options.json:
        print(json.dumps(rows))
    return int(options.check and low > 0)


if __name__ == "__main__":
    sys.exit(main())
