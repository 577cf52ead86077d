# SPDX-License-Identifier: Apache-2.0
"""Whole models on the software ANE in `fast` numerics against jax's CPU backend in float32.

`python benchmarks/models.py [--check] [--json] [--only NAME] [--numerics exact]`
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from measure import Timing, compare
from models import resnet, transformer

import jax_ane

BOUND = 1.3  # times jax's CPU backend, every model
Case = Callable[[], tuple[Callable[..., jax.Array], Any, np.ndarray]]


def _resnet(batch: int) -> Case:
    def make() -> tuple[Callable[..., jax.Array], Any, np.ndarray]:
        images = np.random.default_rng(1).standard_normal((batch, 224, 224, 3))
        return resnet.apply, resnet.init(), images.astype(np.float32)

    return make


def _embeddings(length: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.standard_normal((1, length, transformer.WIDTH)).astype(np.float32)


def _gpt2_block() -> tuple[Callable[..., jax.Array], Any, np.ndarray]:
    return transformer.gpt2_block, transformer.init_block(), _embeddings(256)


def _bert() -> tuple[Callable[..., jax.Array], Any, np.ndarray]:
    blocks = [transformer.init_block(i) for i in range(12)]
    return transformer.bert_encoder, blocks, _embeddings(128)


CASES: dict[str, Case] = {
    "resnet18, batch 1": _resnet(1),
    "resnet18, batch 8": _resnet(8),
    "gpt2 block, 256 tokens": _gpt2_block,
    "bert-base encoder, 128 tokens": _bert,
}


def run(case: Case) -> tuple[Timing, float]:
    """Returns the timing and the relative L2 distance of the two results."""
    function, params, x = case()
    calls, results = [], []
    for platform in ("ane", "cpu"):
        device = jax.devices(platform)[0]
        on_device = jax.device_put((params, x), device)
        jitted = jax.jit(function)
        calls.append(lambda f=jitted, a=on_device: jax.block_until_ready(f(*a)))
        results.append(np.asarray(calls[-1](), np.float64))
    distance = np.linalg.norm(results[0] - results[1]) / np.linalg.norm(results[1])
    return compare(*calls), float(distance)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 below a bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--numerics", default="fast", choices=("fast", "exact"))
    options = parser.parse_args()
    jax_ane.config.update("numerics", options.numerics)
    rows = []
    print(f"{'model':32}{'ane ms':>9}{'cpu ms':>9}{'ratio':>7}{'bound':>7}  rel. L2  rounds")
    for name, case in CASES.items():
        if options.only not in name:
            continue
        t, distance = run(case)
        rows.append({"name": name, "ane_ms": t.ours_us / 1e3, "cpu_ms": t.theirs_us / 1e3,
                     "ratio": t.ratio, "bound": BOUND, "relative_l2": distance,
                     "quiet_rounds": t.kept, "rounds": t.rounds})  # fmt: skip
        verdict = "" if t.ratio >= BOUND else "  below"
        noise = "" if t.is_quiet else f"  (not quiet: {t.load:.0%} foreign load)"
        print(
            f"{name:32}{t.ours_us / 1e3:9.2f}{t.theirs_us / 1e3:9.2f}{t.ratio:7.2f}{BOUND:7.2f}"
            f"  {distance:.1e}  {t.kept}/{t.rounds}{verdict}{noise}",
            flush=True,
        )
    if options.json:
        print(json.dumps(rows))
    return int(options.check and any(row["ratio"] < row["bound"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
