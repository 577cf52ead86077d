# SPDX-License-Identifier: Apache-2.0
"""What one call of a MIL program would take on a chip: an estimate in four parts.

    T = call + bytes across the border / copy rate + engine time + bytes spilled / DMA rate

The form and the rates of products and convolutions are a fit to published end-to-end times
(cost-model.md section 2; the chip files hold the numbers, each with its source): off by 1 to 6 % on
the points it was made from, by 15 % and more on others. Inside the engine the units run one after
another (section 1.2), so its time is a sum over ops:

* `matmul`, `conv`: max(FLOP / rate, weight bytes / weight rate). A product contracting K reaches
  the smaller of the chip's rate and its rate per output-channel group times the groups whose
  weights fit 64 KiB; a 3x3 convolution its own rate. A 1x1 convolution has one where chains of them
  were measured to be faster than a matmul (M4, M6; the chip files say why not elsewhere): less with
  fewer than 96 channels, and on one engine alone with fewer than 512 pixels (section 4).
* elementwise ops, reductions, norms: passes of the planar engine over the elements, two ops of one
  operand sharing a task (section 4); that rate is measured on M6 alone.
* ops that only move data: bytes read and written over the DMA rate. A reshape costs nothing.

What is spilled, because no tile of it stays on chip, `onchip.py` says.

Not in it: batches of small products, which collapse on some chips (section 4), clocks that sleep
between calls. Nor, of one program, weights that a step updates: `placement.py` adds them, once for
all programs that read them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jax_ane.compiler import mil, onchip

_FP16 = 2  # bytes
_RESIDENT = 64 * 1024  # bytes of weights that one of the 16 cores holds
_MOST_GROUPS = 16
_FULL_CHANNELS = 96  # 1x1 convolutions of fewer are slower: 45 % at 32, 75 % at 64 (M6; section 4)
_SPLIT_PIXELS = 512  # fewer are not known to be split over two engines (section 4: 16 x 32 is)
_LAYER_S = 13e-9  # any op, at most (M6; cost-model.md section 1.2)
# Above so many elements two operands no longer stream side by side (M6; section 4).
_TWO_STREAMS = 295_000
# Passes over the elements: ANEForge's layer norm is ten ops, a softmax five (section 4).
_PASSES = {"softmax": 5, "layer_norm": 10}
_DMA = frozenset({
    "transpose", "slice_by_size", "slice_by_index", "concat", "pad", "reverse",
})  # fmt: skip
_FREE = frozenset({"const", "reshape", "identity", "cast"})
_MOVES = frozenset({"reshape", "transpose", "cast"})


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of one call.

    Attributes:
        call_s: of any call at all.
        copies_s: of copies at the border.
        engine_s: of the engine's ops.
        spills_s: of what does not stay on chip between them.
        weights_s: of weights that are new at each call, on their way to the chip.
    """

    call_s: float = 0.0
    copies_s: float = 0.0
    engine_s: float = 0.0
    spills_s: float = 0.0
    weights_s: float = 0.0

    @property
    def total_s(self) -> float:
        return sum(dataclasses.astuple(self))

    def __add__(self, other: Estimate) -> Estimate:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Estimate(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def __mul__(self, calls: int) -> Estimate:
        return Estimate(*(part * calls for part in dataclasses.astuple(self)))

    def __str__(self) -> str:
        parts = [("call", self.call_s), ("copies", self.copies_s), ("engine", self.engine_s)]
        if self.spills_s:
            parts.append(("spills", self.spills_s))
        if self.weights_s:
            parts.append(("weights", self.weights_s))
        listed = ", ".join(f"{1e3 * seconds:.2f} {name}" for name, seconds in parts)
        return f"{1e3 * self.total_s:.2f} ms ({listed})"

    def to_dict(self) -> dict[str, float]:
        return {**dataclasses.asdict(self), "total_s": self.total_s}


def estimate(program: mil.Program, chip: Mapping[str, Any], kept: Collection[int] = ()) -> Estimate:
    """Returns what one call of a program takes on a chip.

    Args:
        program: the program after its passes.
        chip: the chip's file, as `_chips.load` gives it.
        kept: positions of inputs that are the same from call to call, as weights are: they are
            converted once, so they cost no copy, and the engine streams them at its weight rate.
    """
    facts = values_of(chip)
    elements = sum(value.type.size for value in program.outputs)
    elements += sum(v.type.size for i, v in enumerate(program.inputs) if i not in kept)
    weights = {id(program.inputs[i]) for i in kept}
    engine = _Engine(facts, weights, program.users())
    spilled = sum(s.moved_bytes for s in onchip.find(program, facts["on_chip_bytes"]))
    return Estimate(
        call_s=facts["call_ms"] / 1e3,
        copies_s=copy_s(facts, elements),
        engine_s=sum(engine.seconds(op) for op in program.ops),
        spills_s=spilled / (facts["dma_gb_per_s"] * 1e9),
    )


def upload(elements: int, chip: Mapping[str, Any]) -> Estimate:
    """Returns what new weights of so many elements take on their way to the chip."""
    return Estimate(weights_s=copy_s(values_of(chip), elements))


def product_s(facts: Mapping[str, Any], flops: int, rate: float, weights: int) -> float:
    """Returns the seconds of a product that streams so many elements of weights."""
    return max(flops / rate, _FP16 * weights / (facts["weight_gb_per_s"] * 1e9))


def matmul_rate(facts: Mapping[str, Any], contracted: int) -> float:
    """Returns the FLOP/s of a matmul that adds up so many terms."""
    return min(facts["matmul_tflops"] * 1e12, _group_rate(facts, contracted))


def values_of(chip: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a chip's facts without their sources."""
    return {name: fact["value"] for name, fact in chip.items() if isinstance(fact, dict)}


def pointwise_rate(facts: Mapping[str, Any], channels: int, pixels: int) -> float | None:
    """Returns the FLOP/s of a 1x1 convolution; None where a chip has no rate but matmul's."""
    if facts["conv1x1_tflops"] is None:
        return None
    rate = facts["conv1x1_tflops"] * 1e12 * min(1.0, channels / _FULL_CHANNELS)
    if pixels < _SPLIT_PIXELS:
        rate /= facts["engines"]
    return min(rate, _group_rate(facts, channels))


def _group_rate(facts: Mapping[str, Any], contracted: int) -> float:
    """Returns the FLOP/s that the weights of a product that adds up so many terms leave."""
    fitting = max(_RESIDENT // (_FP16 * contracted), 1)
    groups = min(_MOST_GROUPS, 2 ** (fitting.bit_length() - 1))
    return facts["matmul_tflops_per_ocg"] * 1e12 * groups


def move_s(facts: Mapping[str, Any], elements: int) -> float:
    """Returns the seconds that fp16 elements take through the DMA, read and written."""
    return 2 * _FP16 * elements / (facts["dma_gb_per_s"] * 1e9)


def copy_s(facts: Mapping[str, Any], elements: int) -> float:
    """Returns the seconds in which elements cross a program's border, in one direction."""
    return _FP16 * elements / (facts["copy_gb_per_s"] * 1e9)


def planar_s(facts: Mapping[str, Any], elements: int, streams: int = 2, passes: int = 1) -> float:
    """Returns the seconds of an op of the planar engine.

    Args:
        facts: the chip's.
        elements: of its largest operand or of its result.
        streams: its operands that are no scalars.
        passes: how often it goes over the elements.
    """
    tasks = max(streams - 1, 1)  # at most two operands a task
    wide = streams > 1 and elements / facts["engines"] > _TWO_STREAMS
    passes *= tasks * (2 if wide else 1)
    rate = facts["planar_gelements_per_s"] * 1e9
    return passes * elements / rate + tasks * facts["planar_task_us"] / 1e6


class _Engine:
    """Adds the ops of a program up, in order."""

    def __init__(
        self, facts: Mapping[str, float], weights: set[int], users: Mapping[int, list[mil.Op]]
    ) -> None:
        self._facts, self._weights, self._users = facts, weights, users
        self._open: int | None = None  # the op, by id, whose planar task has room for one more

    def seconds(self, op: mil.Op) -> float:
        if op.opcode in _FREE:
            return 0.0
        return _LAYER_S + _RULES.get(op.opcode, _Engine._planar)(self, op)

    def _matmul(self, op: mil.Op) -> float:
        x, y = op.input("x"), op.input("y")
        contracted = x.shape[-2 if op.params["transpose_x"] else -1]
        flops = 2 * op.result.type.size * contracted
        weights = sum(value.type.size for value in (x, y) if self._is_weight(value))
        return product_s(self._facts, flops, matmul_rate(self._facts, contracted), weights)

    def _conv(self, op: mil.Op) -> float:
        kernel = op.input("weight").shape
        contracted = math.prod(kernel[1:])
        flops = 2 * op.result.type.size * contracted
        rate = matmul_rate(self._facts, contracted)
        if kernel[2:] == (3, 3):
            rate = self._facts["conv3x3_tflops"] * 1e12
        elif kernel[2:] == (1, 1):
            pixels = op.result.shape[0] * math.prod(op.result.shape[2:])
            rate = pointwise_rate(self._facts, kernel[1], pixels) or rate
        return product_s(self._facts, flops, rate, op.input("weight").type.size)

    def _is_weight(self, value: mil.Value) -> bool:
        while value.op is not None and value.op.opcode in _MOVES:
            value = value.op.input("x")
        return value.constant is not None or id(value) in self._weights

    def _moved(self, op: mil.Op) -> float:
        read = op.result.type.size  # of a slice, what it takes
        if op.opcode in ("concat", "pad"):
            read = sum(value.type.size for value in op.operands())
        elements = read + op.result.type.size
        return _FP16 * elements / (self._facts["dma_gb_per_s"] * 1e9)

    def _planar(self, op: mil.Op) -> float:
        streams = [v for v in op.operands() if v.constant is None or v.type.size > 1]
        elements = max(v.type.size for v in (*streams, op.result))
        if len(streams) == 1 and self._joins(op, streams[0]):
            return 0.0
        return planar_s(self._facts, elements, len(streams), _PASSES.get(op.opcode, 1))

    def _joins(self, op: mil.Op, operand: mil.Value) -> bool:
        """Whether an op of one operand shares the task of the op before it."""
        before, self._open = self._open, id(op)
        alone = len(self._users.get(id(operand), ())) == 1
        if operand.op is not None and id(operand.op) == before and alone:
            self._open = None
            return op.opcode not in _PASSES
        return False


_RULES: dict[str, Callable[[_Engine, mil.Op], float]] = {
    "matmul": _Engine._matmul,
    "conv": _Engine._conv,
    **dict.fromkeys(_DMA, _Engine._moved),
}
