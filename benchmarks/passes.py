# SPDX-License-Identifier: Apache-2.0
"""What each pass does to accuracy and cost: every pass on, against all but one.

`python benchmarks/passes.py [--size full] [--only MODEL] [--pass NAME] [--no-time] [--json]`

Over the forward pass and the gradients of every model of the table. A pass that leaves a model's
programs as they are without it does nothing there, and the model is left out of its row. Distances
are in `exact` numerics, from float32 on `cpu`; times are of the software ANE in `fast` numerics,
the two variants in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from measure import compare
from model_table import MODELS, Model, run, samples

import jax_ane
from jax_ane.compiler import passes

NAMES = (*(p.name for p in passes.PIPELINE), *sorted(passes.AROUND))
_ROUNDS, _MOST_ROUNDS, _ROUND_S = 5, 10, 0.05
_COLUMNS = (
    "pass", "models", "MIL ops", "programs", "estimated ms", "outputs", "gradients", "time",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a function becomes: calls of programs by fingerprint, MIL ops, seconds on the chip."""

    calls: dict[str, int]
    mil_ops: int
    estimate_s: float

    @property
    def programs(self) -> int:
        return len(self.calls)


@dataclasses.dataclass(frozen=True)
class Effect:
    """One pass in one function of one model, with the pass and without.

    Attributes:
        distance, distance_without: relative L2 distances from float32.
        time_ratio: the software ANE's time without the pass over its time with it; None where it
            was not measured.
    """

    model: str
    what: str  # "outputs" or "gradients"
    name: str
    plan: Plan
    without: Plan
    distance: float
    distance_without: float
    time_ratio: float | None


def plan(function: Callable[..., Any], arguments: Sequence[Any]) -> Plan:
    placement = jax_ane.explain(function, *arguments).placement
    return Plan(
        {p.fingerprint: placement.calls[p.name] for p in placement.programs},
        sum(p.op_count for p in placement.programs),
        placement.estimate.total_s,
    )


def effects(
    model: str, what: str, function: Callable[..., Any], arguments: Sequence[Any],
    names: Iterable[str], is_timed: bool,
) -> list[Effect]:  # fmt: skip
    """Returns the effect of each pass that changes the function's programs."""
    with jax_ane.config(numerics="exact"):
        whole = plan(function, arguments)
    found: list[Effect] = []
    want: np.ndarray | None = None
    distance = 0.0
    for name in names:
        with jax_ane.config(numerics="exact", disable_passes=name):
            without = plan(function, arguments)
            if without.calls == whole.calls:
                continue
            lacking = run(_fresh(function), arguments, "ane")
        if want is None:
            want = run(function, arguments, "cpu")
            with jax_ane.config(numerics="exact"):
                distance = _distance(run(_fresh(function), arguments, "ane"), want)
        ratio = _time_ratio(function, arguments, name) if is_timed else None
        found.append(
            Effect(model, what, name, whole, without, distance, _distance(lacking, want), ratio)
        )
    return found


def _fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that JAX has not compiled yet."""
    return lambda *arguments: function(*arguments)


def _distance(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def _time_ratio(function: Callable[..., Any], arguments: Sequence[Any], name: str) -> float:
    held = jax.device_put(tuple(arguments), jax.devices("ane")[0])
    calls: list[Callable[[], object]] = []
    for disabled in ("", name):
        with jax_ane.config(numerics="fast", disable_passes=disabled):
            compiled = jax.jit(_fresh(function)).lower(*held).compile()
        calls.append(lambda compiled=compiled: jax.block_until_ready(compiled(*held)))
    return compare(*calls, _ROUNDS, _MOST_ROUNDS, _ROUND_S).ratio


def of_model(
    name: str, model: Model, small: bool, names: Sequence[str], is_timed: bool
) -> list[Effect]:
    params = model.init(0, small=small)
    inputs, targets = (samples(s) for s in model.example(small=small))
    found = effects(name, "outputs", model.forward, (params, inputs), names, is_timed)
    if model.loss is not None:
        gradient = jax.grad(model.loss)
        arguments = (params, inputs, targets)
        found += effects(name, "gradients", gradient, arguments, names, is_timed)
    return found


# ---------------------------------------------------------------------------- table


def row(name: str, found: Sequence[Effect]) -> dict[str, Any]:
    """Returns a pass's row: sums over what it changed, ratios of without to with it."""
    mine = [effect for effect in found if effect.name == name]
    ratios = [effect.time_ratio for effect in mine if effect.time_ratio is not None]
    return {
        "pass": name,
        "models": sorted({effect.model for effect in mine}),
        "mil_ops": _sums(mine, lambda p: p.mil_ops),
        "programs": _sums(mine, lambda p: p.programs),
        "estimate_ms": _sums(mine, lambda p: 1e3 * p.estimate_s),
        "outputs": _spread(mine, "outputs"),
        "gradients": _spread(mine, "gradients"),
        "time_ratio": _mean(ratios),
    }


def _sums(found: Sequence[Effect], of: Callable[[Plan], float]) -> tuple[float, float]:
    return sum(of(effect.plan) for effect in found), sum(of(effect.without) for effect in found)


def _spread(found: Sequence[Effect], what: str) -> dict[str, Any] | None:
    """Returns the mean growth of the distance without the pass, and the model where it is most."""
    ratios = {
        e.model: e.distance_without / e.distance
        for e in found
        if e.what == what and e.distance > 0 and e.distance_without > 0
    }
    if not ratios:
        return None
    most = max(ratios, key=lambda model: abs(math.log(ratios[model])))
    return {"mean": _mean(list(ratios.values())), "most": ratios[most], "model": most}


def _mean(ratios: Sequence[float]) -> float | None:
    """Returns the geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def line(values: dict[str, Any]) -> str:
    """Returns a row as Markdown: what it is with the pass, and how much of it without."""
    if not values["models"]:
        return f"| `{values['pass']}` | 0 |" + " |" * (len(_COLUMNS) - 2)

    def pair(key: str, digits: int) -> str:
        on, off = values[key]
        return f"{on:,.{digits}f} → {off:,.{digits}f}"

    def spread(key: str) -> str:
        held = values[key]
        if held is None:
            return ""
        return f"{held['mean']:.3g} ({held['most']:.3g} {held['model']})"

    time = "" if values["time_ratio"] is None else f"{values['time_ratio']:.3f}"
    cells = (
        f"`{values['pass']}`", str(len(values["models"])), pair("mil_ops", 0),
        pair("programs", 0), pair("estimate_ms", 2), spread("outputs"), spread("gradients"), time,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="small", choices=("full", "small"))
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--pass", dest="which", default="", help="passes whose name contains this")
    parser.add_argument("--no-time", action="store_true", help="leave the measured times out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    names = [name for name in NAMES if options.which in name]
    found: list[Effect] = []
    for name, model in MODELS.items():
        if options.only in name:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found += of_model(name, model, options.size == "small", names, not options.no_time)
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    for name in names:
        print(line(row(name, found)))
    if options.json:
        print(json.dumps([dataclasses.asdict(effect) for effect in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
