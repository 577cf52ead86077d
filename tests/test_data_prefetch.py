# SPDX-License-Identifier: Apache-2.0
"""The prefetch thread: order, position, errors, and that it ends."""

from __future__ import annotations

import doctest
import gc
import itertools
import threading

import numpy as np
import pytest

from jax_ane import data
from jax_ane.data import _prefetch


class Source:
    """Counts up and remembers how far it was asked."""

    def __init__(self, error_at: int | None = None) -> None:
        self.position, self.error_at = 0, error_at
        self.made = threading.Semaphore(0)

    def __iter__(self):
        return self

    def __next__(self) -> int:
        if self.position == self.error_at:
            raise RuntimeError(f"no batch {self.position}")
        self.position += 1
        self.made.release()
        return self.position - 1


def thread_of(ahead: data.Prefetched) -> threading.Thread:
    (thread,) = (t for t in threading.enumerate() if t.name == "jax-ane-prefetch")
    assert ahead is not None
    return thread


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [t for t in threading.enumerate() if t.name == "jax-ane-prefetch"]


def test_examples_in_docstrings():
    assert doctest.testmod(_prefetch) == (0, 1)


def test_order_and_values_stay():
    with data.prefetch(range(100), depth=3) as ahead:
        assert list(ahead) == list(range(100))
        assert list(ahead) == []
        assert ahead.position is None


def test_position_is_of_what_was_taken_not_of_what_was_made():
    source = Source()
    with data.prefetch(source, depth=2) as ahead:
        for _ in range(3):  # two wait, one is being put
            assert source.made.acquire(timeout=20)
        assert ahead.position == 0
        assert [next(ahead), next(ahead)] == [0, 1]
        assert ahead.position == 2


def test_it_does_not_run_further_ahead_than_asked():
    source = Source()
    with data.prefetch(source, depth=2):
        for _ in range(3):
            assert source.made.acquire(timeout=20)
        assert not source.made.acquire(timeout=0.2)
        assert source.position == 3


def test_token_batches_can_be_resumed_through_it():
    ids = np.arange(1000)
    with data.prefetch(data.token_batches(ids, 2, 8, seed=1, start=3)) as ahead:
        assert ahead.position == 3
        list(itertools.islice(ahead, 4))
        position = ahead.position
        following = next(ahead)
    assert position == 7
    again = next(data.token_batches(ids, 2, 8, seed=1, start=position))
    assert np.array_equal(following["tokens"], again["tokens"])


def test_errors_come_where_their_batch_would_have():
    with data.prefetch(Source(error_at=2)) as ahead:
        assert [next(ahead), next(ahead)] == [0, 1]
        with pytest.raises(RuntimeError, match="no batch 2") as error:
            next(ahead)
        assert str(error.traceback[-1].path) == __file__  # the source itself is shown
        with pytest.raises(StopIteration):
            next(ahead)


def test_close_stops_a_thread_that_waits_for_room():
    source = Source()
    ahead = data.prefetch(source, depth=1)
    thread = thread_of(ahead)
    for _ in range(2):
        assert source.made.acquire(timeout=20)
    ahead.close()
    assert not thread.is_alive()
    ahead.close()
    with pytest.raises(StopIteration):
        next(ahead)


def test_leaving_the_block_by_an_error_stops_it():
    with pytest.raises(KeyError), data.prefetch(Source()) as ahead:
        thread = thread_of(ahead)
        raise KeyError
    assert not thread.is_alive()


def test_dropping_it_stops_it():
    ahead = data.prefetch(Source())
    thread = thread_of(ahead)
    del ahead
    gc.collect()
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_the_process_ends_without_a_close(python):
    """With a thread that waits for room, one that makes, and no complaint on stderr."""
    done = python(
        "-c",
        "import itertools\n"
        "from jax_ane import data\n"
        "waits, makes = data.prefetch(itertools.count()), data.prefetch(itertools.repeat(0), 999)\n"
        "print(next(waits), next(makes))",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 0\n", "")


def test_depth_below_one_is_not_taken():
    with pytest.raises(ValueError, match="depth must be at least 1, not 0"):
        data.prefetch([], depth=0)
