# SPDX-License-Identifier: Apache-2.0
"""The passes over MIL programs: an ordered table, run to a fixpoint.

Each pass is a function from a program to the number of changes it made, in a module of its own
with a before/after example. `disable_passes` leaves passes out by name; `validate_ir` verifies the
program after each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

from jax_ane.compiler import mil, scaling
from jax_ane.compiler.passes.drop_identities import drop_identities
from jax_ane.compiler.passes.eliminate_dead_code import eliminate_dead_code
from jax_ane.compiler.passes.fold_constants import fold_constants
from jax_ane.compiler.passes.fuse_casts import fuse_casts

_MAX_ROUNDS = 20


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass: its function, what it is for, and why it stands where it stands."""

    run: Callable[[mil.Program], int]
    purpose: str
    place: str

    @property
    def name(self) -> str:
        return self.run.__name__


PIPELINE: tuple[Pass, ...] = (
    Pass(fuse_casts, "removes casts that keep the value", "first: casts hide other patterns"),
    Pass(fold_constants, "computes ops on constants", "before identities: makes their zeros"),
    Pass(drop_identities, "removes ops that change nothing", "after folding, before dead code"),
    Pass(eliminate_dead_code, "removes ops whose result is unused", "last: cleans up after all"),
)


def run(
    program: mil.Program, disabled: Collection[str] = (), validate: bool = False
) -> dict[str, int]:
    """Runs the pipeline until nothing changes; returns the number of changes per pass.

    Raises:
        ValueError: `disabled` names no pass.
        mil.MilBuildError: a pass broke the program (only with `validate`); names the pass.
    """
    known = {p.name for p in PIPELINE} | {scaling.NAME}  # which works at the border
    unknown = sorted(set(disabled) - known)
    if unknown:
        raise ValueError(
            f"no pass named {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    statistics = dict.fromkeys((p.name for p in PIPELINE if p.name not in disabled), 0)
    for _ in range(_MAX_ROUNDS):
        changed = 0
        for p in PIPELINE:
            if p.name in disabled:
                continue
            count = p.run(program)
            statistics[p.name] += count
            changed += count
            if validate:
                try:
                    mil.verify(program)
                except mil.MilBuildError as error:
                    raise mil.MilBuildError(f"after pass {p.name}: {error}") from error
        if not changed:
            break
    return statistics
