# SPDX-License-Identifier: Apache-2.0
"""Where parts of a function run: marks on the ops that are traced in a scope."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from jax_ane.compiler.graph import PLACE_ATTRIBUTE

_P = ParamSpec("_P")
_R = TypeVar("_R")
PLACES = ("host", "ane")


@contextmanager
def place(where: str) -> Iterator[None]:
    """Says where the ops run that are traced inside: a context manager for JAX functions.

    The mark goes with the ops: through `jit`, `vmap`, `scan` and into their gradients. On other
    devices than `ane` it means nothing. Scopes nest; the innermost counts.

    Args:
        where: "host" keeps the ops off the engine, in the dtypes they have. "ane" puts on the
            engine what the chip can do of them, whatever it costs; `jax_ane.config(strict=...)`
            says what happens to the rest, and `explain` tells why.

    Raises:
        ValueError: `where` is neither.

    Example:
        >>> import jax, jax.numpy as jnp, jax_ane
        >>> def loss(w, x):
        ...     logits = x @ w
        ...     with jax_ane.place("host"):
        ...         return jnp.mean(logits @ logits.T)
        >>> report = jax_ane.explain(loss, jnp.ones((8, 4)), jnp.ones((16, 8)))
        >>> [op.placement for op in report.ops if op.op == "stablehlo.dot_general"]
        ['ane', 'host']
    """
    if where not in PLACES:
        raise ValueError(f"place({where!r}): the places are {', '.join(PLACES)}")
    with set_xla_metadata(**{PLACE_ATTRIBUTE: where}):
        yield


def full_precision(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Returns `fn` computed on the host, products of matrices in float32 too.

    Args:
        fn: a JAX function. Its gradient is computed in the same way.

    Returns:
        A function of the same arguments.

    Example:
        >>> import jax, jax.numpy as jnp, jax_ane
        >>> report = jax_ane.explain(jax_ane.full_precision(jnp.matmul), *[jnp.ones((8, 8))] * 2)
        >>> report.ane_flop_fraction
        0.0
    """

    @functools.wraps(fn)
    def computed_on_host(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with place("host"), jax.default_matmul_precision("highest"):
            return fn(*args, **kwargs)

    return computed_on_host
