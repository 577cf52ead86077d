# SPDX-License-Identifier: Apache-2.0
"""Programs over a mesh of one device: the collectives, and what else only such programs hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..case import EXACT, Family, grid

COLLECTIVE = Family("collective", modes=EXACT, alone=True)
FAMILIES = [COLLECTIVE]

X = grid(4, 6)
_SPLIT, _WHOLE = PartitionSpec("i"), PartitionSpec()


def _mesh() -> Mesh:
    device = jax.config.jax_default_device or jax.devices()[0]
    return Mesh(np.array([device]), ("i",))


def _mapped(fn: Callable[..., Any], out: PartitionSpec = _SPLIT) -> Callable[..., Any]:
    def run(x):
        return jax.shard_map(fn, mesh=_mesh(), in_specs=_SPLIT, out_specs=out, check_vma=False)(x)

    return run


COLLECTIVE.add_all({
    "psum": _mapped(lambda v: lax.psum(v, "i"), _WHOLE),
    "pmean": _mapped(lambda v: lax.pmean(v, "i"), _WHOLE),
    "pmax": _mapped(lambda v: (lax.pmax(v, "i"), lax.pmin(v, "i")), _WHOLE),
    "all_gather": _mapped(lambda v: lax.all_gather(v, "i", tiled=True)),
    "all_to_all": _mapped(lambda v: lax.all_to_all(v, "i", 1, 0, tiled=True)),
    "ppermute": _mapped(lambda v: lax.ppermute(v, "i", [(0, 0)])),
    "psum_scatter": _mapped(lambda v: lax.psum_scatter(v, "i", tiled=True)),
    "axis_index": _mapped(lambda v: v + lax.axis_index("i")),
    "gradient": jax.grad(lambda x: _mapped(lambda v: lax.psum(v * v, "i"), _WHOLE)(x).sum()),
    "scan": _mapped(lambda v: lax.scan(lambda c, r: (lax.psum(c + r, "i"), c), v[0], v)[1]),
    "product": _mapped(lambda v: lax.psum(jnp.tanh(v) @ v.T, "i"), _WHOLE),
    "constraint": lambda x: lax.with_sharding_constraint(
        x * 2, NamedSharding(_mesh(), _SPLIT)),
    "key": _mapped(lambda v: jax.random.normal(jax.random.key(0), v.shape) + v),
}, X)  # fmt: skip
