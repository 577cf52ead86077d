# SPDX-License-Identifier: Apache-2.0
"""The ops that an ANE program is made for, and what leads to them and follows from them."""

from __future__ import annotations

from jax_ane.compiler import optable
from jax_ane.compiler.graph import Op
from jax_ane.compiler.optable import Kind


def is_wanted(op: Op) -> bool:
    """Whether an op is what a cluster is made for, not what may come along."""
    return op.name in _HEAVY or op.place == "ane"


_HEAVY = frozenset(name for name, row in optable.TABLE.items() if row.kind is Kind.HEAVY)


def indices(ops: list[Op]) -> set[int]:
    """Returns the ops that clusters are made for."""
    return {op.index for op in ops if is_wanted(op)}


def behind(ops: list[Op], seeds: set[int]) -> set[int]:
    """Returns the seeds and those of `ops`, which are in order, that they lead to."""
    found = set(seeds)
    for op in ops:
        for value in op.operands:
            if value.producer is not None and value.producer.index in found:
                found.add(op.index)
                break
    return found


def ahead(ops: list[Op], seeds: set[int]) -> set[int]:
    """Returns the seeds and those of `ops`, which are in order, that lead to them.

    Only by way of `ops`: what an op outside them reads does not count.
    """
    members = {op.index for op in ops}
    found = seeds & members  # readers that count
    for op in reversed(ops):
        for result in op.results:
            if not found.isdisjoint([user.index for user in result.users]):
                found.add(op.index)
                break
    return found | seeds


def between(ops: list[Op]) -> set[int]:
    """Returns what lies between heavy ops, these included, wherever each of them will run."""
    seeds = indices(ops)
    return behind(ops, seeds) & ahead(ops, seeds)
