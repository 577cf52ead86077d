# SPDX-License-Identifier: Apache-2.0
"""Every operation that some chip accepts is modelled, or listed here with the reason."""

import csv
from pathlib import Path

import pytest
from programs import op, program

from jax_ane import _native, mil

ROWS = [
    (row["op"], row["compiles_on_ane"])
    for row in csv.DictReader(
        (Path(__file__).parents[1] / "data" / "op-legality.csv").read_text().splitlines()
    )
]
MODELLED = {row[0] for row in _native.mil_ops()}
NETPLIST = "a netplist layer, not an operation of MIL"
UNIT = "an internal unit selector that no front end emits"
STATE = "needs state plumbing; a compile wall as a bare operation"
INT32 = "MIL gives int32, which the engine refuses"
REASONS = {
    "const": "part of the grammar, not of the op table",
    "cost_volume": NETPLIST,
    "cross_product": NETPLIST,
    "cumsum": "reached by a curated recipe outside MIL text only; sweep and Core ML refuse it",
    "gelu_exact": "gelu by its mode EXACT",
    "gelu_sigmoid_approx": "gelu by its mode SIGMOID_APPROXIMATION",
    "gelu_tanh_approx": "gelu by its mode TANH_APPROXIMATION",
    "ne_conv": UNIT,
    "ne_matmul": UNIT,
    "ne_pool": UNIT,
    "pe_elementwise": UNIT,
    "pe_pool": UNIT,
    "non_maximum_suppression": "runs on the CPU or GPU",
    "read_state": STATE,
    "write_state": STATE,
    "reduce_argmax": INT32,
    "reduce_argmin": INT32,
    "slice_update": "guide native, but the sweep refuses it: rebuild with concat or select",
}


def refusals(name):
    text = program({"x": ("fp16", (1, 4))}, [op("y", (1, 4), f"{name}(x = x)")], ["y"])
    return mil.check(text)


@pytest.mark.parametrize("name", [name for name, accepted in ROWS if accepted != "no"])
def test_accepted_operation_is_modelled_or_has_a_reason(name):
    if name in MODELLED:
        assert name not in REASONS
        return
    print(f"{name}: not modelled: {REASONS.get(name)}")
    assert name in REASONS
    if name != "const":
        assert {f.id for f in refusals(name)} & {"ANE007", "ANE109", "ANE127"}


@pytest.mark.parametrize("name", [name for name, accepted in ROWS if accepted == "no"])
def test_refused_operation_is_refused(name):
    assert name not in MODELLED
    assert {f.id for f in refusals(name)} & {"ANE007", "ANE008", "ANE109", "ANE127"}


def test_the_list_is_whole():
    assert len(ROWS) == len({name for name, _ in ROWS}) > 190
    assert set(REASONS) <= {name for name, accepted in ROWS if accepted != "no"}


def test_a_modelled_operation_is_in_the_list():
    beyond = MODELLED - {name for name, _ in ROWS}
    assert beyond == set()
