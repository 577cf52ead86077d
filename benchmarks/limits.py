# SPDX-License-Identifier: Apache-2.0
"""How close the software ANE comes to what this machine can do at most, in `fast` numerics.

`python benchmarks/limits.py [--check] [--json]` measures the read bandwidth beyond the caches and
the float32 multiply-add peak of the engine's threads, then a matrix-vector product that must stream
its matrix from memory, and a 1024^3 matrix product.
"""

from __future__ import annotations

import argparse
import json
import sys

from measure import best
from programs import matmul

from jax_ane import _engine, _native

READ_BYTES = 512 << 20
STREAMED = (4096, 32000)  # 262 MB of fp16 weights
BOUNDS = {"gemv": 0.85, "gemm": 0.80}


def measure(seconds: float = 0.5) -> dict[str, float]:
    """Returns the machine's limits and what the two products reach, in GB/s and GFLOP/s."""
    _engine.configure()
    bandwidth = max(_native.read_bandwidth(READ_BYTES, seconds) for _ in range(3))
    peak = max(_native.fma_peak(seconds) for _ in range(3))
    depth, width = STREAMED
    gemv = matmul(1, depth, width).load()
    gemm = matmul(1024, 1024, 1024).load()
    return {
        "read_gb_s": bandwidth / 1e9,
        "fma_gflop_s": peak / 1e9,
        "gemv_gb_s": 2 * depth * width / best(gemv.evaluate, 3 * seconds) / 1e9,
        "gemm_gflop_s": 2 * 1024**3 / best(gemm.evaluate, 3 * seconds) / 1e9,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 below a bound")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    found = measure()
    shares = {
        "gemv": found["gemv_gb_s"] / found["read_gb_s"],
        "gemm": found["gemm_gflop_s"] / found["fma_gflop_s"],
    }
    depth, width = STREAMED
    print(f"read bandwidth of {READ_BYTES >> 20} MiB   {found['read_gb_s']:8.1f} GB/s")
    print(f"GEMV {depth}x{width}           {found['gemv_gb_s']:8.1f} GB/s     {shares['gemv']:.0%}")
    print(f"multiply-add peak            {found['fma_gflop_s']:8.1f} GFLOP/s")
    print(
        f"GEMM 1024^3                  {found['gemm_gflop_s']:8.1f} GFLOP/s  {shares['gemm']:.0%}"
    )
    low = [name for name, bound in BOUNDS.items() if shares[name] < bound]
    for name in low:
        print(f"below the bound of {BOUNDS[name]:.0%}: {name}")
    if options.json:
        print(json.dumps(found | {f"{name}_share": share for name, share in shares.items()}))
    return int(options.check and bool(low))


if __name__ == "__main__":
    sys.exit(main())
