# SPDX-License-Identifier: Apache-2.0
"""Packed token files and batches of windows of them, shuffled, repeatable and resumable.

A packed token file is a flat run of little-endian unsigned integers without a header: the format of
the pretokenised TinyStories and of llama2.c (uint16), and the same in uint32 for larger
vocabularies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from jax_ane._errors import four_parts
from jax_ane._files import written_whole
from jax_ane.data._permutation import permuted

_CHUNK = 1 << 22  # ids that are looked at or written at a time

Ids = Literal["uint16", "uint32"]


class TokenFile:
    """A packed token file, mapped into memory: opening it reads nothing but its size.

    `len(file)` is its number of tokens; `file[a:b]` is an array of them, in the file's dtype and
    without a copy, which `token_batches` takes too, so that a held-out part is `file[:n]`.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "tokens.bin")
        >>> write_tokens(path, [[5, 1, 2], [7]])
        4
        >>> tokens = TokenFile(path, vocab_size=8)
        >>> len(tokens), tokens[1:3].tolist()
        (4, [1, 2])
    """

    def __init__(
        self, path: str | os.PathLike[str], vocab_size: int | None = None, dtype: Ids = "uint16"
    ) -> None:
        """Opens a file and checks it.

        Args:
            path: of the file; it must not change while it is open.
            vocab_size: where given, the whole file is read once, in chunks, to see that every id
                lies below it.
            dtype: `"uint16"` or `"uint32"`, little-endian on every machine.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is empty or cut off within a token, an id is not below
                `vocab_size` (the first position is told), or `dtype` is another one.
        """
        self.path = Path(path)
        self.dtype = _dtype(dtype)
        self.vocab_size = vocab_size
        size = self._size_bytes()
        self._tokens = np.memmap(self.path, self.dtype, "r", shape=(size // self.dtype.itemsize,))
        if vocab_size is not None:
            self._check_ids(vocab_size)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, where: slice) -> np.ndarray:
        return self._tokens[where].view(np.ndarray)

    def __repr__(self) -> str:
        return f"TokenFile({str(self.path)!r}, {len(self)} tokens of {self.dtype.name})"

    def _size_bytes(self) -> int:
        what = f"{self.path.name} is not a packed token file"
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            raise FileNotFoundError(
                four_parts("there is no token file", str(self.path), "no file has this path",
                           "write one with jax_ane.data.write_tokens, or correct the path")
            ) from None  # fmt: skip
        if size == 0:
            why = "it is empty: whatever wrote it was stopped early or had no text"
            raise ValueError(four_parts(what, str(self.path), why, "write it again"))
        if size % self.dtype.itemsize:
            why = f"{size} bytes are no whole number of {self.dtype.name} tokens: it is cut off"
            remedy = "copy or write it again; give dtype= if it holds another type"
            raise ValueError(four_parts(what, str(self.path), why, remedy))
        return size

    def _check_ids(self, vocab_size: int) -> None:
        for begin in range(0, len(self), _CHUNK):
            chunk = self[begin : begin + _CHUNK]
            if chunk.max() < vocab_size:
                continue
            position = begin + int(np.argmax(chunk >= vocab_size))
            raise ValueError(
                four_parts(
                    f"{self.path.name} has a token that the vocabulary lacks",
                    f"{self.path}, token {position} of {len(self)}",
                    f"id {self._tokens[position]} is not below vocab_size {vocab_size}",
                    "give the vocabulary that the file was made with, or its dtype",
                )
            )


def write_tokens(
    path: str | os.PathLike[str],
    chunks: Iterable[Iterable[int] | np.ndarray],
    dtype: Ids = "uint16",
) -> int:
    """Writes a packed token file and returns its number of tokens.

    The file appears under its name only when it is complete.

    Args:
        path: of the file; a file of that name is replaced.
        chunks: ids, integers [n] each, written one after the other.
        dtype: `"uint16"` or `"uint32"`.

    Raises:
        ValueError: an id does not fit into `dtype`.
    """
    target, kind, count = Path(path), _dtype(dtype), 0
    with written_whole(target) as file:
        for chunk in chunks:
            ids = np.fromiter(chunk, np.int64) if not isinstance(chunk, np.ndarray) else chunk
            if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= np.iinfo(kind).max:
                raise ValueError(_does_not_fit(ids, kind, count, target))
            file.write(ids.astype(kind).tobytes())
            count += ids.size
    return count


class TokenBatches(Iterator[dict[str, np.ndarray]]):
    """An endless iterator over batches of windows; `token_batches` makes it.

    Attributes:
        windows: windows in one epoch.
        steps_per_epoch: batches in one epoch, rounded up; a batch may straddle two epochs.
    """

    def __init__(
        self, tokens: TokenFile | np.ndarray, batch_size: int, length: int, seed: int, start: int
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1), ("length", length, 1), ("seed", seed, 0),
            ("start", start, 0),
        ):  # fmt: skip
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        self._tokens, self._batch_size, self._length, self._seed = tokens, batch_size, length, seed
        self._position = start
        self.windows = (len(tokens) - 1) // length
        if self.windows < 1:
            where = str(tokens.path) if isinstance(tokens, TokenFile) else "the tokens given"
            why = f"{len(tokens)} tokens are fewer than the {length + 1} of one window"
            raise ValueError(
                four_parts("the text is too short", where, why, "lower length, or give more text")
            )
        self.steps_per_epoch = -(-self.windows // batch_size)

    @property
    def position(self) -> int:
        """Number of the step whose batch comes next: what a checkpoint stores."""
        return self._position

    def seek(self, position: int) -> None:
        """Goes to a step, as `start=position` would have.

        Raises:
            ValueError: `position` is negative.
        """
        if position < 0:
            raise ValueError(f"position must be at least 0, not {position}")
        self._position = position

    def __next__(self) -> dict[str, np.ndarray]:
        first = self._position * self._batch_size
        samples = np.arange(first, first + self._batch_size)
        batch = np.empty((self._batch_size, self._length + 1), np.int32)
        for row, begin in zip(batch, self._window_of(samples) * self._length, strict=True):
            row[:] = self._tokens[begin : begin + self._length + 1]
        self._position += 1
        return {"tokens": batch}

    def _window_of(self, samples: np.ndarray) -> np.ndarray:
        """Returns which window each sample of the endless run of epochs is."""
        epochs, places = np.divmod(samples, self.windows)
        windows = np.empty_like(samples)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            windows[of_epoch] = permuted(places[of_epoch], self.windows, self._seed, int(epoch))
        return windows


def token_batches(
    tokens: TokenFile | np.ndarray,
    batch_size: int,
    length: int,
    seed: int = 0,
    start: int = 0,
) -> TokenBatches:
    """Returns an endless, repeatable iterator over shuffled batches of windows.

    The text is cut into windows of `length` tokens, each with the token after it. Every epoch has
    each window once, in an order of its own that `seed` decides and that is computed as it is
    needed. Batch k depends on the arguments and k alone, so `start=k` goes on exactly where an
    iterator left off whose `position` was k.

    Args:
        tokens: a `TokenFile`, or integers [n].
        batch_size: windows in a batch.
        length: tokens of context.
        seed: of the order, not negative.
        start: step to begin with, from 0.

    Returns:
        An iterator over `{"tokens": int32 [batch_size, length + 1]}`: inputs are `[:, :-1]`, what
        is to be predicted `[:, 1:]`.

    Raises:
        ValueError: a number is out of range, or there are fewer than `length + 1` tokens.

    Example:
        >>> batches = token_batches(np.arange(9), batch_size=2, length=4)
        >>> batch = next(batches)["tokens"]
        >>> sorted(batch.tolist()), batches.position
        ([[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]], 1)
    """
    return TokenBatches(tokens, batch_size, length, seed, start)


def _dtype(name: str) -> np.dtype:
    if name not in ("uint16", "uint32"):
        raise ValueError(f"dtype must be 'uint16' or 'uint32', not {name!r}")
    return np.dtype(name).newbyteorder("<")


def _does_not_fit(ids: np.ndarray, kind: np.dtype, count: int, path: Path) -> str:
    wrong = int(np.argmax((ids < 0) | (ids > np.iinfo(kind).max)))
    return four_parts(
        f"a token does not fit into {kind.name}",
        f"token {count + wrong} for {path}",
        f"its id is {ids[wrong]}",
        "write uint32" if ids[wrong] > 0 else "give ids that are not negative",
    )
