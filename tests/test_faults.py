# SPDX-License-Identifier: Apache-2.0
"""Device calls that fail, are late or answer garbage: an error with its cause, never old data."""

from __future__ import annotations

import gc
import itertools
import time

import jax
import numpy as np
import pytest
from parity_tools import normal

import jax_ane
from jax_ane import _native
from jax_ane._config import Config

# What a call raises depends on who first looks at the result.
ERRORS = (jax.errors.JaxRuntimeError, ValueError)
_shapes = itertools.count(5)


def fresh(ane):
    """Returns a jitted product that no other test has compiled, its argument and its result."""
    n = next(_shapes)
    x = normal(n, n)
    with jax.default_device(ane):
        return jax.jit(lambda a: a @ a), x, x @ x


def run(ane, function, x):
    with jax.default_device(ane):
        return np.asarray(function(x))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-2, atol=2e-2)


CAUSES = {
    ("compile", "fail"): r"ANECCompile\(\) FAILED.*JAX_ANE_FAULTS: compile:1=fail",
    ("compile", "fail(0x7)"): r"ANECCompile\(\) FAILED.*status=0x7",
    ("compile", "garbage"): "success but gave no compiled program",
    ("attributes", "fail"): "reports 0 inputs and 0 outputs, not 1 and 1",
    ("attributes", "garbage"): "impossible layout|no symbol for tensor|no tensor",
    ("evaluate", "fail"): r"status=0x1d : statusType=0x9: Program Inference error.*evaluate:1=fail",
    ("evaluate", "fail(0x16)"): "status=0x16",
    ("evaluate", "garbage"): "evaluate: the device answered with the unknown status",
}


@pytest.mark.parametrize("call,fault", CAUSES)
def test_a_failing_call_is_an_error_with_its_cause(ane, faults, call, fault):
    faults(f"{call}:1={fault}")
    function, x, expected = fresh(ane)
    with pytest.raises(ERRORS, match=f"(?s){CAUSES[call, fault]}"):
        run(ane, function, x)
    close(run(ane, function, x), expected)  # the next call has no fault


@pytest.mark.parametrize("fault", ["fail", "fail(0x20004)", "garbage"])
def test_a_load_is_tried_once_more(ane, faults, fault):
    faults(f"load:1={fault}")
    function, x, expected = fresh(ane)
    close(run(ane, function, x), expected)


@pytest.mark.parametrize(
    "fault,cause",
    [("fail", "Program load failure: status=0x20004"), ("garbage", "load: .* unknown status")],
)
def test_a_load_that_fails_twice_is_an_error(ane, faults, fault, cause):
    faults(f"load:1={fault};load:2={fault}")
    function, x, expected = fresh(ane)
    with pytest.raises(ERRORS, match=f"(?s)cannot be loaded.*{cause}"):
        run(ane, function, x)
    close(run(ane, function, x), expected)


def test_every_kind_of_garbage_in_the_attributes_is_noticed(ane, faults):
    for _ in range(6):
        faults("attributes:1=garbage")
        function, x, expected = fresh(ane)
        with pytest.raises(ERRORS, match=r"the loaded program (has|reports)"):
            run(ane, function, x)
        close(run(ane, function, x), expected)


@pytest.mark.parametrize("call", ["compile", "load", "attributes", "evaluate", "unload"])
def test_a_late_call_is_waited_for(ane, faults, call):
    faults(f"{call}:1=late(60ms)")
    function, x, expected = fresh(ane)
    start = time.perf_counter()
    close(run(ane, function, x), expected)
    if call == "unload":
        start = time.perf_counter()
        function.clear_cache()
        del function
        gc.collect()
    assert time.perf_counter() - start >= 0.06


def newest_device():
    """Returns the counters of the device with the latest plan."""
    rows = [row for row in _native.device_stats() if "/faults" in row["name"]]
    return max(rows, key=lambda row: int(row["name"].split("/faults")[1]))


@pytest.mark.parametrize("fault", ["fail", "garbage"])
def test_a_failing_unload_is_counted_and_tried_again(ane, faults, fault):
    faults(f"unload:1={fault}")
    handle = native_program()
    del handle
    device = newest_device()
    assert (device["failed_unloads"], device["loaded_programs"]) == (1, 1)
    handle = native_program()
    device = newest_device()
    assert (device["failed_unloads"], device["loaded_programs"]) == (1, 1)
    del handle
    assert newest_device()["loaded_programs"] == 0


def native_program():
    from jax_ane import _chips

    text = (
        "program(1.3)\n{ func main<ios18>(tensor<fp16, [1, 4]> a000) { tensor<fp16, [1, 4]> r000 = "
        'exp(x = a000)[name = string("r000")]; } -> (r000); }'
    )
    chip = _chips.load("M4")
    return _native.load_program(text, {}, chip, True, ["a000"], ["r000"], "fault_test")


def test_a_failed_evaluation_leaves_no_old_data(ane, faults):
    """A call that failed in the middle of a program of several calls gives nothing at all."""
    faults("evaluate:3=fail")
    function, x, expected = fresh(ane)
    for _ in range(2):
        close(run(ane, function, x), expected)
    with pytest.raises(ERRORS, match="status=0x1d"):
        run(ane, function, x / 2)
    close(run(ane, function, x / 2), expected / 4)


@pytest.mark.parametrize(
    "plan",
    ["evaluate", "evaluate:0=fail", "evaluate:x=fail", "run:1=fail", "load:1=late",
     "load:1=late(1s)", "load:1=late(99999999ms)", "load:1=fail()", "load:1=fail(0x1d",
     "load:-1=fail", ";",
     "compile:*=fails", "load=1:fail", ";".join(["load:1=fail"] * 65)],
)  # fmt: skip
def test_a_wrong_plan_names_the_grammar(plan):
    with pytest.raises(ValueError, match=r"call:which=fault|at most 64 rules"):
        _native.set_faults(plan)


def test_the_flag_reaches_the_device(python):
    """In a process of its own, because the flag is read when the client starts."""
    code = (
        "import jax, numpy as np\n"
        "with jax.default_device(jax.devices('ane')[0]):\n"
        "    print(jax.jit(lambda a: a @ a)(np.ones((4, 4), np.float32))[0, 0])\n"
    )
    good = python("-c", code, JAX_ANE_FAULTS="load:1=fail;evaluate:2=fail")
    assert good.stdout.strip() == "4.0", good.stderr
    bad = python("-c", code, JAX_ANE_FAULTS="nonsense:1=fail")
    assert bad.returncode != 0
    assert "JAX_ANE_FAULTS='nonsense:1=fail'" in bad.stderr
    assert "call:which=fault" in bad.stderr


def test_the_flag_is_off_by_default():
    assert Config({}).faults == ""
    assert jax_ane.config.faults == ""
