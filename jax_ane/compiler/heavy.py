# SPDX-License-Identifier: Apache-2.0
"""The ops that an ANE program is made for, and what leads to them and follows from them."""

from __future__ import annotations

from jax_ane.compiler import optable
from jax_ane.compiler.graph import Op
from jax_ane.compiler.optable import Kind


def is_wanted(op: Op) -> bool:
    """Whether an op is what a cluster is made for, not what may come along."""
    return op.place == "ane" or optable.row(op.name).kind is Kind.HEAVY


def indices(ops: list[Op]) -> set[int]:
    """Returns the ops that clusters are made for."""
    return {op.index for op in ops if is_wanted(op)}


def behind(ops: list[Op], seeds: set[int]) -> set[int]:
    """Returns the seeds and those of `ops`, which are in order, that they lead to."""
    found = set(seeds)
    for op in ops:
        if any(v.producer is not None and v.producer.index in found for v in op.operands):
            found.add(op.index)
    return found


def ahead(ops: list[Op], seeds: set[int]) -> set[int]:
    """Returns the seeds and those of `ops`, which are in order, that lead to them.

    Only by way of `ops`: what an op outside them reads does not count.
    """
    members = {op.index for op in ops}
    found = set(seeds)
    for op in reversed(ops):
        users = (user.index for result in op.results for user in result.users)
        if any(user in found and user in members for user in users):
            found.add(op.index)
    return found


def between(ops: list[Op]) -> set[int]:
    """Returns what lies between heavy ops, these included, wherever each of them will run."""
    seeds = indices(ops)
    return behind(ops, seeds) & ahead(ops, seeds)
