# SPDX-License-Identifier: Apache-2.0
import pytest

from jax_ane.compiler import mil, passes


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
    assert all(p.purpose and p.place for p in passes.PIPELINE)


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
