# SPDX-License-Identifier: Apache-2.0
"""The suite covers what it must: the functions of jax, and the ops of the compiler's table."""

from __future__ import annotations

import pytest

from . import coverage, families
from .families import sweep


def test_every_public_function_is_called_or_left_out_for_a_reason():
    assert sweep.unlisted() == []


def test_no_reason_is_given_for_a_function_that_is_called():
    assert not set(sweep.NOT_NUMPY) & set(sweep.NUMPY_CALLS)
    assert not set(sweep.NOT_LAX) & {*sweep.LAX_CALLS, *sweep.ELSEWHERE}


@pytest.mark.slow
def test_every_op_of_the_table_has_a_case_and_every_op_of_a_case_a_row():
    cases = [case for family in families.load() for case in family.cases]
    assert coverage.check(cases) == []
