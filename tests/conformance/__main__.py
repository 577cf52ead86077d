# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.conformance`: runs the suite; exits 1 if anything fails."""

from __future__ import annotations

import argparse
import collections
import sys
import time
from collections.abc import Sequence

import jax

from . import coverage, families, runner
from .case import MODES, Case, Family, groups

_FORGET_EVERY = 60  # groups, so that compiled programs do not pile up


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the arguments select and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--summary", action="store_true", help="print the table by family and mode")
    parser.add_argument("--family", action="append", help="only this family; may be repeated")
    parser.add_argument("--case", default="", help="only cases with this in their names")
    parser.add_argument("--mode", action="append", choices=MODES, help="only this mode")
    parser.add_argument("--list", action="store_true", help="print the cases instead of running")
    options = parser.parse_args(arguments)
    chosen = [f for f in families.load() if not options.family or f.name in options.family]
    cases = [c for f in chosen for c in f.cases if options.case in c.id]
    if options.list:
        print(*(f"{case.id}: {' '.join(case.modes)}" for case in cases), sep="\n")
        return 0
    table = Table()
    run(cases, tuple(options.mode or MODES), table)
    problems = [] if options.family or options.case else coverage.check(cases)
    for problem in problems:
        print(f"FAIL coverage: {problem}")
    if options.summary:
        table.write(chosen)
    failed = table.failed + len(problems)
    print(f"{table.ran} runs of {len(cases)} cases, {failed} failed, {table.known} known failures")
    return 1 if failed or not table.ran else 0


class Table:
    """Counts runs and failures by family and mode."""

    def __init__(self) -> None:
        self._runs: collections.Counter[tuple[str, str]] = collections.Counter()
        self._passed: collections.Counter[tuple[str, str]] = collections.Counter()
        self._seconds: collections.Counter[str] = collections.Counter()
        self._known: list[str] = []
        self._start = time.perf_counter()

    @property
    def ran(self) -> int:
        return self._runs.total()

    @property
    def known(self) -> int:
        return len(self._known)

    @property
    def failed(self) -> int:
        return self.ran - self._passed.total() - self.known

    def add(self, case: Case, mode: str, problem: str) -> None:
        """Counts a run and prints it at once if it failed."""
        key = case.family, mode
        self._runs[key] += 1
        reason = case.known.get(mode)
        if reason is not None and problem:
            self._known.append(f"{case.id} ({mode}): {reason}")
            return
        if reason is not None:
            problem = f"passes, but is known to fail: {reason}"
        if problem:
            print(f"FAIL {case.id} ({mode}): {problem}", flush=True)
        else:
            self._passed[key] += 1

    def spend(self, family: str, seconds: float) -> None:
        self._seconds[family] += seconds

    def write(self, chosen: Sequence[Family]) -> None:
        """Prints the table, known failures, and what this jax lacks."""
        from jax_ane import __version__

        print(f"\njax {jax.__version__}, jax-ane {__version__}: passed/run by family and mode")
        print(f"{'family':16}" + "".join(f"{mode:>12}" for mode in MODES) + f"{'seconds':>10}")
        for family in chosen:
            cells = [self._cell(family.name, mode) for mode in MODES]
            print(f"{family.name:16}{''.join(cells)}{self._seconds[family.name]:10.1f}")
        for line in self._known:
            print(f"known failure: {line}")
        for name in [n for family in chosen for n in family.left_out]:
            print(f"not in jax {jax.__version__}: {name}")

    def _cell(self, family: str, mode: str) -> str:
        runs = self._runs[family, mode]
        return f"{f'{self._passed[family, mode]}/{runs}' if runs else '-':>12}"


def run(cases: Sequence[Case], modes: Sequence[str], table: Table) -> None:
    """Runs cases in groups under each of their modes."""
    together = groups(cases)
    for number, group in enumerate(together, 1):
        start = time.perf_counter()
        for mode in (m for m in group[0].modes if m in modes):
            for case, problem in runner.check(group, mode).items():
                table.add(case, mode, problem)
        seconds = time.perf_counter() - start
        table.spend(group[0].family, seconds)
        print(f"{number}/{len(together)} {group[0].id} {seconds:.1f} s", file=sys.stderr)
        if number % _FORGET_EVERY == 0:
            runner.forget()


if __name__ == "__main__":
    sys.exit(main())
