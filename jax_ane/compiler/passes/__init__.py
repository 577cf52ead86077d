# SPDX-License-Identifier: Apache-2.0
"""The passes over MIL programs: an ordered table, run to a fixpoint.

Each pass is a function from a program to the number of changes it made, in a module of its own
with a before/after example. Passes that decide by the chip's cost model get the chip too and wait
until the others find nothing more: what they make hides patterns. `disable_passes` leaves passes
out by name; `validate_ir` verifies the program after each.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jax_ane.compiler import mil, recompute, roots, scaling
from jax_ane.compiler.passes.cancel_transposes import cancel_transposes
from jax_ane.compiler.passes.choose_layout import choose_layout
from jax_ane.compiler.passes.drop_identities import drop_identities
from jax_ane.compiler.passes.eliminate_dead_code import eliminate_dead_code
from jax_ane.compiler.passes.fold_constants import fold_constants
from jax_ane.compiler.passes.fuse_casts import fuse_casts
from jax_ane.compiler.passes.merge_common import merge_common
from jax_ane.compiler.passes.raise_activations import raise_activations
from jax_ane.compiler.passes.raise_norms import raise_norms
from jax_ane.compiler.passes.raise_reductions import raise_reductions
from jax_ane.compiler.passes.raise_softmax import raise_softmax
from jax_ane.compiler.passes.raise_softmax_gradient import raise_softmax_gradient
from jax_ane.compiler.passes.simplify_arithmetic import simplify_arithmetic

_MAX_ROUNDS = 20


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        run: the function; it returns the number of its changes.
        purpose: what it is for.
        place: why it stands where it stands.
        numerics: how far results with the pass may be from those without, in `exact` numerics.
        tolerance: the same as a number, |on - off| for values of order 1; 0 for the same bits.
        raises: whether it makes ops that a chip may refuse out of others that it takes.
        by_cost: whether it decides by the chip, whose file is its second argument.
    """

    run: Callable[..., int]
    purpose: str
    place: str
    numerics: str = "same bits"
    tolerance: float = 0.0
    raises: bool = False
    by_cost: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def example(self) -> str:
        """Before and after, from the module's docstring."""
        paragraphs = (sys.modules[self.run.__module__].__doc__ or "").split("\n\n")
        return next((p.strip() for p in paragraphs if p.strip().startswith("before:")), "")


PIPELINE: tuple[Pass, ...] = (
    Pass(fuse_casts, "removes casts that keep the value", "first: casts hide other patterns"),
    Pass(fold_constants, "computes ops on constants", "before identities: makes their zeros"),
    Pass(drop_identities, "removes ops that change nothing", "after folding, before all matching"),
    Pass(
        simplify_arithmetic,
        "merges arithmetic with scalar constants",
        "before matching: one spelling for means and negations",
        "same bits, or one rounding in place of two: 1 ulp of the largest intermediate",
        2.0**-10,
    ),
    Pass(
        cancel_transposes,
        "cancels transposes and reshapes, or lets matmul absorb them",
        "before matching: joins what a reshape separates",
    ),
    Pass(merge_common, "computes equal values once", "before matching: which goes by identity"),
    Pass(
        raise_softmax_gradient,
        "writes the gradient of a softmax in terms of its result",
        "before softmax: of which it takes the other readers away",
        "4 ulp of the largest incoming gradient times weight where the exponentials' sum is below "
        "64; beyond, it is the exacter",
        4 * 2.0**-10,
    ),
    Pass(
        raise_softmax,
        "recognises softmax",
        "on a program that the passes above have cleaned",
        "same bits for finite inputs",
        raises=True,
    ),
    Pass(
        raise_norms,
        "recognises layer norm",
        "after merging: its two deviations are one value",
        "3 ulp of the result's largest value; E[x^2] - E[x]^2 becomes the exacter form",
        3 * 2.0**-10,
        raises=True,
    ),
    Pass(
        raise_activations,
        "recognises activations",
        "after norms: which know their clamp as a maximum",
        "same bits (0 for -0); softsign 1e-3, exact gelu 3e-3 (absolute)",
        3e-3,
        raises=True,
    ),
    Pass(
        raise_reductions,
        "recognises sums of squares",
        "after norms: which it leaves less to find",
        raises=True,
    ),
    Pass(
        choose_layout,
        "chooses between `matmul` and 1x1 `conv` for products by weights",
        "when the others have come to rest: they know `matmul`, and fold what it leaves",
        "same bits, unless a sum's partial results pass 2^15",
        raises=True,
        by_cost=True,
    ),
    Pass(eliminate_dead_code, "removes ops whose result is unused", "last: cleans up after all"),
)

AROUND = {recompute.NAME, scaling.NAME, roots.NAME}
RAISING = tuple(p.name for p in PIPELINE if p.raises)


def table() -> str:
    """Returns every pass's name, purpose, place, numerics and example, as Markdown."""
    return "\n".join(
        f"## {p.name}\n\n{p.purpose[0].upper()}{p.purpose[1:]}.\n\n- place: {p.place}\n"
        f"- results with it against results without it: {p.numerics}\n\n```\n{p.example}\n```\n"
        for p in PIPELINE
    )


def run(
    program: mil.Program,
    disabled: Collection[str] = (),
    validate: bool = False,
    chip: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Runs the pipeline until nothing changes; returns the number of changes per pass.

    Args:
        program: changed in place.
        disabled: names of passes to leave out.
        validate: verify the program after each pass.
        chip: a chip's file; without one no pass runs that decides by it.

    Raises:
        ValueError: `disabled` names no pass.
        mil.MilBuildError: a pass broke the program (only with `validate`); names the pass.
    """
    known = {p.name for p in PIPELINE} | AROUND  # which work around programs
    unknown = sorted(set(disabled) - known)
    if unknown:
        raise ValueError(
            f"no pass named {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    enabled = [p for p in PIPELINE if p.name not in disabled]
    statistics = dict.fromkeys((p.name for p in enabled), 0)
    always = [p for p in enabled if not p.by_cost]
    _settle(program, always, validate, statistics)
    for p in enabled if chip is not None else ():
        if p.by_cost and _apply(program, p, validate, statistics, chip):
            _settle(program, always, validate, statistics)
    return statistics


def _settle(
    program: mil.Program, chosen: list[Pass], validate: bool, statistics: dict[str, int]
) -> None:
    """Runs passes in turn until none changes anything."""
    quiet = 0  # passes in a row that changed nothing
    for p in chosen * _MAX_ROUNDS:
        quiet = 0 if _apply(program, p, validate, statistics) else quiet + 1
        if quiet == len(chosen):
            break


def _apply(
    program: mil.Program, p: Pass, validate: bool, statistics: dict[str, int], *chip: Any
) -> int:
    count = p.run(program, *chip)
    statistics[p.name] += count
    if validate:
        try:
            mil.verify(program)
        except mil.MilBuildError as error:
            raise mil.MilBuildError(f"after pass {p.name}: {error}") from error
    return count
