# SPDX-License-Identifier: Apache-2.0
"""Names of a tree's leaves, and the choice of those that are trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Some leaves: a regular expression that is searched in their paths, or a function of the path.
Chosen = str | Callable[[str], bool]
Freeze = Chosen | None


def path_of(keys: tuple[Any, ...]) -> str:
    """Returns a leaf's path as text, such as `layers/0/kernel`."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def chooser(chosen: Chosen) -> Callable[[str], bool]:
    """Returns whether a path is chosen, as a function."""
    if not isinstance(chosen, str):
        return chosen
    pattern = re.compile(chosen)
    return lambda path: pattern.search(path) is not None


def describe(leaf: Any) -> str:
    """Returns an array's type as text, such as `float32[3, 4]`."""
    return f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"


def trained(params: Any, freeze: Freeze) -> Any:
    """Returns a tree of booleans: which leaves are trained.

    Integers and booleans have no gradients and are never.

    Raises:
        ValueError: `freeze` matches no path, or leaves nothing to train.
    """
    frozen = chooser(freeze or (lambda path: False))
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    paths = [path_of(keys) for keys, _ in leaves]
    matches = [frozen(path) for path in paths]
    if freeze is not None and not any(matches):
        raise ValueError(f"freeze={freeze!r} matches none of the parameters: {_some(paths)}")
    chosen = [
        jnp.issubdtype(leaf.dtype, jnp.inexact) and not match
        for (_, leaf), match in zip(leaves, matches, strict=True)
    ]
    if not any(chosen):
        raise ValueError(f"no parameter is left to train of {_some(paths)}")
    return jax.tree.unflatten(tree, chosen)


def split(params: Any, mask: Any) -> tuple[Any, Any]:
    """Returns (chosen, others): two trees with None where the leaf is in the other."""
    chosen = jax.tree.map(lambda keep, leaf: leaf if keep else None, mask, params)
    others = jax.tree.map(lambda keep, leaf: None if keep else leaf, mask, params)
    return chosen, others


def merge(chosen: Any, others: Any) -> Any:
    """Undoes `split`."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, chosen, others, is_leaf=lambda leaf: leaf is None
    )


def _some(paths: list[str], most: int = 8) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more if paths else "an empty tree"
