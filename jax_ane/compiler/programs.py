# SPDX-License-Identifier: Apache-2.0
"""From a cluster to a loaded ANE program: lower, passes, verify, print, legality, load.

A program's fingerprint is a hash of what the device would get (see `loading`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Collection, Mapping

from jax_ane import _chips
from jax_ane.compiler import (
    baking,
    barriers,
    cost,
    flops,
    hazards,
    loading,
    lower,
    mil,
    mil_text,
    onchip,
    optable,
    passes,
    recompute,
    rounding,
    scaling,
)
from jax_ane.compiler.able import Reason
from jax_ane.compiler.graph import Location, TensorType, Value
from jax_ane.compiler.optable import Kind
from jax_ane.compiler.partition import Cluster
from jax_ane.compiler.settings import Settings


@dataclasses.dataclass(eq=False)
class AneProgram:
    """One ANE program: what the device gets, and what it is to its caller.

    `inputs` and `outputs` are the StableHLO types at the border, in the custom call's order;
    `weights` are the blobs that hold what some of the inputs are, by path;
    `pass_statistics` has each enabled pass's number of changes; `estimate` is of one call on the
    chip, arguments of the program (weights) taken as unchanged since the last.
    """

    fingerprint: str
    text: str
    blobs: dict[str, bytes]
    inputs: list[TensorType]
    outputs: list[TensorType]
    flops: int
    op_count: int
    lowered_op_count: int  # before the passes
    location: Location
    pass_statistics: dict[str, int]
    estimate: cost.Estimate
    hazards: tuple[hazards.Hazard, ...] = ()
    spills: tuple[onchip.Spill, ...] = ()
    scaling: scaling.Scaling = scaling.NOTHING
    weights: Mapping[str, mil.Weight] = dataclasses.field(default_factory=dict)
    image: loading.Image | None = None  # once loaded
    handle: loading.Handle | None = None

    @property
    def name(self) -> str:
        return loading.name_of(self.fingerprint)


# Constraints that a smaller program may satisfy: surfaces and constants of one program.
SIZE_LIMITS = frozenset({"ANE026", "ANE041"})


class Illegal(Exception):
    """A cluster that the chip refuses; `reason` carries the constraint id."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


def surfaces(cluster: Cluster) -> int:
    """Returns how many arrays cross the cluster's border."""
    return len(cluster.inputs) + len(cluster.outputs)


def build(
    cluster: Cluster, settings: Settings, weights: Collection[int] = frozenset()
) -> AneProgram:
    """Turns a cluster into a program that the chip accepts, not loaded yet.

    What a chip refuses after raising (to `softmax` and the like) is built again of primitive ops,
    what it refuses with `weights` (indices of values) as constants with all of them as inputs.

    Raises:
        Illegal: the chip refuses the program, or it cannot be written in MIL.
    """
    chip = _chips.load(settings.chip)
    most = chip["max_surfaces"]["value"]
    if surfaces(cluster) > most:  # known before anything is lowered
        text = f"{surfaces(cluster)} inputs and outputs are more than {most}"
        raise Illegal(Reason("ANE041", text))
    baked = {i for i, value in enumerate(cluster.inputs) if value.index in weights}
    if baked:
        with contextlib.suppress(Illegal):
            return _build(cluster, settings, settings.disabled_passes, baked)
    try:
        return _build(cluster, settings, settings.disabled_passes)
    except _RefusedRaised:
        return _build(cluster, settings, (*settings.disabled_passes, *passes.RAISING))


class _RefusedRaised(Illegal):
    """A refused program with ops that passes made out of primitive ones."""


def _build(
    cluster: Cluster,
    settings: Settings,
    disabled_passes: tuple[str, ...],
    baked: Collection[int] = (),
) -> AneProgram:
    chip = _chips.load(settings.chip)
    constants = frozenset(cluster.inputs[i].index for i in baked)
    context = lower.Context(chip["max_axis"]["value"], constants)
    try:
        for value in cluster.inputs:
            context.bind_input(value)
        for op in (*cluster.again, *cluster.ops):
            context.lower(op)
        for value in cluster.outputs:
            context.bind_output(value)
    except mil.MilBuildError as error:
        raise Illegal(Reason("mil", f"has no MIL form: {error}")) from error
    program = context.finish()
    lowered_op_count = _op_count(program)
    statistics = passes.run(program, disabled_passes, settings.validate_ir, chip)
    if cluster.again:
        statistics[recompute.NAME] = len(cluster.again)
    barriers.drop(program)
    computed = {i for i, value in enumerate(cluster.inputs) if _is_computed(value)}
    scaled = _scaling(program, computed, settings)
    if chip["drops_rounded_scale"]["value"]:
        rounding.guard(program)
    about = {
        "op_count": _op_count(program),
        "estimate": cost.estimate(program, chip, set(range(len(cluster.inputs))) - computed),
        "hazards": hazards.find(program),
        "spills": onchip.find(program, chip["on_chip_bytes"]["value"]),
    }
    baking.bake(program, baked)
    mil.verify(program)
    printed = mil_text.to_text(program)
    try:
        _check_legal(printed, settings.chip)
    except Illegal as refusal:
        if any(statistics.get(name) for name in passes.RAISING):
            raise _RefusedRaised(refusal.reason) from None
        raise
    return AneProgram(
        fingerprint=_fingerprint(printed, scaled, settings),
        text=printed.text,
        blobs=printed.blobs,
        inputs=[value.type for value in cluster.inputs if value.type],
        outputs=[value.type for value in cluster.outputs if value.type],
        flops=sum(flops.count(op) for op in cluster.ops),
        weights=printed.weights,
        lowered_op_count=lowered_op_count,
        location=cluster.ops[0].location,
        pass_statistics=statistics,
        scaling=scaled,
        **about,
    )


def _op_count(program: mil.Program) -> int:
    return sum(op.opcode != "const" for op in program.ops)


def _check_legal(printed: mil_text.Printed, chip: str) -> None:
    from jax_ane import _native

    findings = _native.mil_check(printed.text, printed.blobs, _chips.load(chip))
    if findings:
        identifier, line, _, message = findings[0]
        statement = printed.text.splitlines()[line - 1].strip() if line else ""
        raise Illegal(Reason(identifier, f"{message} ({statement[:120]})"))


def _scaling(program: mil.Program, computed: set[int], settings: Settings) -> scaling.Scaling:
    """Returns which inputs are scaled at each call. Never weights: they keep their images."""
    if scaling.NAME in settings.disabled_passes:
        return scaling.NOTHING
    return scaling.find(program, computed)


def _is_computed(value: Value) -> bool:
    """Whether a value is more than an argument of its block, moved or converted."""
    while value.producer is not None:
        if not value.producer.operands:
            return False  # a counter
        if optable.row(value.producer.name).kind is not Kind.MOVEMENT:
            return True
        value = value.producer.operands[0]
    return False


def _fingerprint(printed: mil_text.Printed, scaled: scaling.Scaling, settings: Settings) -> str:
    digest = hashlib.sha256()
    for part in (settings.chip, settings.numerics, str(scaled), printed.text):
        digest.update(part.encode() + b"\0")
    for path, weight in printed.weights.items():
        digest.update(f"{path} {weight}".encode() + b"\0")
    for path in sorted(printed.blobs.keys() - printed.weights.keys()):
        digest.update(path.encode() + b"\0" + printed.blobs[path])
    return digest.hexdigest()


def load(program: AneProgram, settings: Settings) -> None:
    """Compiles and loads a program on the device, or finds it loaded already.

    Raises:
        RuntimeError: the device refused; the text is the device's own.
    """
    chosen = program.scaling if program.scaling.inputs else scaling.Scaling(below=0)
    program.image = loading.Image(
        fingerprint=program.fingerprint,
        text=program.text,
        blobs=program.blobs,
        chip=settings.chip,
        numerics=settings.numerics,
        inputs=len(program.inputs),
        outputs=len(program.outputs),
        scaled_inputs=tuple(chosen.inputs),
        scaled_outputs=tuple(chosen.outputs),
        scaled_below=2.0**chosen.below,
        lifted=tuple(chosen.lifted),
        weights=tuple((w.argument, path, w.moves) for path, w in program.weights.items()),
    )
    program.handle = loading.load(program.image)
