# SPDX-License-Identifier: Apache-2.0
"""Layouts, symbol order, limits and threads of the software device."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from programs import const, op, program

import jax_ane
from jax_ane import _native, mil


@pytest.mark.parametrize(
    "dims,row,plane",
    [
        ((), 64, 64),
        ((5,), 64, 64),
        ((1, 1, 1, 1), 64, 64),
        ((1, 4, 1, 16), 64, 64),
        ((1, 32, 1, 32), 64, 64),
        ((1, 3, 2, 33), 128, 256),
        ((2, 3, 4, 5, 100), 256, 1280),
    ],
    ids=str,
)
def test_layout(dims, row, plane):
    loaded = mil.load(program({"x": ("fp16", dims)}, [op("y", dims, "exp(x = x)")], ["y"]))
    planes = int(np.prod(dims[:-2])) if len(dims) > 2 else 1
    for tensors in (loaded.inputs, loaded.outputs):
        ((_, dtype, shape, row_stride, plane_stride, size),) = tensors
        assert (dtype, tuple(shape)) == ("fp16", dims)
        assert (row_stride, plane_stride, size) == (row, plane, planes * plane)
    x = np.random.default_rng(0).uniform(-1, 1, dims).astype(np.float16)
    np.testing.assert_allclose(
        mil.evaluate(loaded, {"x": x})["y"], np.exp(x.astype(np.float64)), rtol=5e-3
    )


def test_symbols_sort_by_ascii_and_values_follow_names():
    names = ["x", "lr_in", "W", "mn", "vn"]
    body, last = [], "x"
    for i, name in enumerate(names[1:]):
        body += [
            const(f"c{i}", "fp16", 10.0),
            op(f"m{i}", (3,), f"mul(x = {last}, y = c{i})"),
            op(f"s{i}", (3,), f"add(x = m{i}, y = {name})"),
        ]
        last = f"s{i}"
    text = program({n: ("fp16", (3,)) for n in names}, body, [last, "s0", "m2"])
    loaded = mil.load(text)
    assert loaded.input_symbols == ["W", "lr_in", "mn", "vn", "x"]
    assert loaded.output_symbols == ["m2", "s0", "s3"]
    assert [t[0] for t in loaded.inputs] == names
    out = mil.evaluate(loaded, {n: np.full(3, i + 1) for i, n in enumerate(names)})
    assert list(out) == ["s3", "s0", "m2"]
    np.testing.assert_array_equal(out["s0"], np.full(3, 12))
    np.testing.assert_array_equal(out["s3"], np.full(3, 12352))


def test_concurrent_evaluations_agree():
    rng = np.random.default_rng(1)
    text = program(
        {"x": ("fp16", (2, 64, 96)), "w": ("fp16", (96, 80))},
        [
            op("a", (2, 64, 80), "matmul(x = x, y = w)"),
            op("b", (2, 64, 80), "tanh(x = a)"),
            const("p", "int32", [0, 2, 1]),
            op("y", (2, 80, 64), "transpose(x = b, perm = p)"),
        ],
        ["y"],
    )
    loaded = mil.load(text)
    w = rng.normal(size=(96, 80)) / 10
    xs = [rng.normal(size=(2, 64, 96)) for _ in range(16)]
    expected = [mil.evaluate(loaded, {"x": x, "w": w})["y"] for x in xs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            results = pool.map(lambda x: mil.evaluate(loaded, {"x": x, "w": w})["y"], xs)
            for y, e in zip(results, expected, strict=True):
                np.testing.assert_array_equal(y, e)
    assert threading.active_count() >= 1


def test_repeated_runs_are_bit_equal_for_any_thread_count():
    x = np.random.default_rng(2).normal(size=(300, 200)).astype(np.float16)
    text = program(
        {"x": ("fp16", x.shape)},
        [
            const("t", "bool", True),
            const("f", "bool", False),
            op("a", (300, 300), "matmul(x = x, y = x, transpose_x = f, transpose_y = t)"),
            op("y", (300, 300), "softmax(x = a)"),
        ],
        ["y"],
    )
    results = []
    try:
        for threads in (1, 2, 5):
            _native.configure(threads, "auto")
            results.append(mil.run(text, {"x": x})["y"])
    finally:
        _native.configure(0, "auto")
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_isa_is_checked():
    with pytest.raises(ValueError, match="not available"):
        _native.configure(0, "mmx")
    _native.configure(0, "scalar")
    assert _native.isa() == "scalar"
    _native.configure(0, "auto")


def test_use_after_fork():
    x = np.ones((64, 4096), np.float16)
    loaded = mil.load(
        program({"x": ("fp16", x.shape)}, [op("y", x.shape, "add(x = x, y = x)")], ["y"])
    )
    mil.evaluate(loaded, {"x": x})
    code = (
        "import os, numpy as np\n"
        "from jax_ane import mil\n"
        "t = '''program(1.3)\\n{ func main<ios18>(tensor<fp16, [64, 4096]> x) { "
        "tensor<fp16, [64, 4096]> y = add(x = x, y = x)[name = string(\"y\")]; } -> (y); }'''\n"
        "p = mil.load(t); x = np.ones((64, 4096)); mil.evaluate(p, {'x': x})\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(0 if (mil.evaluate(p, {'x': x})['y'] == 2).all() else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=os.environ)


def test_mil_needs_no_jax():
    code = (
        "import sys, jax_ane\n"
        "jax_ane.mil.check('')\n"
        "assert 'jax' not in sys.modules and 'jaxlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=os.environ)


def test_public_errors():
    assert issubclass(jax_ane.MilError, ValueError)
    assert issubclass(jax_ane.UnsupportedOpError, jax_ane.AneError)


def test_op_table_has_unique_names_and_classes():
    rows = _native.mil_ops()
    names = [name for name, _ in rows]
    assert names == sorted(set(names))
    classes = dict(rows)
    assert set(classes.values()) == {"bit-exact", "bounded", "unknown"}
    assert classes["matmul"] == classes["gelu"] == "bit-exact"
    assert classes["reduce_sum"] == classes["softmax"] == "bounded"
