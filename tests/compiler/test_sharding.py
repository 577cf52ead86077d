# SPDX-License-Identifier: Apache-2.0
"""Programs over several devices: what each device does is on the engine, and means the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import sharding_cases
from compiler_tools import records

from jax_ane.compiler import frontend, sharding

SPLIT = '{sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}'
PRODUCT = (
    "contracting_dims = [1] x [0] : (tensor<ROWSx8xf32>, tensor<8x8xf32>) -> tensor<ROWSx8xf32>"
)


def module_text(body: str, result: str, rows: int = 8, mesh: str = '["data"=4]') -> str:
    """Returns a program over four devices: `%y` is the product of split rows and a matrix."""
    product = PRODUCT.replace("ROWS", str(rows))
    return f"""module attributes {{mhlo.num_partitions = 4 : i32}} {{
  sdy.mesh @mesh = <{mesh}>
  func.func public @main(%x: tensor<{rows}x8xf32> {SPLIT}, %w: tensor<8x8xf32>) -> {result} {{
    %y = stablehlo.dot_general %x, %w, {product}
    {body}
  }} }}"""


def returned(rows: int) -> str:
    return f"return %y : tensor<{rows}x8xf32>"


@pytest.fixture(scope="module")
def found():
    done = subprocess.run(
        [sys.executable, sharding_cases.__file__], env={**os.environ, "JAX_ANE_NUM_DEVICES": "4"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", [*sharding_cases.ON_ANE, *sharding_cases.TWO_AXES])
def test_what_a_device_does_is_on_the_engine(found, case):
    assert found[case]["fraction"] > 0.5
    assert found[case]["error"] < 5e-3
    # Around what a shard_map does, a program is XLA's to split.
    assert "sharded" not in found[case]["codes"] or "shard_map" in case


@pytest.mark.parametrize("case", sharding_cases.ON_HOST)
def test_what_is_not_known_to_be_right_is_not_on_the_engine(found, case):
    assert found[case]["error"] < 5e-3  # float32, beside the engine's own rounding
    if case in sharding_cases.OF_NEWER_SHARDY and found[case]["fraction"]:
        return
    assert found[case]["fraction"] == 0
    assert "sharded" in found[case]["codes"]


def test_report_of_a_program_over_devices_is_of_one_device():
    split = records(module_text(returned(8), "tensor<8x8xf32>"))
    assert split["dot_general"].placement == "ane"
    assert split["dot_general"].flops == 2 * 2 * 8 * 8  # two of the eight rows
    assert split["manual_computation"].reason.code == "per-device"


@pytest.mark.parametrize(
    ("body", "result", "options"),
    [
        (returned(6), "tensor<6x8xf32>", {"rows": 6}),  # would end the process
        ("%0 = stablehlo.reverse %y, dims = [0] : tensor<8x8xf32>\nreturn %0 : tensor<8x8xf32>",
         "tensor<8x8xf32>", {}),
        ('%0 = stablehlo.custom_call @unknown(%y) : (tensor<8x8xf32>) -> tensor<8x8xf32>\n'
         "return %0 : tensor<8x8xf32>", "tensor<8x8xf32>", {}),
    ],
    ids=["uneven", "reverse", "custom call"],
)  # fmt: skip
def test_refused_module_is_not_changed(body, result, options):
    module = frontend.parse(module_text(body, result, **options))
    before = str(module)
    assert not sharding.localise(module)
    assert str(module) == before


def test_a_second_axis_of_the_mesh_may_split_nothing():
    text = module_text(returned(8), "tensor<8x8xf32>", mesh='["data"=2, "model"=2]')
    module = frontend.parse(text)
    assert sharding.localise(module)
    main, body = frontend.code_blocks(module)
    assert [sharding.is_per_device(b.mlir, module) for b in (main, body)] == [False, True]
    assert body.arguments[0].tensor.shape == (4, 8)


@pytest.mark.parametrize("join", ["maximum", "minimum", "add"])
def test_shards_are_joined_as_their_elements_are(join):
    start = {"maximum": "0xFF800000", "minimum": "0x7F800000", "add": "0.0"}[join]
    body = f"""%0 = stablehlo.constant dense<{start}> : tensor<f32>
    %1 = stablehlo.reduce(%y init: %0) applies stablehlo.{join} across dimensions = [0]
      : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    return %1 : tensor<8xf32>"""
    module = frontend.parse(module_text(body, "tensor<8xf32>"))
    assert sharding.localise(module)
    text = str(module)
    (reducer,) = text.split('"stablehlo.all_reduce"')[1:]
    assert f"stablehlo.{join}" in reducer


def test_a_sum_that_does_not_start_at_zero_is_not_split():
    body = """%0 = stablehlo.constant dense<1.0> : tensor<f32>
    %1 = stablehlo.reduce(%y init: %0) applies stablehlo.add across dimensions = [0]
      : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    return %1 : tensor<8xf32>"""
    assert not sharding.localise(frontend.parse(module_text(body, "tensor<8xf32>")))


def test_a_program_without_a_mesh_is_not_changed():
    assert not sharding.localise(frontend.parse("module { func.func @main() { return } }"))
