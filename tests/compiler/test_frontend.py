# SPDX-License-Identifier: Apache-2.0
"""Reading programs: artifact, bytecode, text, and bytes that are none of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiler_tools import artifact_of, main, stablehlo_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax

from jax_ane.compiler import frontend, graph

X = np.ones((4, 4), np.float32)
TEXT = main(
    "%0 = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : (tensor<4x4xf32>, "
    "tensor<4x4xf32>) -> tensor<4x4xf32>\nreturn %0 : tensor<4x4xf32>",
    "%a: tensor<4x4xf32>", "tensor<4x4xf32>",
)  # fmt: skip


def op_names(module) -> list[str]:
    frontend.normalise(module)
    return [op.name for block in frontend.code_blocks(module) for op in block.ops]


def test_text_bytecode_and_artifact_read_the_same():
    text, artifact = TEXT, artifact_of(TEXT)
    bytecode = stablehlo_of(lambda a: a @ a, X)
    for program in (text, text.encode(), artifact, bytecode):
        assert op_names(frontend.parse(program)) == ["stablehlo.dot_general"]


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0", b"ML\xefR", b"ML\xefR" + b"\xff" * 40, b"hello", b"module {", "func.func @f(",
     b"\xff\xfe" * 100, b"ML\xefRStableHLO_v1.0.0", "module @m { unknown.op }}", b"{}" * 50],
)  # fmt: skip
def test_garbage_is_not_a_program(garbage):
    with pytest.raises(ValueError, match=f"{len(garbage)} bytes"):
        frontend.parse(garbage)


@pytest.mark.parametrize("kind", ["artifact", "text"])
def test_truncated_program_is_an_error_at_every_length(kind):
    data = artifact_of(TEXT) if kind == "artifact" else TEXT.encode()
    for length in range(len(data)):
        try:
            module = frontend.parse(data[:length])
        except ValueError:
            continue
        assert module.operation.verify()  # a tail that only held padding or white space


@settings(max_examples=150, derandomize=True, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_corrupted_text_is_an_error_or_a_program(data):
    raw = bytearray(TEXT.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(1, 126))
    try:
        module = frontend.parse(bytes(raw))
    except ValueError:
        return
    assert module.operation.verify()


def test_calls_are_inlined_innermost_first():
    inner = jax.jit(lambda x: jnp.tanh(x @ x))
    middle = jax.jit(lambda x: inner(x) + inner(x.T))
    module = frontend.parse(stablehlo_of(lambda x: middle(inner(x)), X))
    names = op_names(module)
    assert "func.call" not in names
    assert names.count("stablehlo.dot_general") == 3


def test_blocks_of_control_flow_are_code_and_reducers_are_not():
    def fn(x):
        y, _ = lax.scan(lambda c, _: (c @ c, None), x, None, length=3)
        return lax.cond(y.sum() > 0, lambda v: v @ v, lambda v: jnp.sort(v), y)

    module = frontend.parse(stablehlo_of(fn, X))
    frontend.normalise(module)
    paths = [block.path for block in frontend.code_blocks(module)]
    assert paths[0] == "main"
    assert sum("while" in p for p in paths) == 2  # condition and body
    assert sum("case" in p for p in paths) == 2
    assert len(paths) == 5  # neither sum's nor sort's region


def test_location_is_the_users_line():
    module = frontend.parse(stablehlo_of(lambda a: jnp.dot(a, a), X))
    frontend.normalise(module)
    (op,) = (o for b in frontend.code_blocks(module) for o in b.ops if "dot" in o.name)
    assert op.location.file == __file__
    assert op.location.line > 0


@pytest.mark.parametrize(
    ("text", "want"),
    [('loc("f"("/a/b.py":3:1 to :9))', ("/a/b.py", 3, "f")),
     ("loc(unknown)", ("", 0, "")),
     ('loc("x"(callsite("g"("/lib/site-packages/z.py":1:1) at "h"("/u/m.py":7:2))))',
      ("/u/m.py", 7, "h")),
     ('loc("x"(callsite("g"("/lib/site-packages/z.py":1:1) at "h"("/site-packages/y.py":7:2))))',
      ("/lib/site-packages/z.py", 1, "g"))],
)  # fmt: skip
def test_parse_location(text, want):
    found = graph.parse_location(text)
    assert (found.file, found.line, found.function) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [("tensor<f32>", ((), "f32")), ("tensor<2x3xf16>", ((2, 3), "f16")),
     ("tensor<0x7xi1>", ((0, 7), "i1")), ("tensor<2xcomplex<f32>>", ((2,), "complex<f32>")),
     ("tensor<?x3xf32>", None), ("!stablehlo.token", None), ("tensor<*xf32>", None)],
)  # fmt: skip
def test_tensor_types(text, want):
    found = graph._parse_type(text)
    assert (None if found is None else (found.shape, found.dtype)) == want
