# SPDX-License-Identifier: Apache-2.0
"""The published probes and figures: MAC unit, planar engine, tables, fingerprints."""

import math

import numpy as np
import pytest
from programs import const, op, program

from jax_ane import mil


def value(text):
    """Reads the probes' notation: 1.5*2^-16, 2048, inf."""
    if isinstance(text, int | float):
        return float(text)
    product = 1.0
    for factor in text.split("*"):
        base, _, power = factor.partition("^")
        sign = -1.0 if base.startswith("-") else 1.0
        product *= sign * abs(float(base)) ** int(power) if power else float(base)
    return product


def test_value_notation():
    assert value("1.5*2^-16") == 1.5 * 2**-16
    assert value("-2^-13") == -(2**-13)
    assert value("-16384") == -16384


def mac(terms, weights, bias=None):
    """A 1x1 convolution with 64 input channels, as the study did it."""
    x = np.zeros((1, 64, 1, 1), np.float16)
    w = np.zeros((1, 64, 1, 1), np.float16)
    w[0, :, 0, 0] = 1
    x[0, : len(terms), 0, 0] = terms
    w[0, : len(weights), 0, 0] = weights
    # The weights come as an input, because no MIL literal can hold inf or NaN.
    inputs = {"x": ("fp16", x.shape), "w": ("fp16", w.shape)}
    call = "conv(x = x, weight = w)"
    body = []
    if bias is not None:
        body.append(const("b", "fp16", np.array([bias])))
        call = "conv(x = x, weight = w, bias = b)"
    text = program(inputs, [*body, op("y", (1, 1, 1, 1), call)], ["y"])
    return float(mil.run(text, {"x": x, "w": w})["y"][0, 0, 0, 0])


def test_mac_probes(data):
    cases = data["mac_probes_M4_M6"]["cases"]
    assert len(cases) == 18
    for case, expected in cases:
        terms, _, weight = case.partition(" w=")
        xs = [value(t) for t in terms.strip("[]").split(",")]
        ws = [value(weight)] * len(xs) if weight else [1.0] * len(xs)
        assert mac(xs, ws) == float(expected), case


def test_mac_exponent_rule(data):
    for case, expected in data["mac_probes_M4_M6"]["M6_only"]["exponent_rule"]:
        w, x = (value(part.split("=")[1]) for part in case.split(","))
        assert mac([x], [w]) == expected, case


def test_mac_bias(data):
    assert mac([16384, 16384], [1, 1], -16384) == 16384
    assert mac([16384] * 3, [1] * 3, -16384) == math.inf
    assert mac([], [], 2**-20) == 0
    assert mac([2**-17], [1], 2**-17) == 2**-15
    assert len(data["mac_probes_M4_M6"]["M6_only"]["bias"]) == 4


def test_mac_decodes_exponent_31():
    nan = np.uint16(0x7E00).view(np.float16)
    assert mac([np.inf], [2**-4]) == 4096
    assert mac([nan], [2**-4]) == 6144
    assert mac([nan], [1]) == math.inf
    assert mac([65504], [2**-4]) == 4094
    assert math.copysign(1, mac([-0.0], [1])) == 1
    assert math.copysign(1, mac([0.0], [-1])) == 1


def test_mac_overflow_sticks_in_ascending_order():
    assert mac([16384, 16384, -16384], [1, 1, 1]) == math.inf
    assert mac([16384, -16384, 16384], [1, 1, 1]) == 16384
    assert mac([-16384, -16384, 16384], [1, 1, 1]) == -math.inf


def test_mac_equals_the_rule_on_random_bits():
    rng = np.random.default_rng(3)
    k = 70
    x = rng.integers(0, 1 << 16, (6, k)).astype(np.uint16)
    w = rng.integers(0, 1 << 16, (k, 5)).astype(np.uint16)
    # Keep most exponents moderate so that not everything overflows, subnormals included.
    x[:4] &= 0xAFFF
    w[:, :4] &= 0xAFFF
    text = program(
        {"x": ("fp16", x.shape), "w": ("fp16", w.shape)},
        [op("y", (6, 5), "matmul(x = x, y = w)")],
        ["y"],
    )
    y = mil.run(text, {"x": x.view(np.float16), "w": w.view(np.float16)})["y"]
    expected = [[rule(x[i], w[:, j]) for j in range(5)] for i in range(6)]
    np.testing.assert_array_equal(y.view(np.uint16), np.array(expected, np.uint16))


def decode(bits):
    bits = int(bits)
    field, fraction = bits >> 10 & 31, bits & 1023
    mantissa = fraction + (1024 if field else 0)
    return (-mantissa if bits & 0x8000 else mantissa), max(field, 1) - 15


def away(numerator, shift):
    """Rounds numerator * 2^shift half away from zero, in integers."""
    if shift >= 0:
        return numerator << shift
    rounded = (abs(numerator) + (1 << (-shift - 1))) >> -shift
    return -rounded if numerator < 0 else rounded


def rule(xs, ws):
    """Section 1 of the numerics, in Python integers; returns fp16 bits."""
    total = 0
    for a, b in zip(xs, ws, strict=True):
        (ma, ea), (mb, eb) = decode(a), decode(b)
        if ea + eb > -17:
            total += away(ma * mb, ea + eb - 4)
        if abs(total) >= 1 << 31:
            return 0xFC00 if total < 0 else 0x7C00
    if total == 0:
        return 0
    magnitude, bits = abs(total), abs(total).bit_length()
    # Sums are multiples of 2^-16, so all but those below 2^-14 are normal.
    shift = max(bits - 11, -8)
    rounded = away(magnitude, -shift)
    return int(np.float16(rounded * 2.0 ** (shift - 16)).view(np.uint16)) | (
        0x8000 if total < 0 else 0
    )


def planar(call, inputs, consts=()):
    text = program(
        {n: ("fp16", a.shape) for n, a in inputs.items()},
        [*consts, op("r", next(iter(inputs.values())).shape, call)],
        ["r"],
    )
    return mil.run(text, inputs)["r"]


def binary(name, a, b):
    arrays = {"a": np.array([a], np.float16), "b": np.array([b], np.float16)}
    return float(planar(f"{name}(x = a, y = b)", arrays)[0])


def test_planar_probes():
    assert binary("add", 2048, 1) == 2050
    assert binary("add", 16384, 16384) == 32768
    assert binary("add", 2**-24, 0) == 2**-24
    assert binary("mul", 256, 256) == math.inf
    assert binary("add", math.nan, 1) == math.inf
    assert binary("sub", math.inf, math.inf) == 0
    assert binary("mul", 0, math.inf) == 0
    assert binary("real_div", 1, -0.0) == math.inf
    assert binary("real_div", 0, 0) == 0
    assert binary("add", 1, 2**-11) == 1 + 2**-10
    assert binary("sub", 1 + 2**-10, 2**-11) == 1 + 2**-10
    assert binary("add", 1, 2**-11 - 2**-22) == 1
    assert binary("maximum", math.nan, 1) == math.inf
    assert binary("pow", -2, 2) == 0


def test_planar_arithmetic_rounds_half_away():
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 0x7BFF, (2, 20000)).astype(np.uint16)
    bits |= (rng.integers(0, 2, bits.shape) << 15).astype(np.uint16)
    # Half of the pairs lie close together, where ties and cancellation happen.
    bits[1, ::2] = bits[0, ::2] ^ rng.integers(0, 0x1800, 10000).astype(np.uint16)
    a, b = bits.view(np.float16)
    b = np.where(np.isfinite(b), b, np.float16(1))
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(divide="ignore"):
        exact = {
            "add": a64 + b64,
            "sub": a64 - b64,
            "mul": a64 * b64,
            "real_div": np.where(b64 == 0, 1, a64) / np.where(b64 == 0, 1, b64),
        }
    for name, reference in exact.items():
        y = planar(f"{name}(x = a, y = b)", {"a": a, "b": b}).astype(np.float64)
        good = ~((name == "real_div") & (b64 == 0)) & (np.abs(reference) < 65504)
        scale = 2.0 ** np.maximum(
            np.floor(np.log2(np.maximum(np.abs(reference), 2**-14))) - 10, -24
        )
        expected = np.sign(reference) * np.floor(np.abs(reference) / scale + 0.5) * scale
        np.testing.assert_array_equal(y[good], expected[good], err_msg=name)


def test_special_values_of_functions():
    def one(name, x):
        return float(planar(f"{name}(x = x)", {"x": np.array([x], np.float16)})[0])

    def shifted(name, x):
        return float(
            planar(
                f"{name}(x = x, epsilon = e)",
                {"x": np.array([x], np.float16)},
                [const("e", "fp16", 0.0)],
            )[0]
        )

    assert shifted("log", 0) == -45440
    assert shifted("log", -1) == 0
    assert one("sqrt", -1) == 0
    assert shifted("rsqrt", -1) == 0
    assert shifted("inverse", -0.0) == math.inf
    assert one("exp", 11.094) == math.inf
    assert one("exp", 11.08) < math.inf
    assert one("softplus", 11.5) == 0
    assert one("sigmoid", -10) == 0
    assert one("sigmoid", 8.4) == 1
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    for name in ("exp", "sqrt", "sin", "cos", "erf", "silu", "floor", "abs", "sign", "tanh"):
        assert not np.any(np.isnan(planar(f"{name}(x = x)", {"x": every}))), name


def ulp_error(y, reference):
    exponent = np.floor(np.log2(np.maximum(np.abs(reference), 2.0**-14)))
    return np.abs(y - reference) / 2.0 ** (exponent - 10)


EVERY = np.arange(65536, dtype=np.uint16).view(np.float16)
ERF = np.vectorize(math.erf)
TABLES = {
    # name: (oracle, key in lut_check, domain)
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), "sigmoid", lambda x: np.abs(x) <= 65504),
    "tanh": (np.tanh, "tanh", lambda x: np.abs(x) <= 65504),
    "erf": (ERF, "erf |x|<2", lambda x: np.abs(x) < 2),
    "exp": (np.exp, "exp", lambda x: np.abs(x) <= 10),
    "sqrt": (np.sqrt, "sqrt", lambda x: (x >= 0) & (x <= 1000)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), "rsqrt", lambda x: (x >= 2**-6) & (x <= 1000)),
    "sin": (np.sin, "sin", lambda x: np.abs(x) <= 8),
    "silu": (lambda x: x / (1 + np.exp(-x)), "silu (fitted)", lambda x: np.abs(x) <= 65504),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_errors(name, data):
    oracle, key, domain = TABLES[name]
    x64 = EVERY.astype(np.float64)
    with np.errstate(all="ignore"):
        good = np.isfinite(x64) & domain(x64)
        reference = oracle(x64[good])
    y = planar(f"{name}(x = x)", {"x": EVERY}).astype(np.float64)[good]
    expected_abs, expected_ulp, *_ = data["lut_check"][key]
    assert np.max(np.abs(y - reference)) == pytest.approx(expected_abs, rel=1e-3)
    if expected_ulp is not None and name in ("tanh", "exp", "sqrt", "rsqrt"):
        assert np.max(ulp_error(y, reference)) == pytest.approx(expected_ulp, rel=5e-3)


def test_tables_at_their_knots(data):
    luts = data["luts"]
    for name, low, step in (
        ("sigmoid", -8, 0.5),
        ("gelu", -4, 0.25),
        ("silu", -8, 0.5),
        ("tanh", 0, 0.125),
        ("erf", 0, 0.0625),
    ):
        knots = (low + step * np.arange(33)).astype(np.float16)
        consts = [const("m", "string", "EXACT")] if name == "gelu" else []
        call = f"{name}(x = x{', mode = m' if consts else ''})"
        y = planar(call, {"x": knots}, consts)
        np.testing.assert_array_equal(y, np.array(luts[name]["values"], np.float16), err_msg=name)


def test_gelu_figures(data):
    x = np.array([-(2.0**-16)], np.float16)
    y = float(planar("gelu(x = x, mode = m)", {"x": x}, [const("m", "string", "EXACT")])[0])
    exact = 0.5 * float(x[0]) * (1 + math.erf(float(x[0]) / math.sqrt(2)))
    assert abs(y - exact) / 2.0**-24 == pytest.approx(12632.0, abs=0.6)
    figure = data["fingerprints"]["gelu_streaming_vs_tanh_reference"]["quick"]["2^20"]
    rows = 2**20 // 4096
    x32 = np.random.default_rng(11).standard_normal((rows, 4096)).astype(np.float32)
    y = planar("gelu(x = x, mode = m)", {"x": x32}, [const("m", "string", "TANH_APPROXIMATION")])
    cube = (x32 * x32 * x32).astype(np.float64)
    x64 = x32.astype(np.float64)
    reference = 0.5 * x64 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x64 + 0.044715 * cube)))
    error = np.linalg.norm(y.astype(np.float64) - reference) / np.linalg.norm(reference)
    assert error == pytest.approx(figure, rel=1e-6)


def relative(y, reference):
    return np.linalg.norm(y.astype(np.float64) - reference) / np.linalg.norm(reference)


@pytest.mark.parametrize("n", [512, 1024])
def test_gemm_fingerprint(n, data):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, n)).astype(np.float32) / np.float32(np.sqrt(n))
    w = rng.standard_normal((n, n)).astype(np.float32) / np.float32(np.sqrt(n))
    text = program(
        {"x": ("fp16", (256, n)), "w": ("fp16", (n, n))},
        [
            const("t", "bool", True),
            const("f", "bool", False),
            op("y", (256, n), "matmul(x = x, y = w, transpose_x = f, transpose_y = t)"),
        ],
        ["y"],
    )
    y = mil.run(text, {"x": x[:256], "w": w})["y"]
    reference = x[:256].astype(np.float64) @ w.T.astype(np.float64)
    expected = data["fingerprints"]["gemm_square"]["relerr"][str(n)]
    assert relative(y, reference) == pytest.approx(expected, rel=1e-12)


def test_gemm_rectangular_fingerprint(data):
    m, k, n = 64, 256, 256
    rng = np.random.default_rng(0)
    x = rng.standard_normal((m, k)).astype(np.float32) / np.sqrt(k)
    w = rng.standard_normal((n, k)).astype(np.float32) / np.sqrt(k)
    text = program(
        {"x": ("fp16", (m, k)), "w": ("fp16", (n, k))},
        [
            const("t", "bool", True),
            const("f", "bool", False),
            op("y", (m, n), "matmul(x = x, y = w, transpose_x = f, transpose_y = t)"),
        ],
        ["y"],
    )
    y = mil.run(text, {"x": x, "w": w})["y"]
    reference = x.astype(np.float64) @ w.T.astype(np.float64)
    assert relative(y, reference) == pytest.approx(
        data["fingerprints"]["gemm_rect"]["relerr"]["64x256x256"], rel=1e-3
    )


@pytest.mark.parametrize(
    "chip,key,case",
    [
        ("M4", "conv3x3_direct", "C64B8"),
        ("M5", "conv3x3_winograd", "C64B8"),
    ],
)
def test_conv_fingerprint(chip, key, case, data):
    c, b = 64, 8
    rng = np.random.default_rng(1)
    x = rng.standard_normal((b, c, 64, 64)).astype(np.float32)[:1]
    w = rng.standard_normal((c, c, 3, 3)).astype(np.float32) * np.sqrt(2 / (9 * c))
    from programs import blob, blob_const

    path = "@model_path/weights/w.bin"
    file, offsets = blob(w.astype(np.float16))
    text = program(
        {"x": ("fp16", x.shape)},
        [
            blob_const("w", "fp16", w.shape, path, offsets[0]),
            const("t", "string", "same"),
            op("y", x.shape, "conv(x = x, weight = w, pad_type = t)"),
        ],
        ["y"],
    )
    y = mil.run(text, {"x": x}, blobs={path: file}, chip=chip)["y"]
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    reference = np.zeros(x.shape)
    for i in range(3):
        for j in range(3):
            part = padded[0, :, i : i + 64, j : j + 64].reshape(c, -1)
            reference[0] += (w[:, :, i, j] @ part).reshape(c, 64, 64)
    expected = data["fingerprints"][key]["relerr"][case]
    assert relative(y, reference) == pytest.approx(expected, rel=1e-9)


def reduce_sum(x, chip="M4"):
    text = program(
        {"x": ("fp16", x.shape)},
        [
            const("a", "int32", [-1]),
            const("k", "bool", False),
            op("y", x.shape[:-1], "reduce_sum(x = x, axes = a, keep_dims = k)"),
        ],
        ["y"],
    )
    return mil.run(text, {"x": x}, chip=chip)["y"]


def test_reduction_probes_of_the_m1():
    for big, survivors in ((1024, 16), (3000, 16), (4090, 16), (4096, 4), (8000, 4), (30000, 4)):
        x = np.array([[big, -big, 1] * 16], np.float16)
        assert reduce_sum(x, "M1")[0] == survivors, big
    assert reduce_sum(np.ones((1, 2048), np.float16))[0] == 2048
    assert reduce_sum(np.ones((1, 16000), np.float16))[0] == 16000
    assert reduce_sum(np.array([[2048, 1]], np.float16))[0] == 2050


@pytest.mark.parametrize("rows", [64, 256])
def test_long_reduction_within_ten_percent(rows, data):
    rng = np.random.default_rng(11)
    for size in (64, 256):
        x = rng.standard_normal((size, 4096)).astype(np.float32)
        if size == rows:
            break
    y = reduce_sum(x)
    figure = data["fingerprints"]["reduce_sum_rows_4096"]["M4_M5_M6_full"][str(rows)]
    assert relative(y, x.sum(-1).astype(np.float64)) == pytest.approx(figure, rel=0.1)


def test_slice_hazard_of_the_m1():
    x = np.array([[0, 4094, 4096, -5000]], np.float16)
    body = [
        const("b", "int32", [0, 1]),
        const("s", "int32", [1, 3]),
        op("y", (1, 3), "slice_by_size(x = x, begin = b, size = s)"),
    ]
    text = program({"x": ("fp16", x.shape)}, body, ["y"])
    np.testing.assert_array_equal(mil.run(text, {"x": x}, chip="M4")["y"], x[:, 1:])
    np.testing.assert_array_equal(
        mil.run(text, {"x": x}, chip="M1")["y"], [[4094, math.inf, -math.inf]]
    )
