# SPDX-License-Identifier: Apache-2.0
"""Compares two functions in one process, in turn, on a machine that may be busy with other things.

Each round repeats one function for a while, then the other. A round counts only if the rest of the
machine was quiet meanwhile; the answer is the median of the rounds' ratios.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

ROUND_S = 0.25
FOREIGN_LOAD = 0.05  # of the machine, in a round that counts
LEAST_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long two functions take.

    Attributes:
        ours_us, theirs_us: median over the kept rounds of the time of one call, in microseconds.
        best_us: our shortest round's time of one call.
        ratio: median of theirs divided by ours, round by round: above 1 ours is faster.
        kept, rounds: rounds that counted, and all.
        load: median share of the machine that others took in all rounds.
    """

    ours_us: float
    theirs_us: float
    best_us: float
    ratio: float
    kept: int
    rounds: int
    load: float

    @property
    def is_quiet(self) -> bool:
        """Whether enough rounds met a quiet machine."""
        return self.kept >= LEAST_ROUNDS


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int = 7,
    most_rounds: int = 14,
    round_s: float = ROUND_S,
) -> Timing:
    """Measures `ours` against `theirs`; both return only when their work is done.

    Args:
        rounds: quiet rounds that are wanted.
        most_rounds: rounds after which it gives up waiting for quiet ones.
        round_s: seconds that one function is repeated in one round.
    """
    _warm_up(ours)
    _warm_up(theirs)
    kept: list[tuple[float, float]] = []
    seen: list[tuple[float, float]] = []
    loads: list[float] = []
    while len(kept) < rounds and len(seen) < most_rounds:
        before = _Clock()
        pair = _repeat(ours, round_s), _repeat(theirs, round_s)
        load = before.foreign_load()
        loads.append(load)
        seen.append(pair)
        if load <= FOREIGN_LOAD:
            kept.append(pair)
    used = kept if len(kept) >= LEAST_ROUNDS else seen
    return Timing(
        ours_us=statistics.median(a for a, _ in used) * 1e6,
        theirs_us=statistics.median(b for _, b in used) * 1e6,
        best_us=min(a for a, _ in used) * 1e6,
        ratio=statistics.median(b / a for a, b in used),
        kept=len(kept),
        rounds=len(seen),
        load=statistics.median(loads),
    )


def best(function: Callable[[], object], seconds: float) -> float:
    """Returns the seconds of one call: the best that `seconds` of trying shows."""
    _warm_up(function)
    return _repeat(function, seconds)


def _warm_up(function: Callable[[], object]) -> None:
    last = float("inf")
    for _ in range(20):
        now = _repeat(function, 0.02)
        if abs(now - last) <= 0.05 * last:
            return
        last = now


def _repeat(function: Callable[[], object], seconds: float) -> float:
    """Returns the seconds of one call: the best of a round's batches of about 10 ms."""
    start = time.perf_counter()
    function()
    once = time.perf_counter() - start
    batch = max(1, int(0.01 / max(once, 1e-7)))
    best = once
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        for _ in range(batch):
            function()
        best = min(best, (time.perf_counter() - begin) / batch)
    return best


class _Clock:
    """CPU time of this process and of the machine since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._own = _own_seconds()
        self._busy = _busy_seconds()

    def foreign_load(self) -> float:
        """Returns the share of the machine's CPUs that others were using."""
        wall = time.perf_counter() - self._wall
        busy, cpus = _busy_seconds()
        foreign = (busy - self._busy[0]) - (_own_seconds() - self._own)
        return max(0.0, foreign) / (wall * cpus)


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _busy_seconds() -> tuple[float, int]:
    """Returns the machine's busy CPU seconds and its number of CPUs (0 and 1 where unknown)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0, 1
    lines = stat.read_text().splitlines()
    fields = [int(f) for f in lines[0].split()[1:]]
    idle = fields[3] + fields[4]
    cpus = sum(line.startswith("cpu") for line in lines) - 1
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK"), cpus
