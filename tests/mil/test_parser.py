# SPDX-License-Identifier: Apache-2.0
"""What the parser and the checks accept, and each way of being refused."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import blob, blob_const, const, op, program

import jax_ane
from jax_ane import mil

ROOT = Path(__file__).parents[2]
X = {"x": ("fp16", (1, 4))}
VALID = program(X, [const("h", "fp16", 0.5), op("y", (1, 4), "mul(x = x, y = h)")], ["y"])

DIALECT_B = """program(1.0)
[buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"coremlc-version", "3505.4.1"}})]
{
  func main<ios16>(tensor<fp16, [2, 3]> x) {
    tensor<int32, []> ax = const()[name=tensor<string, []>("ax"), val=tensor<int32, []>(-1)];
    tensor<bool, []> il = const()[name=tensor<string, []>("il"), val=tensor<bool, []>(false)];
    tensor<fp16, []> s = const()[name=tensor<string, []>("s"), val=tensor<fp16, []>(1e-1)];
    tensor<fp16, [2]> v = const()[val=tensor<fp16, [2]>([0x1p-3,-2.])];
    tensor<fp16, [2,3]> a = mul(y=s,x=x)[name=tensor<string, []>("a")];
    tensor<fp16, [2, 6]> y=concat(axis=ax,interleave=il,values=(a,x))[];
  }->(y);
}"""


def test_dialect_b():
    x = np.arange(6, dtype=np.float16).reshape(2, 3)
    y = mil.run(DIALECT_B, {"x": x})["y"]
    np.testing.assert_allclose(y, np.concatenate([x * np.float16(0.1), x], 1), rtol=1e-3)


def test_dialect_c_header_and_missing_build_info():
    text = VALID.replace("program(1.3)", "program(1.5)")
    assert mil.check(text, chip="M5") == []
    assert mil.check(re.sub(r"\[buildInfo.*\]\n", "", VALID)) == []
    assert mil.check(VALID.replace("ios18", "ios17")) == []


def test_literals_of_every_spelling():
    for spelling, expected in [
        ("0x1p-3", 0.125),
        ("-0x1.8p+1", -3),
        ("1e-2", 0.01),
        ("7", 7),
        ("-0.5", -0.5),
        ("1.", 1),
        ("+2", 2),
        ("1e-30", 0),
    ]:
        text = VALID.replace("fp16(0x1.0000000000000p-1)", f"fp16({spelling})")
        assert text != VALID
        y = mil.run(text, {"x": np.ones((1, 4))})["y"]
        np.testing.assert_array_equal(y, np.full((1, 4), expected, np.float16))


def one(body, inputs=None, outputs=("y",)):
    return program(inputs or X, body, outputs)


CONV = [const("w", "fp16", np.ones((1, 1, 1, 17)))]
MATMUL_X = {"x": ("fp16", (2, 3)), "z": ("fp16", (3, 2))}
# name: (id, text)
BAD = {
    "empty": (101, ""),
    "truncated": (101, VALID[: VALID.index("mul(") + 3]),
    "truncated type": (126, VALID[: VALID.index("fp16 h") + 2]),
    "truncated string": (100, VALID[: VALID.index("coremlc-version") + 3]),
    "bad character": (100, VALID.replace("mul(", "mul#(")),
    "NUL byte": (100, VALID.replace("mul(", "mul\0(")),
    "not UTF-8 text": (100, VALID.replace("mul(", "mul\u00e9(")),
    "no semicolon": (101, VALID.replace('("y")];', '("y")]')),
    "text after the end": (101, VALID + "x"),
    "deep list": (102, VALID.replace("fp16(0x1.0000000000000p-1)", "fp16(" + "[" * 5000)),
    "deep tuple": (102, VALID.replace("y = h", "y = " + "(" * 5000)),
    "deep blobs": (102, VALID.replace("y = h", "y = " + "fp16(BLOBFILE(path = " * 5000)),
    "huge number": (103, VALID.replace("0x1.0000000000000p-1", "1e99999")),
    "int out of range": (103, one([const("i", "int32", 2**40), op("y", (1, 4), "exp(x = x)")])),
    "int past int64": (103, VALID.replace("0x1.0000000000000p-1", "9" * 30)),
    "broken number": (103, VALID.replace("0x1.0000000000000p-1", "1.2.3")),
    "float in int": (103, VALID.replace("fp16 h", "int32 h").replace("fp16(0x", "int32(0x")),
    "version": (104, VALID.replace("program(1.3)", "program(9.9)")),
    "opset": (105, VALID.replace("ios18", "ios3")),
    "no main": (106, VALID.replace("func main", "func other")),
    "no function": (106, "program(1.3)\n{\n}"),
    "undefined": (107, one([op("y", (1, 4), "add(x = x, y = nothing)")])),
    "cycle": (
        107,
        one(
            [
                op("a", (1, 4), "exp(x = b)"),
                op("b", (1, 4), "exp(x = a)"),
                op("y", (1, 4), "exp(x = b)"),
            ]
        ),
    ),
    "itself": (107, one([op("y", (1, 4), "exp(x = y)")])),
    "undefined output": (107, one([op("y", (1, 4), "exp(x = x)")], outputs=["q"])),
    "duplicate": (108, one([op("x", (1, 4), "exp(x = x)"), op("y", (1, 4), "exp(x = x)")])),
    "output twice": (108, one([op("y", (1, 4), "exp(x = x)")], outputs=["y", "y"])),
    "unknown op": (109, one([op("y", (1, 4), "frobnicate(x = x)")])),
    "unknown argument": (110, one([op("y", (1, 4), "exp(x = x, z = x)")])),
    "argument twice": (110, one([op("y", (1, 4), "exp(x = x, x = x)")])),
    "missing argument": (111, one([op("y", (1, 4), "add(x = x)")])),
    "argument type": (112, one([const("s", "string", "a"), op("y", (1, 4), "add(x = x, y = s)")])),
    "bool as number": (112, VALID.replace("fp16(0x1.0000000000000p-1)", "fp16(true)")),
    "run-time axis": (113, one([op("y", (1, 4), "softmax(x = x, axis = x)")])),
    "wrong result": (114, one([op("y", (4, 1), "exp(x = x)")])),
    "wrong result type": (114, one([op("y", (1, 4), "exp(x = x)", "fp32")])),
    "zero dimension": (115, VALID.replace("[1, 4]", "[1, 0]")),
    "negative dimension": (115, VALID.replace("[1, 4]", "[1, -4]")),
    "symbolic dimension": (115, VALID.replace("[1, 4]", "[1, n]")),
    "billions": (116, VALID.replace("[1, 4]", "[65536, 65536]")),
    "overflow": (116, VALID.replace("[1, 4]", "[4611686018427387904, 4]")),
    "literal count": (
        117,
        one(
            [
                const("v", "fp16", [1, 2]).replace("fp16, [2]>(", "fp16, [3]>("),
                op("y", (1, 4), "exp(x = x)"),
            ]
        ),
    ),
    "missing blob": (
        118,
        one(
            [
                blob_const("w", "fp16", (4,), "@model_path/w.bin", 64),
                op("y", (1, 4), "add(x = x, y = w)"),
            ]
        ),
    ),
    "foreign path": (
        118,
        one(
            [blob_const("w", "fp16", (4,), "/etc/passwd", 64), op("y", (1, 4), "add(x = x, y = w)")]
        ),
    ),
    "axis": (121, one([const("a", "int32", 7), op("y", (1, 4), "softmax(x = x, axis = a)")])),
    "no broadcast": (
        122,
        program({**X, "z": ("fp16", (1, 3))}, [op("y", (1, 4), "add(x = x, y = z)")], ["y"]),
    ),
    "results": (
        123,
        one(['tensor<fp16, [1, 4]> y, tensor<fp16, [1, 4]> z = exp(x = x)[name = string("y")];']),
    ),
    "same op name": (124, VALID.replace('string("y")', 'string("h")')),
    "attribute": (125, VALID.replace('[name = string("y")]', '[colour = string("y")]')),
    "no val": (125, VALID.replace("val =", "vol =")),
    "unknown type": (126, VALID.replace("fp16 h", "fp12 h")),
    "rank 6": (
        1,
        one(
            [
                const("s", "int32", [1] * 6),
                op("r", [1] * 6, "reshape(x = x, shape = s)"),
                const("t", "int32", [1]),
                op("y", [1], "reshape(x = r, shape = t)"),
            ],
            {"x": ("fp16", (1,))},
        ),
    ),
    "long axis": (2, one([op("y", (1, 65537), "exp(x = x)")], {"x": ("fp16", (1, 65537))})),
    "channels": (
        3,
        one([op("y", (1, 65537, 1, 1), "exp(x = x)")], {"x": ("fp16", (1, 65537, 1, 1))}),
    ),
    "batch": (4, one([op("y", (65537, 1, 1, 1), "exp(x = x)")], {"x": ("fp16", (65537, 1, 1, 1))})),
    "int32 input": (5, one([op("y", (1, 4), "exp(x = x)")], {**X, "i": ("int32", (1, 4))})),
    "bool output": (5, one([op("y", (1, 4), "equal(x = x, y = x)", "bool")])),
    "fp32 arithmetic": (6, one([op("y", (1, 4), "exp(x = x)", "fp32")], {"x": ("fp32", (1, 4))})),
    "no path": (7, one([op("y", (1, 4), "tan(x = x)")])),
    "identity": (8, one([op("y", (1, 4), "identity(x = x)")])),
    "output is input": (9, one([op("y", (1, 4), "exp(x = x)")], outputs=["y", "x"])),
    "matmul rank": (
        10,
        one([op("y", (1, 1, 1, 2, 2), "matmul(x = x, y = x)")], {"x": ("fp16", (1, 1, 1, 2, 2))}),
    ),
    "matmul inner": (
        11,
        one(
            [op("y", (1, 1), "matmul(x = x, y = z)")],
            {"x": ("fp16", (1, 40000)), "z": ("fp16", (40000, 1))},
        ),
    ),
    "inline transpose": (
        12,
        one([op("y", (2, 2), "matmul(x = x, y = z, transpose_x = bool(false))")], MATMUL_X),
    ),
    "bare inline": (
        12,
        one([op("y", (2, 2), "matmul(x = x, y = z, transpose_x = false)")], MATMUL_X),
    ),
    "run-time linear": (
        13,
        one([op("y", (1, 4), "linear(x = x, weight = w)")], {**X, "w": ("fp16", (4, 4))}),
    ),
    "run-time conv batch": (
        14,
        one(
            [op("y", (2, 1, 1, 1), "conv(x = x, weight = w)")],
            {"x": ("fp16", (2, 1, 1, 1)), "w": ("fp16", (1, 1, 1, 1))},
        ),
    ),
    "pad batch": (
        15,
        one(
            [const("p", "int32", [1, 0, 0, 0, 0, 0]), op("y", (2, 1, 1), "pad(x = x, pad = p)")],
            {"x": ("fp16", (1, 1, 1))},
        ),
    ),
    "no interleave": (
        16,
        one([const("a", "int32", 0), op("y", (2, 4), "concat(values = (x, x), axis = a)")]),
    ),
    "conv width": (
        17,
        one(
            [*CONV, op("y", (1, 1, 1, 4), "conv(x = x, weight = w)")],
            {"x": ("fp16", (1, 1, 1, 20))},
        ),
    ),
    "conv height": (
        18,
        one(
            [
                const("w", "fp16", np.ones((1, 1, 32, 1))),
                op("y", (1, 1, 9, 1), "conv(x = x, weight = w)"),
            ],
            {"x": ("fp16", (1, 1, 40, 1))},
        ),
    ),
    "pool": (
        19,
        one(
            [
                const("k", "int32", [1, 40]),
                const("t", "string", "valid"),
                op("y", (1, 1, 1, 11), "max_pool(x = x, kernel_sizes = k, pad_type = t)"),
            ],
            {"x": ("fp16", (1, 1, 1, 50))},
        ),
    ),
    "gelu mode": (21, one([op("y", (1, 4), "gelu(x = x)")])),
    "conv rank": (
        27,
        one(
            [op("y", (1, 1, 1, 1, 1), "conv(x = x, weight = x)")], {"x": ("fp16", (1, 1, 1, 1, 1))}
        ),
    ),
    "not modelled": (127, one([op("y", (1, 4), "read_state(input = x)")])),
    "shuffle factor": (
        28,
        one(
            [
                const("b", "int32", 5),
                op("y", (1, 1, 5, 5), "pixel_shuffle(x = x, upscale_factor = b)"),
            ],
            {"x": ("fp16", (1, 25, 1, 1))},
        ),
    ),
    "top 3": (
        29,
        one(
            [
                const("k", "int32", 3),
                'tensor<fp16, [1, 3]> y, tensor<int32, [1, 3]> i = topk(x = x, k = k)[name = string("y")];',  # noqa: E501
            ]
        ),
    ),
    "vector palette": (
        31,
        one(
            [
                'tensor<fp16, [1, 8]> w = constexpr_lut_to_dense(indices = tensor<uint1, [1, 4]>([0, 1, 0, 1]), lut = tensor<fp16, [1, 1, 2, 2]>([0.0, 1.0, 2.0, 3.0]), vector_axis = int32(1))[name = string("w")];',  # noqa: E501
                op("y", (1, 8), "add(x = w, y = w)"),
            ]
        ),
    ),
    "fill too large": (
        26,
        one(
            [
                const("s", "int32", [32768, 32768, 2]),
                op("f", (32768, 32768, 2), "fill(shape = s)"),
                op("y", (1, 4), "add(x = x, y = x)"),
            ]
        ),
    ),
    "einsum": (
        32,
        one(
            [
                const("e", "string", "ab,bc->ac"),
                op("y", (1, 1), "einsum(values = (x, x), equation = e)"),
            ],
        ),
    ),
    "tile": (33, one([const("r", "int32", [1, 5]), op("y", (1, 20), "tile(x = x, reps = r)")])),
    "older opset": (
        129,
        one(
            [
                const("s", "fp16", 0.5),
                const("d", "string", "int8"),
                op("q", (1, 4), "quantize(input = x, scale = s, output_dtype = d)", "int8"),
                op("y", (1, 4), "dequantize(input = q, scale = s)"),
            ]
        ).replace("ios18", "ios16"),
    ),
    "max_pool width": (
        19,
        one(
            [
                const("k", "int32", [1, 9]),
                const("t", "string", "valid"),
                op("y", (1, 1, 1, 42), "max_pool(x = x, kernel_sizes = k, pad_type = t)"),
            ],
            {"x": ("fp16", (1, 1, 1, 50))},
        ),
    ),
    "run-time indices": (
        20,
        one(
            [op("y", (2, 3), "gather(x = x, indices = i)")],
            {"x": ("fp16", (4, 3)), "i": ("uint16", (2,))},
        ),
    ),
    "129 surfaces": (
        41,
        program(
            {f"x{i}": ("fp16", (1, 4)) for i in range(128)},
            [op("y", (1, 4), "add(x = x0, y = x1)")],
            ["y"],
        ),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name):
    number, text = BAD[name]
    findings = mil.check(text)
    wanted = f"ANE{number:03d}"
    assert wanted in [f.id for f in findings], findings
    lines = text.split("\n")
    for f in findings:
        assert 1 <= f.line <= len(lines)
        assert 1 <= f.column <= len(lines[f.line - 1].encode()) + 1
        assert f.message
    with pytest.raises(jax_ane.AneError) as caught:
        mil.run(text, {})
    assert caught.value.id.startswith("ANE")
    assert caught.value.line >= 1
    unsupported = number in (7, 8, 109, 127)
    assert isinstance(caught.value, jax_ane.UnsupportedOpError) == unsupported
    assert isinstance(caught.value, ValueError) != unsupported


INT4 = one(
    [
        'tensor<fp16, [1, 4]> w = constexpr_blockwise_shift_scale(data = tensor<int4, [1, 4]>([1, -2, 3, -8]), scale = tensor<fp16, [1, 2]>([0.5, 2.0]))[name = string("w")];',  # noqa: E501
        op("y", (1, 4), "add(x = x, y = w)"),
    ]
)
AND = one(
    [
        op("c", (1, 4), "greater(x = x, y = x)", "bool"),
        op("d", (1, 4), "logical_and(x = c, y = c)", "bool"),
        op("y", (1, 4), "select(cond = d, a = x, b = x)"),
    ]
)
TOP = one(
    [
        'tensor<fp16, [1, 1]> y, tensor<int32, [1, 1]> i = topk(x = x)[name = string("y")];',
    ]
)
REFLECT = one(
    [
        const("p", "int32", [1, 1]),
        const("m", "string", "reflect"),
        op("y", (1, 6), "pad(x = x, pad = p, mode = m)"),
    ]
)
RANGE = one(
    [
        'tensor<fp16, [4]> r = range_1d(start = fp16(0.0), end = fp16(4.0), step = fp16(1.0))[name = string("r")];',  # noqa: E501
        op("y", (1, 4), "add(x = x, y = r)"),
    ]
)
CONV3D = one(
    [
        const("w", "fp16", np.ones((1, 1, 1, 1, 2))),
        op("y", (1, 1, 1, 1, 3), "conv(x = x, weight = w)"),
    ],
    {"x": ("fp16", (1, 1, 1, 1, 4))},
)
ROUNDED = one(
    [op("r", (1, 4), "floor(x = x)"), const("c", "fp16", 2.0), op("y", (1, 4), "mul(x = r, y = c)")]
)
GATES = {
    "scaled rounding": (ROUNDED, "ANE034", "M5"),
    "int4 blocks": (INT4, "ANE030", "M1 M2 M6"),
    "logical_and": (AND, "ANE022", "M1 M2 M3 M5 M6"),
    "topk": (TOP, "ANE022", "M1"),
    "reflect": (REFLECT, "ANE015", "M1"),
    "range": (RANGE, "ANE022", "M1"),
    "conv3d": (CONV3D, "ANE027", "M1 M2 M3 M5 M6"),
}


@pytest.mark.parametrize("name", GATES)
def test_refused_on_some_chips_only(name):
    text, number, refusing = GATES[name]
    for chip in ("M1", "M2", "M3", "M4", "M5", "M6"):
        wanted = [number] if chip in refusing.split() else []
        assert [f.id for f in mil.check(text, chip=chip)] == wanted, chip


@pytest.mark.parametrize(
    "lines",
    [
        [op("r", (1, 4), "floor(x = x)"), const("c", "fp16", [[2.0] * 4]),
         op("y", (1, 4), "mul(x = r, y = c)")],
        [op("r", (1, 4), "abs(x = x)"), const("c", "fp16", 2.0),
         op("y", (1, 4), "mul(x = r, y = c)")],
        [op("r", (1, 4), "ceil(x = x)"), const("c", "fp16", 2.0),
         op("y", (1, 4), "add(x = r, y = c)")],
        [op("r", (1, 4), "round(x = x)"), op("y", (1, 4), "mul(x = r, y = x)")],
    ],
    ids=["full constant", "other op", "sum", "no constant"],
)  # fmt: skip
def test_neighbours_of_a_scaled_rounding_are_taken(lines):
    assert mil.check(one(lines), chip="M5") == []


@pytest.mark.parametrize("opcode", ["floor", "ceil", "round"])
def test_scaled_rounding_is_refused_on_either_side(opcode):
    rounded = [op("r", (1, 4), f"{opcode}(x = x)"), const("c", "fp16", 2.0)]
    for product in ("mul(x = r, y = c)", "mul(x = c, y = r)"):
        (finding,) = mil.check(one([*rounded, op("y", (1, 4), product)]), chip="M5")
        assert finding.id == "ANE034" and "full shape" in finding.message


def test_position_is_exact():
    (finding,) = mil.check(VALID.replace("y = h", "y = hh"))
    lines = VALID.split("\n")
    line = next(i for i, text in enumerate(lines, 1) if "mul(" in text)
    assert (finding.id, finding.line) == ("ANE107", line)
    assert finding.column == lines[line - 1].index("y = h") + 5
    with pytest.raises(AttributeError):
        finding.id = "ANE001"


def test_all_findings_are_listed():
    text = one(
        [
            op("a", (1, 4), "tan(x = x)"),
            op("b", (4, 4), "exp(x = a)"),
            op("y", (1, 4), "add(x = q, y = x)"),
        ]
    )
    assert [f.id for f in mil.check(text)] == ["ANE007", "ANE114", "ANE107"]


def test_chip_limits_differ():
    wide = one(
        [
            const("w", "fp16", np.ones((1, 1, 1, 15))),
            op("y", (1, 1, 1, 6), "conv(x = x, weight = w)"),
        ],
        {"x": ("fp16", (1, 1, 1, 20))},
    )
    assert mil.check(wide, chip="M4") == []
    assert [f.id for f in mil.check(wide, chip="M1")] == ["ANE017"]
    sin = one([op("y", (1, 4), "sin(x = x)")])
    assert mil.check(sin, chip="M3") == []
    assert [f.id for f in mil.check(sin, chip="M2")] == ["ANE022"]
    fp32 = one(
        [const("d", "string", "fp16"), op("y", (1, 4), "cast(x = x, dtype = d)")],
        {"x": ("fp32", (1, 4))},
    )
    assert mil.check(fp32, chip="M3") == []
    assert [f.id for f in mil.check(fp32, chip="M1")] == ["ANE025"]
    long = one([op("y", (1, 20000), "exp(x = x)")], {"x": ("fp16", (1, 20000))})
    assert mil.check(long, chip="M4") == []
    assert [f.id for f in mil.check(long, chip="M2")] == ["ANE002", "ANE002"]
    with pytest.raises(ValueError, match="choices"):
        mil.check(VALID, chip="M9")


PATH = "@model_path/weights/w.bin"
FILE, (OFFSET,) = blob(np.arange(4, dtype=np.float16))


def with_blob(offset=OFFSET, dims=(4,), dtype="fp16"):
    return one([blob_const("w", dtype, dims, PATH, offset), op("y", (1, 4), "add(x = x, y = w)")])


def patched(at, fmt, value):
    data = bytearray(FILE)
    struct.pack_into(fmt, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    "number,text,file",
    [
        (119, with_blob(0), FILE),
        (119, with_blob(63), FILE),
        (119, with_blob(1 << 62), FILE),
        (119, with_blob(192), FILE),
        (120, with_blob(128), FILE + bytes(64)),
        (120, with_blob(), b""),
        (120, with_blob(), FILE[:100]),
        (119, with_blob(), FILE[:-1]),
        (120, with_blob(), patched(64, "<I", 0)),
        (120, with_blob(), patched(68, "<I", 2)),
        (120, with_blob(), patched(72, "<Q", 9)),
        (120, with_blob(), patched(72, "<Q", 2**64 - 1)),
        (119, with_blob(), patched(80, "<Q", 2**64 - 64)),
        (119, with_blob(), patched(80, "<Q", 129)),
        (120, with_blob(dims=(5,)), FILE),
        (120, with_blob(dtype="fp32"), FILE),
    ],
)
def test_blob_refused(number, text, file):
    found = [f.id for f in mil.check(text, blobs={PATH: file})]
    assert found[0] == f"ANE{number:03d}", found


def test_blob_accepted_as_bytes_and_folder(tmp_path):
    expected = np.arange(4)[None] + 1
    x = {"x": np.ones((1, 4))}
    np.testing.assert_array_equal(mil.run(with_blob(), x, blobs={PATH: FILE})["y"], expected)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(FILE)
    np.testing.assert_array_equal(mil.run(with_blob(), x, blobs=tmp_path)["y"], expected)
    assert mil.check(with_blob(), blobs=str(tmp_path)) == []
    (tmp_path / "out.bin").write_bytes(FILE)
    escape = with_blob().replace(PATH, "@model_path/../out.bin")
    assert [f.id for f in mil.check(escape, blobs=tmp_path / "weights")] == ["ANE118"]


def test_inputs_are_checked():
    with pytest.raises(jax_ane.MilError, match="missing"):
        mil.run(VALID, {})
    with pytest.raises(jax_ane.MilError, match="shape"):
        mil.run(VALID, {"x": np.ones((4, 1))})
    with pytest.raises(jax_ane.MilError, match="no input z"):
        mil.run(VALID, {"x": np.ones((1, 4)), "z": 1})
    with pytest.raises(ValueError, match="numerics"):
        mil.run(VALID, {"x": np.ones((1, 4))}, numerics="sloppy")


def test_text_beyond_256_mib_is_refused():
    assert [f.id for f in mil.check(VALID + " " * (256 << 20))] == ["ANE128"]


# Refused by the device when it loads or evaluates, or on old chips only: where that is tested.
ELSEWHERE = {
    23: ("tests/cpp/planner_test.cc", "loads beyond the chip's limit are refused"),
    24: ("tests/cpp/planner_test.cc", "surfaces too small, too few or misaligned"),
    25: ("tests/mil/test_parser.py", "def test_chip_limits_differ"),
    40: ("tests/cpp/device_limits_test.cc", "loads beyond the address window"),
    119: ("tests/mil/test_parser.py", "def test_blob_refused"),
    120: ("tests/mil/test_parser.py", "def test_blob_refused"),
    128: ("tests/mil/test_parser.py", "def test_text_beyond_256_mib_is_refused"),
}


def test_each_constraint_has_a_program_that_breaks_it():
    rows = json.loads((ROOT / "jax_ane/compiler/constraints.json").read_text())
    broken = {number for number, _ in BAD.values()}
    broken |= {int(number.removeprefix("ANE")) for _, number, _ in GATES.values()}
    assert {int(row["id"][3:]) for row in rows} == broken | set(ELSEWHERE)
    assert not broken & set(ELSEWHERE)
    for path, text in ELSEWHERE.values():
        assert text in (ROOT / path).read_text(), path


def test_constraints_match_the_header():
    header = (ROOT / "pjrt_plugin/device/software/constraint_ids.h").read_text()
    numbers = [int(n) for n in re.findall(r"^\s+k\w+ = (\d+),", header, re.M)]
    rows = json.loads((ROOT / "jax_ane/compiler/constraints.json").read_text())
    assert sorted(numbers) == [int(r["id"][3:]) for r in rows]
    assert len(set(numbers)) == len(numbers) > 50
    chips = {p.stem for p in (ROOT / "jax_ane/chips").glob("*.json")}
    for row in rows:
        assert set(row) == {"id", "title", "source", "chips"}
        assert row["title"] and row["source"]
        assert row["chips"] == "all" or set(row["chips"]) <= chips
    titles = {r["id"]: r["title"] for r in rows}
    assert titles["ANE017"] == "no convolution kernel wider than the chip allows"


def test_chip_files_have_the_same_keys():
    files = sorted((ROOT / "jax_ane/chips").glob("*.json"))
    chips = [json.loads(p.read_text()) for p in files]
    assert [c["name"] for c in chips] == [p.stem for p in files]
    for chip in chips:
        assert set(chip) == set(chips[0])
        for key, entry in chip.items():
            assert key in ("name", "family") or set(entry) == {"value", "source"}


RICH = program(
    {"a0": ("fp16", (1, 8, 1, 40)), "a1": ("fp16", (1, 8, 1, 40))},
    [
        const("ax", "int32", [-1]),
        const("k", "bool", True),
        const("p", "int32", [0, 1, 3, 2]),
        const("i", "bool", False),
        const("c", "int32", 1),
        const("w", "fp16", np.ones((2, 16, 1, 3))),
        const("s", "int32", [1, 2, 38]),
        const("m", "string", "EXACT"),
        op("t0", (1, 16, 1, 40), "concat(axis = c, interleave = i, values = (a0, a1))"),
        op("t1", (1, 2, 1, 38), "conv(x = t0, weight = w)"),
        op("t2", (1, 2, 38), "reshape(x = t1, shape = s)"),
        op("t3", (1, 2, 1), "reduce_sum(x = t2, axes = ax, keep_dims = k)"),
        op("t4", (1, 2, 38), "real_div(x = t2, y = t3)"),
        op("t5", (1, 2, 38), "gelu(x = t4, mode = m)"),
        op("t6", (1, 8, 40, 1), "transpose(x = a0, perm = p)"),
    ],
    ["t5", "t6"],
)
FRAGMENTS = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    ",",
    ";",
    "=",
    "->",
    "\0",
    '"',
    "-",
    "0",
    "-1",
    "999999999999",
    "1e400",
    "tensor",
    "fp16",
    "bool",
    "int32",
    "x",
    "a0",
    "t2",
    "BLOBFILE",
    "conv",
    "matmul",
    "const",
    "true",
    "1",
    "2",
    "65536",
    "concat",
    "slice_by_size",
    "4",
    "reshape",
    "split",
    "gather",
    "pad",
    "tile",
]


SAMPLER = [
    const("bl", "string", "bilinear"),
    const("cn", "string", "constant"),
    const("zero", "fp16", 0.0),
    const("nm", "string", "unnormalized"),
    const("yes", "bool", True),
]
NEWER = one(
    [
        *SAMPLER,
        const("two", "int32", 2),
        const("sz", "int32", [4, 6]),
        const("rd", "uint32", 2),
        const("pd", "int32", [1, 1]),
        const("rf", "string", "reflect"),
        const("bs", "int32", [2, 2]),
        const("pp", "int32", [[0, 0], [0, 0]]),
        const("sc", "fp16", 0.5),
        const("dt", "string", "int8"),
        const("eq", "string", "nchw,nwhu->nchu"),
        const("ix", "int32", [[0, 1], [0, 0]]),
        op("a", (1, 4, 4, 6), "resize(x = x, shape = sz, resized_dims = rd)"),
        op("b", (1, 4, 4, 8), "pad(x = a, pad = pd, mode = rf)"),
        op("c", (4, 4, 2, 4), "space_to_batch(x = b, block_shape = bs, paddings = pp)"),
        op("d", (1, 4, 4, 8), "batch_to_space(x = c, block_shape = bs, crops = pp)"),
        op("q", (1, 4, 4, 8), "quantize(input = d, scale = sc, output_dtype = dt)", "int8"),
        op("e", (1, 4, 4, 8), "dequantize(input = q, scale = sc)"),
        "tensor<fp16, [4, 4, 1, 1]> w = constexpr_blockwise_shift_scale(data = tensor<int8, "
        "[4, 4, 1, 1]>([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7]), scale = "
        'tensor<fp16, [4, 1, 1, 1]>([1.0, 2.0, 0.5, 1.0]))[name = string("w")];',
        op("f", (1, 4, 4, 8), "conv(x = e, weight = w)"),
        op("g", (1, 4, 4, 8), "scaled_dot_product_attention(query = f, key = f, value = f)"),
        "tensor<fp16, [1, 4, 4, 2]> h, tensor<int32, [1, 4, 4, 2]> i = topk(x = g, k = two)"
        '[name = string("h")];',
        op("n", (1, 8, 4, 8), "einsum(values = (m, g), equation = eq)"),
        op("o", (2, 4, 8), "gather_nd(x = n, indices = ix)"),
        op(
            "p",
            (1, 8, 8, 4),
            "resample(x = n, coordinates = k, sampling_mode = bl, padding_mode = cn, "
            "padding_value = zero, coordinates_mode = nm, align_corners = yes)",
        ),
        op("y", (1, 8, 8, 4), "local_response_norm(x = p, size = two)"),
    ],
    {
        "x": ("fp16", (1, 4, 2, 3)),
        "m": ("fp16", (1, 8, 4, 4)),
        "k": ("fp16", (1, 8, 4, 2)),
    },
    ["y", "h", "o"],
)


def test_rich_programs_are_valid():
    assert mil.check(RICH) == []
    assert mil.check(NEWER) == []


@settings(
    max_examples=1500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.data())
def test_mutations_end_in_findings_or_results(draws):
    mutate(draws, RICH)


@settings(
    max_examples=800, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.data())
def test_mutations_of_newer_operations_end_in_findings_or_results(draws):
    mutate(draws, NEWER)


def mutate(draws, rich):
    tokens = re.findall(r'"[^"]*"|\w+|->|\s+|.', rich)
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, len(tokens) - 1))
        kind = draws.draw(st.sampled_from(["drop", "replace", "copy", "swap", "cut"]))
        if kind == "drop":
            del tokens[at : at + (len(tokens) > 2)]
        elif kind == "replace":
            tokens[at] = draws.draw(st.sampled_from(FRAGMENTS))
        elif kind == "copy":
            tokens.insert(at, tokens[draws.draw(st.integers(0, len(tokens) - 1))])
        elif kind == "swap":
            other = draws.draw(st.integers(0, len(tokens) - 1))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        else:
            tokens = tokens[: max(at, 2)]
    text = "".join(tokens)
    findings = mil.check(text)
    if findings:
        assert all(re.fullmatch(r"ANE\d{3}", f.id) for f in findings)
        return
    loaded = mil.load(text)
    inputs = {name: np.ones(dims) for name, _, dims, *_ in loaded.inputs}
    assert mil.evaluate(loaded, inputs)
