# SPDX-License-Identifier: Apache-2.0
"""Labels that are out of range are told before a gather hides them."""

from __future__ import annotations

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ane import data
from jax_ane.data import _checked

GOOD = [{"y": np.array([[0, 3], [9, 1]], np.int32), "x": np.ones(2)} for _ in range(3)]


def bad(value, dtype=np.int32):
    return {"y": np.array([[0, 3], [value, 1]], dtype), "x": np.ones(2)}


def test_examples_in_docstrings():
    assert doctest.testmod(_checked) == (0, 3)


@pytest.mark.parametrize("value", [10, -1, 2**31 - 1])
def test_number_out_of_range_is_told_with_its_place(value):
    drawn = iter(data.checked([*GOOD, bad(value)], {"y": 10}))
    assert [next(drawn) for _ in GOOD] == GOOD
    with pytest.raises(ValueError, match="out of range") as error:
        next(drawn)
    _, where, why, remedy = str(error.value).splitlines()
    assert where == "  where: batch 3, y int32[2, 2], element [1, 0]"
    assert why.startswith(f"  why: {value} is not in 0 to 9") and remedy.startswith("  do: ")


def test_unsigned_numbers_too():
    with pytest.raises(ValueError, match="255 is not in 0 to 9"):
        list(data.checked([bad(255, np.uint8)], {"y": 10}))


def test_each_kind_of_batches_stays_what_it_is():
    again = data.checked(GOOD, {"y": 10})
    assert list(again) == list(again) == GOOD
    once = data.checked(iter(GOOD), {"y": 10})
    assert iter(once) is once and list(once) == GOOD and list(once) == []
    made = data.checked(lambda start: [bad(99)], {"y": 10})
    with pytest.raises(ValueError, match="batch 7"):
        list(made(7))


@pytest.mark.parametrize("path", ["z", "x"])
def test_a_path_without_integers_is_told(path):
    with pytest.raises(
        ValueError, match=rf"no integers of the path '{path}', only .*y int32\[2, 2"
    ):
        list(data.checked(GOOD, {path: 10}))


def test_it_tells_what_a_device_does_not():
    """Why it is needed: neither device makes an error, or even a NaN, of each of these."""
    table, logits = jnp.arange(10.0), jnp.zeros((1, 10))
    for name in ("ane", "cpu"):
        with jax.default_device(jax.devices(name)[0]):
            assert float(table[jnp.int32(10)]) == 9
            assert float(jnp.take_along_axis(logits, jnp.int32([[-1]]), 1)[0, 0]) == 0
            assert float(jax.nn.one_hot(10, 10).sum()) == 0


def test_a_run_ends_at_a_label_that_is_out_of_range(tmp_path):
    training = pytest.importorskip("jax_ane.training", reason="optax is not installed")
    from training_tools import BATCHES, fit, mlp_params, new_step

    wrong = {**BATCHES[0], "y": np.where(np.arange(32) == 5, -1, BATCHES[0]["y"])}
    batches = data.checked([*BATCHES, wrong], {"y": 4})
    with pytest.raises(ValueError, match=r"batch 6, y int\d+\[32\], element \[5\]"):
        fit(20, tmp_path, batches=batches)
    with training.Checkpoints(tmp_path) as saved:
        found = saved.restore(new_step().init(mlp_params()))
    assert found.position == 6
