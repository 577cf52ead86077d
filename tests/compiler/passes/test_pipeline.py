# SPDX-License-Identifier: Apache-2.0
import runpy
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import jax_ane
from jax_ane import _native, report
from jax_ane.compiler import mil, passes, pipeline


def program():
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    one = builder.op("mul", {"x": builder.constant(1.0), "y": builder.constant(1.0)})
    y = builder.op("mul", {"x": builder.op("cast", {"x": x}, dtype="fp16"), "y": one})
    builder.program.outputs = [builder.op("exp", {"x": y})]
    return builder.program


def test_pipeline_cleans_up_to_one_op():
    cleaned = program()
    statistics = passes.run(cleaned, validate=True)
    assert [op.opcode for op in cleaned.ops] == ["exp"]
    assert statistics["fuse_casts"] == 1 and statistics["fold_constants"] == 1


def test_names_are_unique_and_say_their_module():
    names = [p.name for p in passes.PIPELINE]
    assert len(set(names)) == len(names)
    assert all(p.run.__module__.endswith(f".{p.name}") for p in passes.PIPELINE)
    assert all(p.purpose and p.place and p.numerics for p in passes.PIPELINE)


def test_the_table_shows_an_example_of_each():
    assert all("before:" in p.example and "after:" in p.example for p in passes.PIPELINE)
    table = passes.table()
    assert all(f"## {p.name}\n" in table and p.example in table for p in passes.PIPELINE)


def test_the_documented_table_is_current(capsys):
    page = Path(__file__).parents[3] / "docs" / "passes.md"
    runpy.run_module("jax_ane.compiler.passes", run_name="__main__")
    assert page.read_text() == capsys.readouterr().out, (
        "run: python -m jax_ane.compiler.passes > docs/passes.md"
    )


def wide(length):
    """A program in which every pass has something to look at, in every op."""
    builder = mil.Builder()
    x = builder.input(mil.Type("fp16", (4, 4)))
    while len(builder.program.ops) < length:
        y = builder.op("transpose", {"x": x}, perm=(1, 0))
        for opcode, number in (("mul", 2.0), ("add", 1.0), ("maximum", 0.0)):
            y = builder.op(opcode, {"x": y, "y": builder.constant(number)})
        e = builder.op("exp", {"x": builder.op("sub", {"x": x, "y": y})})
        x = builder.op("mul", {"x": x, "y": builder.op("tanh", {"x": e})})
    builder.program.outputs = [x]
    return builder.program


def test_time_is_linear_in_the_program():
    def seconds(length):
        best = float("inf")
        for _ in range(3):
            large = wide(length)
            start = time.process_time()
            passes.run(large)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(16_000) < 10 * seconds(4_000)  # 16 times, were it quadratic


def test_a_disabled_pass_does_not_run():
    cleaned = program()
    statistics = passes.run(cleaned, disabled=("fuse_casts",))
    assert "fuse_casts" not in statistics
    assert any(op.opcode == "cast" for op in cleaned.ops)


def test_an_unknown_pass_raises_with_the_known_names():
    with pytest.raises(ValueError, match=r"no pass named nonsense.*drop_identities"):
        passes.run(program(), disabled=("nonsense",))


def test_running_twice_changes_nothing():
    cleaned = program()
    passes.run(cleaned)
    assert sum(passes.run(cleaned).values()) == 0


def test_what_a_chip_refuses_after_raising_is_built_of_primitive_ops(monkeypatch):
    x = np.ones((8, 64), np.float32)
    check = _native.mil_check

    def refuse_softmax(text, blobs, chip):
        refused = [("ANE099", 0, 0, "no softmax")] if "= softmax(" in text else []
        return refused + check(text, blobs, chip)

    monkeypatch.setattr(_native, "mil_check", refuse_softmax)
    with jax_ane.config(placement="ane"):
        (ane_program,) = jax_ane.explain(jax.nn.softmax, x).programs
    assert "= reduce_max(" in ane_program.text and "= softmax(" not in ane_program.text


def test_a_dump_says_what_each_pass_did(tmp_path):
    x = np.ones((8, 64), np.float32)
    with jax_ane.config(placement="ane", dump_dir=str(tmp_path), disable_passes="raise_norms"):
        jax_ane.explain(jax.nn.softmax, x)
        pipeline.compile(report._stablehlo(jax.nn.softmax, (x,), {}), load=False)
    (page,) = tmp_path.glob("*/90_*/passes.txt")
    lines = page.read_text().splitlines()
    assert lines[0] == "10 ops lowered, 1 after the passes"
    assert [line.split()[0] for line in lines[2:]] == [p.name for p in passes.PIPELINE]
    assert any(line.split()[:3] == ["raise_softmax", "1", "changes"] for line in lines)
    assert any(line.split()[:2] == ["raise_norms", "disabled"] for line in lines)


@pytest.mark.parametrize("chip", ["M1", "M2", "M3", "M4", "M5", "M6"])
def test_every_chip_takes_what_is_raised(chip):
    def fn(x):
        centred = x - x.mean(-1, keepdims=True)
        x = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        x = jax.nn.gelu(x, approximate=False)
        for activation in (jax.nn.relu6, jax.nn.leaky_relu):
            x = activation(x + 1)
        x = jax.nn.soft_sign(jax.nn.softmax(x) + (x * x).sum(-1, keepdims=True))
        return jax.nn.relu(x - 1).clip(0.5, 2)

    with jax_ane.config(placement="ane", chip=chip):
        (ane_program,) = jax_ane.explain(fn, np.ones((8, 64), np.float32)).programs
    for opcode in ("layer_norm", "erf", "relu6", "leaky_relu", "softsign", "softmax",
                   "reduce_sum_square", "clip"):  # fmt: skip
        assert f"= {opcode}(" in ane_program.text, opcode
