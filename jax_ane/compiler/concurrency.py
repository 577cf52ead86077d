# SPDX-License-Identifier: Apache-2.0
"""Which calls of a block need not wait for each other.

Two clusters are independent where neither is made of what the other leaves, as two towers of a
model are, or the gradients of two weights. The runtime hands such a call on to a thread of its own
and starts the next one. A call that all others wait for, or that waits for them, is spared that.
"""

from __future__ import annotations

from collections.abc import Sequence

from jax_ane.compiler.graph import Op
from jax_ane.compiler.partition import Cluster


def independent(units: Sequence[Op | Cluster]) -> frozenset[int]:
    """Returns the numbers of the clusters that some other cluster is independent of.

    Args:
        units: a block's clusters and other ops, each after all that it reads.
    """
    clusters = [unit for unit in units if isinstance(unit, Cluster)]
    if len(clusters) < 2:
        return frozenset()
    made_of: dict[int, int] = {}  # op index -> a bit for each cluster
    before: list[int] = []  # by cluster, the bits of those that it is made of
    for unit in units:
        is_cluster = isinstance(unit, Cluster)
        bits = 0
        for value in unit.inputs if is_cluster else unit.operands:
            if value.producer is not None:
                bits |= made_of[value.producer.index]
        if is_cluster:
            before.append(bits)
            bits |= 1 << (len(before) - 1)
        for op in unit.ops if is_cluster else (unit,):
            made_of[op.index] = bits
    found = set()
    after_all = (1 << len(clusters)) - 1  # those of which all later ones are made
    for i in reversed(range(len(clusters))):
        if before[i] != (1 << i) - 1 or not after_all >> i & 1:
            found.add(clusters[i].number)
        after_all &= before[i]
    return frozenset(found)
