# SPDX-License-Identifier: Apache-2.0
"""The conformance cases under pytest: every twentieth group by default, all with `-m slow`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from . import families, runner
from .case import Case, groups

_SAMPLE = 20


def _parameters() -> list[pytest.param]:
    cases = [case for family in families.load() for case in family.cases]
    found = []
    for number, group in enumerate(groups(cases)):
        marks = [] if number % _SAMPLE == 0 else [pytest.mark.slow]
        for mode in group[0].modes:
            known = group[0].known.get(mode)
            more = [pytest.mark.xfail(reason=known, strict=True)] if known else []
            name = group[0].id if len(group) == 1 else f"{group[0].id}+{len(group) - 1}"
            found.append(pytest.param(group, mode, id=f"{name}-{mode}", marks=marks + more))
    return found


@pytest.mark.parametrize(("group", "mode"), _parameters())
def test_ane_does_what_cpu_does(group: Sequence[Case], mode: str):
    problems = {c.id: p for c, p in runner.check(group, mode).items() if p}
    assert not problems, "\n".join(f"{name}: {problem}" for name, problem in problems.items())
