# SPDX-License-Identifier: Apache-2.0
"""Looks for labels and ids that are out of range, before a gather hides them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from jax_ane._errors import four_parts
from jax_ane._tree_paths import describe, path_of

T = TypeVar("T")


class _Checked(Iterable[T]):
    """Batches that may be gone through again, checked each time."""

    def __init__(self, batches: Iterable[T], limits: Mapping[str, int]) -> None:
        self._batches = batches
        self._limits = limits

    def __iter__(self) -> Iterator[T]:
        return _through(self._batches, self._limits, 0)


def checked(batches: Any, limits: Mapping[str, int]) -> Any:
    """Returns the same batches, with an error at the first label or id that is out of range.

    Neither device says so itself: a gather clamps an index, fills in NaN, or counts a negative one
    from the end, and a one-hot row of it is 0. What is looked at is on the host, once a batch.

    Args:
        batches: as for `training.fit`: an iterable, an iterator, or a function of a step number.
        limits: path of each integer array in a batch (such as `"label"`) and how many values it
            may have: those from 0 to below that.

    Returns:
        What `batches` is, an iterable, an iterator or a function; batches are handed on as they
        are.

    Raises:
        ValueError: (as they are drawn) a number is out of range, or a batch has no integers of
            that path. The batch, the place and the number are told.

    Example:
        >>> import numpy as np
        >>> batches = [{"label": np.array([0, 9])}, {"label": np.array([3, 10])}]
        >>> for batch in checked(batches, {"label": 10}):
        ...     print(batch["label"])
        Traceback (most recent call last):
        ValueError: a number of a batch is out of range
          where: batch 1, label int64[2], element [1]
          why: 10 is not in 0 to 9, and a gather by it would not be an error
          do: look at how the labels or ids were made; the model needs as many classes or words
    """
    if callable(batches):
        make: Callable[[int], Any] = batches
        return lambda start: _through(make(start), limits, start)
    if iter(batches) is batches:
        return _through(batches, limits, 0)
    return _Checked(batches, limits)


def _through(batches: Iterable[T], limits: Mapping[str, int], start: int) -> Iterator[T]:
    for number, batch in enumerate(batches, start):
        _check(batch, limits, number)
        yield batch


def _check(batch: Any, limits: Mapping[str, int], number: int) -> None:
    leaves = {path_of(keys): np.asarray(leaf)
              for keys, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]}  # fmt: skip
    for path, limit in limits.items():
        values = leaves.get(path)
        if values is None or values.dtype.kind not in "iu":
            held = ", ".join(f"{name} {describe(leaf)}" for name, leaf in leaves.items())
            raise ValueError(f"batch {number} has no integers of the path {path!r}, only {held}")
        if not values.size or (values.min() >= 0 and values.max() < limit):
            continue
        place = np.argwhere((values < 0) | (values >= limit))[0]
        raise ValueError(
            four_parts(
                "a number of a batch is out of range",
                f"batch {number}, {path} {describe(values)}, element {place.tolist()}",
                f"{values[tuple(place)]} is not in 0 to {limit - 1}, and a gather by it would not "
                "be an error",
                "look at how the labels or ids were made; the model needs as many classes or words",
            )
        )
