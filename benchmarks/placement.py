# SPDX-License-Identifier: Apache-2.0
"""What of each model runs on the ANE, in how many programs, and how near to float32.

`python benchmarks/placement.py [--json] [--only NAME] [--plan] [--size small]`

Each model is planned and then run, in `exact` numerics on `ane` and in float32 on `cpu`: its
outputs, and its gradients at random weights. `--plan` only plans, which needs no memory for
weights. Exits 1 where a bound fails.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import jax
from model_table import MODELS, Model, distance, samples, structs
from models import common

import jax_ane

# Least share of FLOPs on the ANE, most relative L2 distance from float32.
FORWARD_SHARE, TRAIN_SHARE = 0.97, 0.95
OUTPUT_DISTANCE, GRADIENT_DISTANCE = 5e-3, 2e-2
_REFUSED = re.compile(r"ANE\d+|mil")


# ---------------------------------------------------------------------------- planning


def plan(function: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Returns one row of the table."""
    report = jax_ane.explain(function, *arguments)
    placement = report.placement
    host = [op for op in placement.ops if op.placement == "host" and op.reason.code != "constant"]
    costs: collections.Counter[tuple[str, str]] = collections.Counter()
    for op in host:
        costs[op.op.removeprefix("stablehlo."), op.reason.code] += op.flops
    total = max(1, placement.total_flops)
    return {
        "ane_share": placement.ane_flop_fraction,
        "programs": len(placement.programs),
        "calls": sum(placement.calls.values()),
        "host_ops": len(host),
        "host_parts": _host_parts(jax_ane.lower(function, *arguments).host_module),
        "compile_seconds": placement.compile_seconds,
        "refusals": sorted({op.reason.code for op in host if _REFUSED.match(op.reason.code)}),
        "host_costs": [
            {"op": op, "reason": code, "share": flops / total}
            for (op, code), flops in costs.most_common(4)
            if flops / total >= 1e-4
        ],
    }


def _host_parts(module: str) -> int:
    """Counts the runs of host ops that a program's calls separate, in each block of code."""
    parts, inside = 0, False
    for line in module.splitlines():
        if "@jax_ane_program" in line or line.lstrip().startswith(("}", "func.", "return")):
            inside = False
        elif " = stablehlo." in line and "stablehlo.constant" not in line:
            parts, inside = parts + (not inside), True
    return parts


# ---------------------------------------------------------------------------- table


def rows(name: str, model: Model, small: bool, parity: bool) -> list[dict[str, Any]]:
    """Returns the rows of one model: its forward pass and its training step."""
    params = model.init(None, small=small)
    inputs, targets = (structs(s) for s in model.example(small=small))
    row = {"name": name, "pass": "forward", **plan(model.forward, (params, inputs))}
    row |= {"most_programs": model.kinds, "least_share": FORWARD_SHARE}
    found = [row]
    if model.train_step is not None:
        state = jax.eval_shape(common.OPTIMISER.init, params)
        row = {"name": name, "pass": "train"}
        row |= plan(model.train_step, (params, state, inputs, targets))
        row |= {"most_programs": None, "least_share": TRAIN_SHARE}
        found.append(row)
    if parity:
        held = model.init(0, small=small)
        x, y = (samples(s) for s in model.example(small=small))
        found[0] |= {"distance": distance(model.forward, held, x), "most_distance": OUTPUT_DISTANCE}
        if model.loss is not None:
            gap = distance(jax.grad(model.loss), held, x, y)
            found[1] |= {"distance": gap, "most_distance": GRADIENT_DISTANCE}
    return found


def failures(row: dict[str, Any]) -> list[str]:
    """Returns which bounds a row misses."""
    missed = []
    if row["ane_share"] < row["least_share"]:
        missed.append(f"share < {row['least_share']:.0%}")
    if row["most_programs"] is not None and row["programs"] > row["most_programs"]:
        missed.append(f"programs > {row['most_programs']}")
    if row["refusals"]:
        missed.append("refused: " + ", ".join(row["refusals"]))
    if not row.get("distance", 0.0) <= row.get("most_distance", 0.0):
        missed.append(f"distance > {row['most_distance']:.0e}")
    return missed


def _line(row: dict[str, Any]) -> str:
    gap = f"{row['distance']:9.1e}" if "distance" in row else f"{'':9}"
    host = ", ".join(f"{c['share']:.2%} {c['op']} ({c['reason']})" for c in row["host_costs"])
    return (
        f"{row['name']:16}{row['pass']:8}{row['ane_share']:8.2%}{row['programs']:6d}"
        f"{row['calls']:6d}{row['host_parts']:6d}{row['host_ops']:7d}"
        f"{row['compile_seconds']:8.2f}{gap}  {'; '.join(failures(row)) or 'ok'}"
        + (f"\n{'':24}{host}" if host else "")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--plan", action="store_true", help="only plan, run nothing")
    parser.add_argument("--size", default="full", choices=("full", "small"))
    options = parser.parse_args()
    print(f"{'model':16}{'pass':8}{'FLOPs':>8}{'progs':>6}{'calls':>6}{'host':>6}{'h. ops':>7}"
          f"{'comp. s':>8}{'rel. L2':>9}  bounds")  # fmt: skip
    found = []
    for name, model in MODELS.items():
        if options.only in name:
            for row in rows(name, model, options.size == "small", not options.plan):
                found.append(row)
                print(_line(row), flush=True)
    if options.json:
        print(json.dumps(found))
    return int(any(failures(row) for row in found))


if __name__ == "__main__":
    sys.exit(main())
