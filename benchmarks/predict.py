# SPDX-License-Identifier: Apache-2.0
"""Training steps on M1 to M5 as the cost model predicts them, beside published times.

`python benchmarks/predict.py [--json] [--only NAME] [--chips M4 M5]` prints
`docs/results/predicted-steps.md`. Nothing is run: each model's step is planned for each chip.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from models.decoders import DECODERS, Decoder

import jax_ane
from jax_ane import _chips, precision, training

CHIPS = ("M1", "M2", "M3", "M4", "M5")
PUBLISHED = Path(__file__).parent / "published_steps.csv"

# Time of any call in ms, and GB/s of copies at a program's border, of the larger chips that have a
# fit of their own (cost-model.md section 2); the engine is that of the base chip.
VARIANTS = {"M1 Max": (0.360, 10.6), "M4 Pro": (0.023, 11.1), "M4 Max": (0.082, 28.6)}
ASSUMED = "M4"  # where no chip is stated
_UPDATE_BYTES = 28  # a weight: it, its gradient and two moments read, all but the gradient written

NOTES = {
    "a": "sizes are those that the named number of weights comes to; heads of 128 and, for 48.8M, "
    "512 tokens are assumed",
    "b": "weights are constants of their programs, compiled anew at each update, which their "
    "figure leaves out (3.2 to 9.6 s per 10 steps; Orion 4.2 s, by its delta 0.5 s)",
    "f": "'engine' is their forward pass alone",
    "p": "their CPU's work overlaps with the engine's or with itself",
    "q": "without the query and key norms of Qwen3, as theirs",
    "r": "their network has no rotary positions, ours has",
    "t": "their CPU transposes every activation element by element",
    "u": f"the chip is not stated (M4 or M3 Ultra); {ASSUMED} assumed",
    "x": "their classifier, softmax and gradients of norms are on the engine too",
}

HEADER = """# Training steps as the cost model predicts them, beside published times

Printed by `python benchmarks/predict.py`, which plans each step for each chip and runs nothing.
Nothing here was measured on the hardware by this project; the published times are other projects'
own (`benchmarks/published_steps.csv`).

A step is ours: `training.train_step` with clamped activations, a dynamic loss scale, clipping and
AdamW; one sequence, of 256 tokens where the model's name says no other number. Predicted
milliseconds are a sum of four parts: `calls` (what any call of a program takes), `copies` (of
activations and gradients across the programs' borders, with their conversion to fp16), `weights`
(the same for the weights, which every update changes) and `engine` (its ops, and what does not stay
on chip between them). The **host's part is left out**, because the model has no rate for it: what
the host computes is given in GFLOP, beside the bytes that AdamW moves at least. So a prediction is
of less than a published time counts, and a ratio above 1 says that ours would be slower even if the
host took no time.

Published times count, where nothing else is noted, one micro-step of one sequence by the wall:
engine, copies and their CPU's part (embedding, classifier and its gradient, gradients of norms, all
weights' gradients, which in ours are on the engine). Their weights are updated every 10 micro-steps
(Orion's every 4), ours at each step. "mad" is maderix/ANE with the number of a discussion there,
"dev" dev-erik/ANE, "slv" slavko-at-klincov-it/ANE-Training, "tmc" tmc/ane-training-experiments,
"cmt" tuxillo's fork of mad.
"""

FOOTER = """Assumed: a larger variant has the engine of its family's base chip. M1 Max, M4 Pro and
M4 Max also have a fitted time of a call and rate of copies, which replace the base chip's here;
M1 Pro, M3 Pro, M3 Ultra and M5 Max have none. M3 was never measured: its calls and copies are M2's.
"9.2k words" are those of 32,000 or 151,936 that occur in the data of the pipelines with weights as
inputs. A ratio is to the middle of a published range. M1, M2 and M3 refuse axes above 16,384, so
that a classifier of 32,000 words is their host's, and missing from their totals.

Published, but not here, because the configuration is not known well enough to build: ane-train's
ConvNeXt U-Net (M1, 400 to 420 ms) and rustane's other sizes (M4 Max, 865 ms at 600M to 94 s at 7B;
M3 Ultra, 293 ms at 110M to 56 s at 25B), of which its README gives 600m-A alone in full.
"""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published time of a training step.

    Attributes:
        model: a name of `DECODERS`.
        source: project, and variant or discussion.
        chip: as stated.
        ms: of a step, lowest and highest.
        engine_ms, io_ms: of its parts on the engine and between, or empty.
        notes: letters of `NOTES`.
    """

    model: str
    source: str
    chip: str
    ms: tuple[float, float]
    engine_ms: str
    io_ms: str
    notes: str

    @property
    def base(self) -> str:
        """The chip file that is nearest."""
        return ASSUMED if self.chip == "not stated" else self.chip.split()[0]

    @property
    def middle(self) -> float:
        return sum(self.ms) / 2


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What one step of a model takes on a chip.

    Attributes:
        calls: of programs.
        calls_ms, copies_ms, weights_ms, engine_ms: the parts.
        host_gflop, update_gb: what the host does, for which there is no time.
        ane_share: of the FLOPs.
    """

    model: str
    chip: str
    calls: int
    calls_ms: float
    copies_ms: float
    weights_ms: float
    engine_ms: float
    host_gflop: float
    update_gb: float
    ane_share: float

    @property
    def total_ms(self) -> float:
        return self.calls_ms + self.copies_ms + self.weights_ms + self.engine_ms

    def on(self, chip: str) -> Prediction:
        """Returns it for a larger variant of the chip."""
        if chip not in VARIANTS:
            return dataclasses.replace(self, chip=chip)
        call, rate = VARIANTS[chip]
        facts = _chips.load(self.chip)
        slower = facts["copy_gb_per_s"]["value"] / rate
        return dataclasses.replace(
            self,
            chip=chip,
            calls_ms=self.calls * call,
            copies_ms=self.copies_ms * slower,
            weights_ms=self.weights_ms * slower,
        )


def published(lines: Iterable[str]) -> list[Published]:
    """Reads the published times.

    Raises:
        ValueError: a line names a model, a chip or a note that is not known, or no time.
    """
    found = []
    for number, row in enumerate(csv.DictReader(lines), 2):
        try:
            low, *high = map(float, row.pop("ms").split("-"))
            made = Published(ms=(low, high[0] if high else low), **row)
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {number}: {error}") from error
        for known, names in ((made.model, DECODERS), (made.base, CHIPS)):
            if known not in names:
                raise ValueError(f"line {number}: {known!r} is none of {', '.join(names)}")
        if unknown := set(made.notes) - set(NOTES):
            raise ValueError(f"line {number}: no note {', '.join(sorted(unknown))}")
        found.append(made)
    return found


def predict(name: str, decoder: Decoder, chip: str) -> Prediction:
    """Plans a model's training step for a chip."""
    optimiser = optax.adamw(3e-4, b1=0.9, b2=0.95, weight_decay=0.1)
    step = training.train_step(
        decoder.loss(), optimiser, clamp=True, clip_norm=1.0,
        loss_scale=precision.DynamicLossScale(1024.0),
    )  # fmt: skip
    params = decoder.params()
    state = jax.eval_shape(_start, params, jax.eval_shape(optimiser.init, params))
    with jax_ane.config(chip=chip):  # the step itself compiles when it is called; this only plans
        placement = jax_ane.explain(step, state, decoder.batch()).placement
    estimate = placement.estimate
    return Prediction(
        name,
        chip,
        calls=sum(placement.calls.values()),
        calls_ms=1e3 * estimate.call_s,
        copies_ms=1e3 * estimate.copies_s,
        weights_ms=1e3 * estimate.weights_s,
        engine_ms=1e3 * (estimate.engine_s + estimate.spills_s),
        host_gflop=(placement.total_flops - placement.ane_flops) / 1e9,
        update_gb=_UPDATE_BYTES * decoder.count / 1e9,
        ane_share=placement.ane_flop_fraction,
    )


def _start(params: Any, opt_state: Any) -> training.TrainState:
    return training.TrainState(params, opt_state, jnp.int32(0), precision.DynamicLossScale(1024.0))


# ---------------------------------------------------------------------------- the page


def page(
    times: Sequence[Published], found: Mapping[tuple[str, str], Prediction], chips: Sequence[str]
) -> str:
    """Returns the page as Markdown."""
    steps = _table(
        ["model", "published by", "chip", "ms/step", "theirs: engine + I/O", "ours on that chip",
         "ratio", *chips, "notes"],
        [_row(time, found, chips) for time in times if (time.model, time.base) in found],
    )  # fmt: skip
    parts = _table(
        ["model", "chip", "calls", "calls ms", "copies ms", "weights ms", "engine ms", "total ms",
         "on the ANE", "host GFLOP", "update GB"],
        [_parts(found[key]) for key in sorted(found, key=_order)],
    )  # fmt: skip
    used = {letter for time in times for letter in time.notes}
    notes = "\n".join(f"- {letter}: {NOTES[letter]}." for letter in sorted(used))
    return (
        f"{HEADER}\n{steps}\n\n"
        "`ours on that chip`, and under the chips' names: predicted milliseconds. `ratio`: ours "
        f"over theirs.\n\n{notes}\n\n{FOOTER}\n## The parts of each prediction\n\n{parts}"
    )


def _order(key: tuple[str, str]) -> tuple[int, str]:
    return list(DECODERS).index(key[0]), key[1]


def _row(
    time: Published, found: Mapping[tuple[str, str], Prediction], chips: Sequence[str]
) -> list[str]:
    ours = found[time.model, time.base].on(time.chip)
    theirs = " + ".join(part for part in (time.engine_ms, time.io_ms) if part)
    low, high = time.ms
    return [
        time.model, time.source, time.chip, f"{low:g}" if low == high else f"{low:g}-{high:g}",
        theirs, f"{ours.total_ms:.0f}", f"{ours.total_ms / time.middle:.2f}",
        *(f"{found[time.model, chip].total_ms:.0f}" for chip in chips), ", ".join(time.notes),
    ]  # fmt: skip


def _parts(made: Prediction) -> list[str]:
    times = (made.calls_ms, made.copies_ms, made.weights_ms, made.engine_ms, made.total_ms)
    return [
        made.model, made.chip, str(made.calls), *(f"{ms:.1f}" for ms in times),
        f"{made.ane_share:.1%}", f"{made.host_gflop:.2f}", f"{made.update_gb:.2f}",
    ]  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--chips", nargs="+", default=CHIPS, choices=CHIPS, metavar="CHIP")
    options = parser.parse_args()
    with PUBLISHED.open(newline="") as file:
        times = [time for time in published(file) if options.only in time.model]
    found = {}
    for name, decoder in DECODERS.items():
        if options.only in name:
            for chip in options.chips:
                print(f"{name} on {chip} ...", file=sys.stderr, flush=True)
                found[name, chip] = predict(name, decoder, chip)
    print(page(times, found, options.chips))
    if options.json:
        rows = [dataclasses.asdict(p) | {"total_ms": p.total_ms} for p in found.values()]
        print(json.dumps({"predicted": rows, "published": [dataclasses.asdict(t) for t in times]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
