# SPDX-License-Identifier: Apache-2.0
"""Clusters that are not worth a call: small parts of a program that the host does sooner.

Any call takes the chip some 0.07 to 0.3 ms. A program's main work goes to the engine in any case,
since that is what its user chose the device for; what stands beside it, has less than 1 % of its
FLOPs and would take the chip longer than the host goes to the host. Bodies of loops are left out:
how often they run is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jax_ane.compiler import flops, partition
from jax_ane.compiler.able import Reason
from jax_ane.compiler.partition import Cluster, Plan

if TYPE_CHECKING:
    from jax_ane.compiler.programs import AneProgram

_SMALL = 0.01  # share of the FLOPs of all clusters
# What a laptop's cores do in float32, roughly: only who is quicker by far is asked.
_HOST_FLOPS, _HOST_BYTES = 100e9, 50e9  # per second


def drop_small(plans: Sequence[Plan], built: Sequence[dict[int, AneProgram]]) -> None:
    """Sends such clusters back to the host, in place."""
    total = sum(program.flops for group in built for program in group.values())
    for plan, group in zip(plans, built, strict=True):
        if plan.block.path != "main":
            continue
        for cluster in list(plan.clusters):
            program = group[cluster.number]
            asked_for = any(op.place == "ane" for op in cluster.ops)
            if asked_for or not is_small(program.flops, total):
                continue
            chip_s, host_s = program.estimate.total_s, _host_seconds(cluster)
            if chip_s > host_s:
                partition.drop_cluster(plan, cluster, _reason(chip_s, host_s))
                del group[cluster.number]


def is_small(flops_: float, total: float) -> bool:
    """Whether so many FLOPs are too few among those of all clusters for a call of their own."""
    return flops_ < _SMALL * total


def _host_seconds(cluster: Cluster) -> float:
    work = sum(flops.count(op) for op in cluster.ops)
    crossing = (*cluster.inputs, *cluster.outputs)
    moved = sum(value.tensor.bytes for value in crossing)
    return work / _HOST_FLOPS + moved / _HOST_BYTES


def _reason(chip_s: float, host_s: float) -> Reason:
    return Reason(
        "cost",
        f"a call would take the chip {1e3 * chip_s:.2f} ms, the host {1e3 * host_s:.3f} ms",
        "place it with jax_ane.place('ane')",
    )
