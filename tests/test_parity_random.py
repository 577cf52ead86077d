# SPDX-License-Identifier: Apache-2.0
"""Random products and convolutions of every form, with both gradients: they go to the ANE.

Several at a time, as compiling costs more than running.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import jax
import pytest
from jax import lax
from parity_tools import check_parity, normal

import jax_ane

Case = tuple[list[int], list[int], Callable]  # the operands' shapes, and the op


def random_product(rng: random.Random) -> Case:
    """A dot_general with any axes in any order, up to rank 6."""
    counts = {kind: rng.randint(0, 2) for kind in ("batch", "contract", "left", "right")}
    extent = {(kind, i): rng.randint(1, 5) for kind, n in counts.items() for i in range(n)}
    lhs, rhs = ([axis for axis in extent if axis[0] != other] for other in ("right", "left"))
    rng.shuffle(lhs)
    rng.shuffle(rhs)
    contract, batch = (
        [[side.index((kind, i)) for i in range(counts[kind])] for side in (lhs, rhs)]
        for kind in ("contract", "batch")
    )
    shapes = [[extent[axis] for axis in side] for side in (lhs, rhs)]
    return *shapes, lambda x, y: lax.dot_general(x, y, (contract, batch))


def random_convolution(rng: random.Random) -> Case:
    """A convolution over 1 to 3 axes with any layout, groups, strides, dilations and padding."""
    spatial = "DHW"[: rng.randint(1, 3)]
    layouts = ["NC" + spatial, "OI" + spatial, "NC" + spatial]
    layouts = ["".join(rng.sample(layout, len(layout))) for layout in layouts]
    groups = rng.choice([(1, 1), (1, 1), (2, 1), (3, 1), (1, 2)])
    extent = {"N": rng.randint(1, 2) * groups[1], "C": rng.randint(1, 3) * groups[0]}
    window = {"O": rng.randint(1, 3) * groups[0] * groups[1], "I": extent["C"] // groups[0]}
    strides, low_high, lhs_dilation, rhs_dilation = [], [], [], []
    for axis in (c for c in layouts[0] if c in spatial):  # the order of strides and the like
        extent[axis], window[axis] = rng.randint(3, 8), rng.randint(1, 4)
        strides.append(rng.randint(1, 3))
        low_high.append((rng.randint(-1, 3), rng.randint(-1, 3)))
        lhs_dilation.append(rng.choice([1, 1, 2, 3]))
        rhs_dilation.append(rng.choice([1, 1, 2]))
        spread = (extent[axis] - 1) * lhs_dilation[-1] + 1 + sum(low_high[-1])
        if spread < (window[axis] - 1) * rhs_dilation[-1] + 1:
            window[axis], low_high[-1] = 1, (3, 3)  # or nothing comes out
    shapes = [[sizes[c] for c in layout]
              for sizes, layout in zip((extent, window), layouts, strict=False)]  # fmt: skip
    return *shapes, lambda x, y: lax.conv_general_dilated(
        x, y, strides, low_high, lhs_dilation, rhs_dilation, tuple(layouts), *groups
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("make", "count", "op"),
    [(random_product, 16, "stablehlo.dot_general"),
     (random_convolution, 8, "stablehlo.convolution")],
    ids=["products", "convolutions"],
)  # fmt: skip
def test_random_forms_and_gradients(make, count, op, seed):
    rng = random.Random(seed)
    cases = [make(rng) for _ in range(count)]
    data = [(normal(*x, seed=10 * i), normal(*y, seed=10 * i + 1))
            for i, (x, y, _) in enumerate(cases)]  # fmt: skip

    def fn(*pairs):
        results = []
        for (_, _, apply), (x, y) in zip(cases, pairs, strict=True):
            results.append(apply(x, y))

            def loss(x, y, apply=apply):
                return (apply(x, y) ** 2).mean()

            results.append(jax.grad(loss, argnums=(0, 1))(x, y))
        return results

    with jax_ane.config(placement="ane"):  # they are too small to pay
        ops = [record for record in jax_ane.explain(fn, *data).placement.ops if record.op == op]
    assert len(ops) >= 3 * count
    # Six axes in no order at all, and a gradient whose padding crops everything away.
    kept = [record.reason.code for record in ops if record.placement == "host"]
    assert set(kept) <= {"ANE001", "empty"} and len(kept) <= 0.15 * len(ops)
    check_parity(fn, *data, placements=("ane",), tolerance=1.5e-2)
