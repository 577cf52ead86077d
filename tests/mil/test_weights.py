# SPDX-License-Identifier: Apache-2.0
"""Compressed weights in the forms of ios16 and ios18, and W8A8 on exact integers."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from programs import blob, const, number, op, program, tensor
from test_ops import close, half

from jax_ane import mil

RNG = np.random.default_rng(11)
DATA = json.loads((Path(__file__).parents[1] / "data" / "numerics-data.json").read_text())


def literal(dtype, array):
    array = np.asarray(array)
    items = ", ".join(number(v) for v in array.ravel().tolist())
    return f"{tensor(dtype, array.shape)}([{items}])"


def constexpr(name, dtype, dims, kind, **arguments):
    inner = ", ".join(f"{k} = {v}" for k, v in arguments.items())
    return f'{tensor(dtype, dims)} {name} = {kind}({inner})[name = string("{name}")];'


def expanded(lines, dims, chip="M4"):
    """Returns what the value `w` of the lines holds, by adding it to zeros."""
    text = program({"x": ("fp16", dims)}, [*lines, op("y", dims, "add(x = x, y = w)")], ["y"])
    return mil.run(text, {"x": np.zeros(dims)}, chip=chip)["y"]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("groups", [1, 2])
def test_palettes_of_ios18(bits, groups):
    colours = 1 << bits
    lut = half(groups, 1, colours, 1)
    indices = RNG.integers(0, colours, (4, 6))
    line = constexpr(
        "w",
        "fp16",
        (4, 6),
        "constexpr_lut_to_dense",
        indices=literal(f"uint{bits}", indices),
        lut=literal("fp16", lut),
    )
    expected = lut[np.arange(4)[:, None] * groups // 4, 0, indices, 0]
    np.testing.assert_array_equal(expanded([line], (4, 6)), expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_palettes_of_ios16(bits):
    lut = half(1 << bits)
    indices = RNG.integers(0, 1 << bits, 24)
    stream = sum(int(v) << (i * bits) for i, v in enumerate(indices))
    packed = np.frombuffer(stream.to_bytes(3 * bits, "little"), np.uint8)
    line = (
        "tensor<fp16, [4, 6]> w = constexpr_lut_to_dense()["
        f"indices = {literal('uint8', packed)}, lut = {literal('fp16', lut)}, "
        'name = string("w"), shape = tensor<uint32, [2]>([4, 6])];'
    )
    np.testing.assert_array_equal(expanded([line], (4, 6)), lut[indices].reshape(4, 6))


@pytest.mark.parametrize(("dtype", "low", "high"), [
    ("int4", -8, 8), ("uint4", 0, 16), ("int8", -128, 128), ("uint8", 0, 256)])  # fmt: skip
@pytest.mark.parametrize("with_offset", [False, True])
def test_blocks_of_scales(dtype, low, high, with_offset):
    data = RNG.integers(low, high, (4, 6))
    scale = half(2, 3, low=0.01, high=0.5)
    offset = RNG.integers(low, high, (2, 3)) if with_offset else np.zeros((2, 3), int)
    arguments = {"data": f"({literal(dtype, data)})", "scale": literal("fp16", scale)}
    if with_offset:
        arguments["offset"] = literal(dtype, offset)
    line = constexpr("w", "fp16", (4, 6), "constexpr_blockwise_shift_scale", **arguments)

    def spread(v):
        return v.repeat(2, 0).repeat(2, 1).astype(np.float64)

    expected = spread(scale) * (data - spread(offset))
    close(expanded([line], (4, 6)).astype(np.float64), expected, 2**-11 * 1.01, 1e-3)


def test_sparse_values_that_are_compressed():
    mask = np.array([[1, 0, 1, 1], [0, 1, 0, 1]])
    codes, lut = np.array([3, 0, 1, 2, 3]), half(2, 1, 4, 1)
    lines = [
        "tensor<uint1, [2, 4]> m, tensor<fp16, [5]> v = constexpr_lut_to_sparse("
        f"indices_mask = {literal('uint1', mask)}, indices_nonzero_data = "
        f'{literal("uint2", codes)}, lut = {literal("fp16", lut)})[name = string("s")];',
        constexpr("w", "fp16", (2, 4), "constexpr_sparse_to_dense", nonzero_data="v", mask="m"),
    ]
    expected = np.zeros((2, 4), np.float16)
    rows = np.nonzero(mask)[0]
    expected[mask == 1] = lut[rows, 0, codes, 0]
    np.testing.assert_array_equal(expanded(lines, (2, 4)), expected)
    data, scale = np.array([5, -3, 7, 100, -128]), half(2, 1, low=0.01, high=0.1)
    lines[0] = (
        "tensor<uint1, [2, 4]> m, tensor<fp16, [5]> v = constexpr_sparse_blockwise_shift_scale("
        f"data_mask = {literal('uint1', mask)}, nonzero_data = {literal('int8', data)}, "
        f'scale = {literal("fp16", scale)})[name = string("s")];'
    )
    expected = np.zeros((2, 4))
    expected[mask == 1] = data * scale[rows, 0].astype(np.float64)
    close(expanded(lines, (2, 4)).astype(np.float64), expected, 2**-11 * 1.01, 1e-3)


def test_sparse_integers_then_scales():
    """A chain: int8 values picked by a palette, then scaled."""
    palette = np.array([-100, 3], np.int8).reshape(1, 1, 2, 1)
    codes = RNG.integers(0, 2, (2, 4))
    lines = [
        constexpr(
            "q",
            "int8",
            (2, 4),
            "constexpr_lut_to_dense",
            indices=literal("uint1", codes),
            lut=literal("int8", palette),
        ),
        constexpr(
            "w",
            "fp16",
            (2, 4),
            "constexpr_blockwise_shift_scale",
            data="q",
            scale=literal("fp16", [[0.5], [0.25]]),
        ),
    ]
    expected = palette[0, 0, codes, 0] * np.array([[0.5], [0.25]])
    np.testing.assert_array_equal(expanded(lines, (2, 4)), expected)


def test_constexpr_cast():
    values = half(2, 3)
    lines = [
        constexpr(
            "c",
            "fp32",
            (2, 3),
            "constexpr_cast",
            source_val=literal("fp16", values),
            output_dtype='string("fp32")',
        ),
        const("d", "string", "fp16"),
        op("w", (2, 3), "cast(x = c, dtype = d)"),
    ]
    np.testing.assert_array_equal(expanded(lines, (2, 3)), values)


# ---- quantize and dequantize ----


@pytest.mark.parametrize("scale", [1.0, 0.0625, 3.0])
def test_quantize_rounds_every_finite_value_half_away(scale):
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)].reshape(1, -1)
    assert x.size == 63488
    consts = [const("s", "fp16", scale), const("d", "string", "int8")]
    text = program(
        {"x": ("fp16", x.shape)},
        [*consts, op("y", x.shape, "quantize(input = x, scale = s, output_dtype = d)", "int8")],
        ["y"],
    )
    ratio = x.astype(np.float64) / scale
    expected = np.clip(np.sign(ratio) * np.floor(np.abs(ratio) + 0.5), -128, 127)
    np.testing.assert_array_equal(mil.run(text, {"x": x})["y"], expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize_and_back_along_an_axis(dtype):
    x = half(2, 3, 4, low=-20, high=20)
    scale, zero = half(3, low=0.1, high=0.2), np.array([1, 100, 50])
    consts = [
        const("s", "fp16", scale),
        const("z", dtype, zero),
        const("a", "int32", 1),
        const("d", "string", dtype),
    ]
    body = [
        *consts,
        op(
            "q",
            x.shape,
            "quantize(input = x, scale = s, zero_point = z, axis = a, output_dtype = d)",
            dtype,
        ),
        op("y", x.shape, "dequantize(input = q, scale = s, zero_point = z, axis = a)"),
    ]
    out = mil.run(program({"x": ("fp16", x.shape)}, body, ["q", "y"]), {"x": x})
    s, z = scale.astype(np.float64)[:, None], zero[:, None]
    info = np.iinfo(dtype)
    q = np.clip(np.floor(np.abs(x / s) + 0.5) * np.sign(x) + z, info.min, info.max)
    np.testing.assert_array_equal(out["q"], q)
    close(out["y"].astype(np.float64), (q - z) * s, 2**-11 * 1.01)


# ---- W8A8 ----


def w8a8(x_scale, w_scale, x, w, kernel, chip="M6"):
    """conv of quantized activations [1, C, 1, W] by int8 weights [O, C, 1, kernel]."""
    path = "@model_path/weights/w.bin"
    file, offsets = blob(w)
    scales = literal("fp16", w_scale)
    width = x.shape[3] - kernel + 1
    body = [
        const("s", "fp16", x_scale),
        const("d", "string", "int8"),
        op("q", x.shape, "quantize(input = x, scale = s, output_dtype = d)", "int8"),
        op("h", x.shape, "dequantize(input = q, scale = s)"),
        f"{tensor('fp16', w.shape)} w = constexpr_affine_dequantize()[axis = int32(0), "
        f'quantized_data = {tensor("int8", w.shape)}(BLOBFILE(path = string("{path}"), '
        f"offset = uint64({offsets[0]}))), scale = {scales}, zero_point = int8(0), "
        'name = string("w")];',
        op("y", (1, w.shape[0], 1, width), "conv(x = h, weight = w)"),
    ]
    text = program({"x": ("fp16", x.shape)}, body, ["y"])
    return mil.run(text, {"x": x}, {path: file}, chip)["y"][0, :, 0, 0].astype(np.float64)


def full_sum(channels, kernel, x_scale, w_scale):
    """S = 2^14 for each product: -128 times -128."""
    x = np.full((1, channels, 1, kernel), -128 * x_scale, np.float16)
    w = np.full((1, channels, 1, kernel), -128, np.int8)
    return w8a8(x_scale, [w_scale], x, w, kernel)[0]


PROBES = {
    "S=2^30": lambda: full_sum(65536, 1, 2**-10, 2**-10) == 2**10,
    "S=2^31": lambda: all(
        full_sum(65536, 2, 2.0**-a, 2.0**-b) == math.inf for a, b in ((10, 10), (14, 14), (3, 5))
    ),
    "fp16 output up to 64512": lambda: full_sum(63, 1, 0.25, 0.25) == 64512,
}


@pytest.mark.parametrize("probe", [name for name, _ in DATA["int8_probes_M6"]])
def test_int8_probe(probe):
    assert PROBES[probe]()


def test_w8a8_has_no_limit_of_the_fp16_path():
    """Sums that the fixed-point path would lose: products below 2^-17, sums above 2^15."""
    x = np.array([[127, 1, -3, 90]]).reshape(1, 4, 1, 1)
    w = np.array([[1, -1, 5, 100], [127, 127, 127, 127]], np.int8).reshape(2, 4, 1, 1)
    sums = w.reshape(2, 4).astype(int) @ x.ravel()
    scales = [2**-9, 2**-8]
    y = w8a8(2**-9, scales, (x * 2.0**-9).astype(np.float16), w, 1)
    np.testing.assert_array_equal(y, np.float16(sums * 2.0**-9 * np.array(scales)))
    y = w8a8(1.0, [1.0, 1.0], x.astype(np.float16), w, 1)
    np.testing.assert_array_equal(y, np.float16(sums.astype(np.float64)))


@pytest.mark.parametrize("form", ["linear", "matmul", "matmul transposed", "conv", "dequantize"])
def test_w8a8_forms(form):
    x = RNG.integers(-128, 128, (3, 40))
    w = RNG.integers(-128, 128, (5, 40)).astype(np.int8)
    scale, x_scale = half(5, low=2**-12, high=2**-10), 2.0**-8
    quantized = [
        const("s", "fp16", x_scale),
        const("d", "string", "int8"),
        const("yes", "bool", True),
        const("no", "bool", False),
        const("z", "int8", 7),
    ]
    weights, call, dims, x_dims = w, "linear(x = h, weight = w)", (3, 5), (3, 40)
    scale_dims = (5, 1)
    if form == "matmul":
        weights, scale_dims = w.T.copy(), (1, 5)
        call = "matmul(x = h, y = w, transpose_x = no, transpose_y = no)"
    elif form == "matmul transposed":
        call = "matmul(x = h, y = w, transpose_x = no, transpose_y = yes)"
    elif form == "conv":
        weights, scale_dims, x_dims = w.reshape(5, 10, 2, 2), (5, 1, 1, 1), (3, 10, 2, 2)
        call, dims = "conv(x = h, weight = w)", (3, 5, 1, 1)
    line = constexpr(
        "w",
        "fp16",
        weights.shape,
        "constexpr_blockwise_shift_scale",
        data=literal("int8", weights),
        scale=literal("fp16", scale.reshape(scale_dims)),
    )
    if form == "dequantize":
        quantized += [const("c", "int8", w), const("e", "fp16", scale), const("a", "int32", 0)]
        line = op("w", (5, 40), "dequantize(input = c, scale = e, axis = a)")
        call = "matmul(x = h, y = w, transpose_x = no, transpose_y = yes)"
    body = [
        *quantized,
        op("q", x_dims, "quantize(input = x, scale = s, zero_point = z, output_dtype = d)", "int8"),
        op("h", x_dims, "dequantize(input = q, scale = s, zero_point = z)"),
        line,
        op("y", dims, call),
    ]
    text = program({"x": ("fp16", x_dims)}, body, ["y"])
    held = np.clip(x, -128 - 7, 127 - 7)
    y = mil.run(text, {"x": (x * x_scale).reshape(x_dims)})["y"].reshape(3, 5)
    exact = held @ w.T.astype(int) * x_scale * scale.astype(np.float64)
    expected = np.sign(exact) * np.array(half_away(np.abs(exact)))
    np.testing.assert_array_equal(y, expected)
    fast = mil.run(text, {"x": (x * x_scale).reshape(x_dims)}, numerics="fast")["y"]
    close(fast.reshape(3, 5).astype(np.float64), exact, 5e-3, 1.0)


def half_away(values):
    step = 2.0 ** (np.floor(np.log2(np.maximum(values, 2.0**-14))) - 10)
    return np.floor(values / step + 0.5) * step


def test_bytes_stay_inside_quantize_and_dequantize():
    text = program(
        {"x": ("fp16", (1, 4))},
        [
            const("s", "fp16", 0.5),
            const("d", "string", "int8"),
            op("q", (1, 4), "quantize(input = x, scale = s, output_dtype = d)", "int8"),
            op("y", (1, 4), "add(x = q, y = q)"),
        ],
        ["y"],
    )
    assert {f.id for f in mil.check(text)} == {"ANE006"}


@pytest.mark.parametrize(
    ("edit", "number"),
    [
        (("[1, 2]>([0.5, 2.0])", "[1, 3]>([0.5, 2.0, 1.0])"), "ANE121"),
        (("[1, 2]>([0.5, 2.0])", "[2]>([0.5, 2.0])"), "ANE121"),
        (("int8", "int16"), "ANE112"),
        (("fp16, [1, 4]> w", "fp16, [4, 1]> w"), "ANE114"),
        (("tensor<fp16, [1, 2]>([0.5, 2.0])", "x"), "ANE113"),
    ],
)
def test_bad_blocks_are_refused(edit, number):
    line = constexpr(
        "w",
        "fp16",
        (1, 4),
        "constexpr_blockwise_shift_scale",
        data="tensor<int8, [1, 4]>([1, -2, 3, -8])",
        scale="tensor<fp16, [1, 2]>([0.5, 2.0])",
    )
    text = program({"x": ("fp16", (1, 4))}, [line, op("y", (1, 4), "add(x = x, y = w)")], ["y"])
    assert mil.check(text) == []
    findings = mil.check(text.replace(*edit))
    assert findings and findings[0].id == number
    assert re.search(r"w = constexpr", text.split("\n")[findings[0].line - 1])
