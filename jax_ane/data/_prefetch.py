# SPDX-License-Identifier: Apache-2.0
"""Makes batches ahead of time in a thread."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _Made(NamedTuple):
    """A batch and the source's position after it; or the end, with the error that brought it."""

    batch: Any
    position: int | None
    is_end: bool = False
    error: BaseException | None = None


class Prefetched(Iterator[T], Generic[T]):
    """An iterator whose batches are made in a thread; `prefetch` makes it.

    It is a context manager: leaving the block, `close()`, losing the last reference and the end of
    the process all stop the thread.
    """

    def __init__(self, batches: Iterable[T], depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth}")
        self._position = getattr(batches, "position", None)
        self._made: queue.Queue[_Made] = queue.Queue(depth)
        self._stop = threading.Event()
        self._ended = False
        # The thread knows the queue and not this object, so that dropping the object ends it.
        self._thread = threading.Thread(
            target=_fill, args=(batches, self._made, self._stop), name="jax-ane-prefetch",
            daemon=True,
        )  # fmt: skip
        self._finalizer = weakref.finalize(self, _finish, self._thread, self._made, self._stop)
        self._thread.start()

    @property
    def position(self) -> int | None:
        """Number of the step whose batch comes next, whatever the thread is ahead of it.

        None for a source that has no `position`.
        """
        return self._position

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        made = self._made.get()
        if made.is_end:
            self.close()
            if made.error is not None:
                raise made.error
            raise StopIteration
        self._position = made.position
        return made.batch

    def close(self) -> None:
        """Stops the thread, after the batch that it is making, and drops what it made.

        Further calls do nothing; `next` then raises StopIteration.
        """
        self._ended = True
        self._finalizer()

    def __enter__(self) -> Prefetched[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def prefetch(batches: Iterable[T], depth: int = 2) -> Prefetched[T]:
    """Makes batches in a thread while the caller works on earlier ones.

    Order and values stay the same. An exception of the source is raised where its batch would have
    come. Nobody else may draw from `batches` meanwhile.

    Args:
        batches: any iterable; its `position`, if it has one, is carried along.
        depth: batches that may wait, from 1; one more is being made.

    Raises:
        ValueError: `depth` is less than 1.

    Example:
        >>> with prefetch(range(3)) as ahead:
        ...     list(ahead)
        [0, 1, 2]
    """
    return Prefetched(batches, depth)


def _fill(batches: Iterable[Any], made: queue.Queue[_Made], stop: threading.Event) -> None:
    error = None
    try:
        for batch in batches:
            if stop.is_set():
                return
            made.put(_Made(batch, getattr(batches, "position", None)))
            if stop.is_set():
                return
    except BaseException as raised:
        error = raised
    if not stop.is_set():
        made.put(_Made(None, None, is_end=True, error=error))


def _finish(thread: threading.Thread, made: queue.Queue[_Made], stop: threading.Event) -> None:
    """Ends the thread: it puts at most one more batch, for which emptying the queue makes room."""
    stop.set()
    while True:
        try:
            made.get_nowait()
        except queue.Empty:
            break
    if thread is not threading.current_thread():
        thread.join()
