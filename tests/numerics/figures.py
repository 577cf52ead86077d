# SPDX-License-Identifier: Apache-2.0
"""Every published figure of tests/data/numerics-data.json, recomputed on the software ANE.

A figure is (name, published, function that computes ours, class, tolerance, slow). The report
prints them; tests take the quick ones.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jax_ane import mil

DATA = json.loads((Path(__file__).parents[1] / "data" / "numerics-data.json").read_text())
PRINTS = DATA["fingerprints"]
PATH = "@model_path/weights/w.bin"


@dataclasses.dataclass(frozen=True)
class Figure:
    """One published number.

    Attributes:
        kind: "bit-exact", "bounded", or "open" where the chip's way is known not to be ours.
        tolerance: relative; of bit-exact figures 1e-12 unless fewer digits were published.
    """

    name: str
    published: float
    ours: Callable[[], float]
    kind: str = "bit-exact"
    tolerance: float = 1e-12
    slow: bool = False


def number(text: str | float) -> float:
    """Reads "1.5*2^-13", "2^-16", "-2^-13", 16384 or "inf"."""
    if not isinstance(text, str):
        return float(text)
    value = 1.0
    for factor in text.strip().split("*"):
        base, _, power = factor.partition("^")
        sign = -1.0 if base.startswith("-") else 1.0
        value *= sign * abs(float(base)) ** int(power) if power else float(base)
    return value


# ---- programs ----


def const(name: str, kind: str, value: object) -> str:
    array = np.asarray(value)
    if kind == "string":
        return f'string {name} = const()[name = string("{name}"), val = string("{value}")];'

    def item(v):
        return str(v).lower() if isinstance(v, bool | int) else float(v).hex()

    if array.ndim == 0:
        written = f"{kind}({item(array.item())})"
        return f'{kind} {name} = const()[name = string("{name}"), val = {written}];'
    type_ = f"tensor<{kind}, {list(array.shape)}>"
    items = ", ".join(item(v) for v in array.ravel().tolist())
    return f'{type_} {name} = const()[name = string("{name}"), val = {type_}([{items}])];'


def weights(array: np.ndarray) -> tuple[str, dict[str, bytes]]:
    """Returns the statement of a constant w in a blob file, and the file."""
    array = np.ascontiguousarray(array, np.float16)
    head = struct.pack("<II", 1, 2) + bytes(56)
    head += struct.pack("<IIQQQ", 0xDEADBEEF, 1, array.nbytes, 128, 0) + bytes(32)
    type_ = f"tensor<fp16, {list(array.shape)}>"
    line = (
        f'{type_} w = const()[name = string("w"), val = {type_}('
        f'BLOBFILE(path = string("{PATH}"), offset = uint64(64)))];'
    )
    return line, {PATH: head + array.tobytes()}


def run(call, out, inputs, body=(), chip="M4", blobs=None) -> np.ndarray:
    """Runs one operation; inputs become fp16 with NumPy's rounding."""
    arguments = ", ".join(f"tensor<fp16, {list(a.shape)}> {n}" for n, a in inputs.items())
    lines = [*body, f'tensor<fp16, {list(out)}> y = {call}[name = string("y")];']
    text = (
        f"program(1.3)\n{{\nfunc main<ios18>({arguments}) {{\n"
        + "\n".join(lines)
        + "\n} -> (y);\n}\n"
    )
    y = mil.run(text, inputs, blobs=blobs, chip=chip, numerics="exact")["y"]
    return y.astype(np.float64)


def relative(device: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(device - reference) / np.linalg.norm(reference))


# ---- matrix products and convolutions (sections 1 and 2) ----

_TRANSPOSED = [const("t", "bool", True), const("f", "bool", False)]
_BY_WEIGHT = "matmul(x = x, y = w, transpose_x = f, transpose_y = t)"


def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Returns x w^T, the weights as an input."""
    return run(_BY_WEIGHT, (len(x), len(w)), {"x": x, "w": w}, _TRANSPOSED)


def gemm_square(size: int) -> float:
    rng = np.random.default_rng(0)
    scale = np.float32(np.sqrt(size))
    x = rng.standard_normal((size, size)).astype(np.float32)[:256] / scale
    w = rng.standard_normal((size, size)).astype(np.float32) / scale
    reference = x.astype(np.float64) @ w.T.astype(np.float64)
    return relative(product(x, w), reference)


def scaled_normals(rng: np.random.Generator, rows: int, k: int) -> np.ndarray:
    """N(0, 1) in float32, divided by sqrt(k) in float64."""
    return rng.standard_normal((rows, k)).astype(np.float32) / np.sqrt(k)


def gemm_rectangular(m: int, k: int, n: int) -> float:
    rng = np.random.default_rng(0)
    x, w = scaled_normals(rng, m, k), scaled_normals(rng, n, k)
    return relative(product(x, w), x @ w.T)


def same_convolution(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Zero-padded 3x3 convolution of x [C, H, W] by w [O, C, 3, 3] in float64."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    h, width = x.shape[1:]
    out = np.zeros((len(w), h * width))
    for i in range(3):
        for j in range(3):
            out += w[:, :, i, j] @ padded[:, i : i + h, j : j + width].reshape(len(x), -1)
    return out.reshape(-1, h, width)


def device_convolution(x: np.ndarray, w: np.ndarray, chip: str) -> np.ndarray:
    line, blobs = weights(w)
    body = [const("t", "string", "same"), line]
    out = (len(x), len(w), *x.shape[2:])
    return run("conv(x = x, weight = w, pad_type = t)", out, {"x": x}, body, chip, blobs)


def conv3x3(case: str, chip: str) -> float:
    channels, batch = (int(part) for part in case[1:].split("B"))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((batch, channels, 64, 64)).astype(np.float32)[:1]
    w = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    w = w * np.sqrt(2 / (9 * channels))
    device = device_convolution(x, w, chip)[0]
    return relative(device, same_convolution(x[0].astype(np.float64), w))


def conv_stack(chip: str) -> float:
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((64, 32, 32)).astype(np.float32)
    device = reference[None]
    for layer in range(16):
        c = 64 if layer == 0 else 256
        w = rng.standard_normal((256, c, 3, 3)).astype(np.float32) * np.sqrt(2 / (9 * c))
        device = np.maximum(device_convolution(device, w, chip), 0)
        reference = np.maximum(same_convolution(reference.astype(np.float64), w), 0)
        last, reference = reference, reference.astype(np.float32)
    return relative(device[0], last)


# ---- rows (sections 5 to 7) ----


def stream(sizes: list[int], wanted: int, seed: int = 11) -> np.ndarray:
    """Rows of 4096 as the benches draw them: one generator, sizes one after another."""
    rng = np.random.default_rng(seed)
    for rows in sizes:
        x = rng.standard_normal((rows, 4096), dtype=np.float64).astype(np.float32)
        if rows == wanted:
            return x
    raise ValueError(f"{wanted} is not one of {sizes}")


def row_sums(sizes: list[int], rows: int, chip: str) -> float:
    x = stream(sizes, rows)
    body = [const("a", "int32", [-1]), const("k", "bool", False)]
    y = run("reduce_sum(x = x, axes = a, keep_dims = k)", (rows,), {"x": x}, body, chip)
    return relative(y, x.sum(-1).astype(np.float64))


def relu() -> float:
    x = stream([256], 256)
    return relative(run("relu(x = x)", x.shape, {"x": x}), np.maximum(x.astype(np.float64), 0))


def gelu(sizes: list[int], rows: int) -> float:
    squares = total = 0.0
    x = stream(sizes, rows)
    program_rows = min(rows, 2048)
    for at in range(0, rows, program_rows):
        part = x[at : at + program_rows]
        body = [const("m", "string", "TANH_APPROXIMATION")]
        y = run("gelu(x = x, mode = m)", part.shape, {"x": part}, body)
        # NumPy 2: a Python float keeps float32, np.sqrt's float64 does not.
        reference = 0.5 * part * (1 + np.tanh(np.sqrt(2 / np.pi) * (part + 0.044715 * part**3)))
        squares += float(((y - reference) ** 2).sum())
        total += float((reference**2).sum())
    return math.sqrt(squares / total)


def softmax(rows: int) -> float:
    x = stream([64, 256], rows)
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    body = [const("a", "int32", -1)]
    y = run("softmax(x = x, axis = a)", x.shape, {"x": x}, body, "M5")
    return relative(y, e / e.sum(-1, keepdims=True))


def layer_norm(rows: int) -> float:
    x = stream([64, 256], rows)
    rng = np.random.default_rng(13)
    gamma, beta = (rng.standard_normal(4096).astype(np.float32) for _ in range(2))
    x64 = x.astype(np.float64)
    norm = (x64 - x64.mean(-1, keepdims=True)) / np.sqrt(x64.var(-1, keepdims=True) + 1e-5)
    body = [
        const("a", "int32", [-1]),
        const("e", "fp16", 1e-5),
        const("g", "fp16", gamma.astype(np.float16)),
        const("b", "fp16", beta.astype(np.float16)),
    ]
    call = "layer_norm(x = x, axes = a, gamma = g, beta = b, epsilon = e)"
    return relative(run(call, x.shape, {"x": x}, body, "M5"), norm * gamma + beta)


# ---- probes ----


def mac(terms: list[float], factors: list[float], bias: float | None = None) -> float:
    """A 1x1 convolution with 64 input channels, the weights as an input."""
    x, w = np.zeros((1, 64, 1, 1), np.float16), np.ones((1, 64, 1, 1), np.float16)
    x[0, : len(terms), 0, 0] = terms
    w[0, : len(factors), 0, 0] = factors
    call, body = "conv(x = x, weight = w)", []
    if bias is not None:
        call, body = "conv(x = x, weight = w, bias = b)", [const("b", "fp16", [bias])]
    return float(run(call, (1, 1, 1, 1), {"x": x, "w": w}, body).item())


def mac_case(case: str) -> float:
    terms, _, weight = case.partition(" w=")
    values = [number(t) for t in terms.strip("[]").split(",")]
    return mac(values, [number(weight)] * len(values) if weight else [1.0] * len(values))


def exponent_case(case: str) -> float:
    w, x = (number(part.split("=")[1]) for part in case.split(","))
    return mac([x], [w])


BIAS = {
    "bias -16384, 16384+16384": lambda: mac([16384, 16384], [1, 1], -16384),
    "bias -16384, 3*16384": lambda: mac([16384] * 3, [1] * 3, -16384),
    "bias 2^-20": lambda: mac([], [], 2**-20),
    "bias 2^-17 + 2^-17": lambda: mac([2**-17], [1], 2**-17),
}
NAN = np.uint16(0x7E00).view(np.float16)
# Published value, and ours; 2^-8 keeps what infinity and NaN decode to below the overflow.
DECODE = {
    "+inf": (65536.0, lambda: mac([np.inf], [2**-8]) * 2**8),
    "0x7E00": (98304.0, lambda: mac([NAN], [2**-8]) * 2**8),
    "65504*2^-4": (4094.0, lambda: mac([65504], [2**-4])),
    "-0": (1.0, lambda: math.copysign(1, mac([-0.0], [1]))),
}


def planar(op: str, a: float, b: float) -> float:
    inputs = {"a": np.array([a], np.float16), "b": np.array([b], np.float16)}
    return float(run(f"{op}(x = a, y = b)", (1,), inputs).item())


PLANAR = {
    "2048+1": ("add", 2048, 1),
    "16384+16384": ("add", 16384, 16384),
    "2^-24+0": ("add", 2**-24, 0),
    "256*256": ("mul", 256, 256),
    "NaN+1": ("add", math.nan, 1),
}


def int8_sum(channels: int, kernel: int, x_scale: float, w_scale: float) -> float:
    """-128 times -128, channels * kernel times, through quantize and dequantize."""
    x = np.full((1, channels, 1, kernel), -128 * x_scale, np.float16)
    dims = f"[1, {channels}, 1, {kernel}]"
    data = np.full(channels * kernel, -128, np.int8).tobytes()
    head = struct.pack("<II", 1, 2) + bytes(56)
    head += struct.pack("<IIQQQ", 0xDEADBEEF, 4, len(data), 128, 0) + bytes(32)
    body = [
        const("s", "fp16", x_scale),
        const("d", "string", "int8"),
        f"tensor<int8, {dims}> q = quantize(input = x, scale = s, output_dtype = d)"
        '[name = string("q")];',
        f'tensor<fp16, {dims}> h = dequantize(input = q, scale = s)[name = string("h")];',
        f"tensor<fp16, {dims}> w = constexpr_affine_dequantize()[axis = int32(0), quantized_data ="
        f' tensor<int8, {dims}>(BLOBFILE(path = string("{PATH}"), offset = uint64(64))), scale ='
        f' fp16({w_scale.hex()}), zero_point = int8(0), name = string("w")];',
    ]
    y = run("conv(x = h, weight = w)", (1, 1, 1, 1), {"x": x}, body, "M6", {PATH: head + data})
    return float(y.item())


INT8 = {
    "S=2^30": (2.0**10, lambda: int8_sum(65536, 1, 2**-10, 2**-10)),
    "S=2^31": (math.inf, lambda: int8_sum(65536, 2, 2**-14, 2**-14)),
    "fp16 output up to 64512": (64512.0, lambda: int8_sum(63, 1, 0.25, 0.25)),
}


def dot32() -> float:
    case = DATA["m5pro_dot32"]
    x, w = (np.array(case[k], np.float16)[None] for k in ("x", "weight"))
    return float(product(x, w).item())


def constant_attention(value: float, probability: float) -> float:
    """Returns the relative error in percent of sum P V over 4096 equal keys."""
    p = np.full((1, 4096), probability, np.float16)
    v = np.full((1, 4096), value, np.float16)
    exact = 4096 * float(p[0, 0]) * float(v[0, 0])
    return abs(float(product(p, v).item()) / exact - 1) * 100


# ---- tables (section 6) ----

EVERY = np.arange(65536, dtype=np.uint16).view(np.float16)
# name in lut_check: (operation, oracle, domain)
TABLES = {
    "sigmoid": ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda x: np.abs(x) <= 65504),
    "tanh": ("tanh", np.tanh, lambda x: np.abs(x) <= 65504),
    "erf |x|<2": ("erf", np.vectorize(math.erf), lambda x: np.abs(x) < 2),
    "exp": ("exp", np.exp, lambda x: np.abs(x) <= 10),
    "sqrt": ("sqrt", np.sqrt, lambda x: (x >= 0) & (x <= 1000)),
    "rsqrt": ("rsqrt", lambda x: 1 / np.sqrt(x), lambda x: (x >= 2**-6) & (x <= 1000)),
    "sin": ("sin", np.sin, lambda x: np.abs(x) <= 8),
    "silu (fitted)": ("silu", lambda x: x / (1 + np.exp(-x)), lambda x: np.abs(x) <= 65504),
    "inverse (extrapolated)": ("inverse", lambda x: 1 / x, lambda x: (x >= 2**-6) & (x <= 1000)),
    "log": ("log", np.log, lambda x: (x > 0) & (x <= 1000)),
}


def table_error(name: str, in_ulp: bool) -> float:
    op, oracle, domain = TABLES[name]
    x64 = EVERY.astype(np.float64)
    with np.errstate(all="ignore"):
        good = np.isfinite(x64) & domain(x64)
        reference = oracle(x64[good])
    epsilon = ", epsilon = e" if op in ("rsqrt", "inverse", "log") else ""
    body = [const("e", "fp16", 0.0)] if epsilon else []
    y = run(f"{op}(x = x{epsilon})", EVERY.shape, {"x": EVERY}, body)[good]
    error = np.abs(y - reference)
    if in_ulp:
        exponent = np.floor(np.log2(np.maximum(np.abs(reference), 2.0**-14)))
        error = error / 2.0 ** (exponent - 10)
    return float(np.max(error))


# ---- the list ----


def _fingerprints() -> Iterator[Figure]:
    for size, value in PRINTS["gemm_square"]["relerr"].items():
        n = int(size)
        yield Figure(f"gemm_square {n}", value, lambda n=n: gemm_square(n), slow=n >= 4096)
    for case, value in PRINTS["gemm_rect"]["relerr"].items():
        shape = [int(d) for d in case.split("x")]
        yield Figure(f"gemm_rect {case}", value, lambda s=shape: gemm_rectangular(*s))
    for size, value in PRINTS["gemv"]["relerr"].items():
        n = int(size)
        yield Figure(f"gemv {n}", value, lambda n=n: gemm_rectangular(1, n, n), slow=n >= 4096)
    for kind, chip in (("direct", "M1"), ("winograd", "M5")):
        for case, value in PRINTS[f"conv3x3_{kind}"]["relerr"].items():
            yield Figure(
                f"conv3x3_{kind} {case} ({chip})",
                value,
                lambda case=case, chip=chip: conv3x3(case, chip),
                slow="256" in case,
            )
    for key, chip in (("direct_M1", "M1"), ("winograd_M5", "M5")):
        value = PRINTS["conv_stack16"][key]
        yield Figure(f"conv_stack16 {key}", value, lambda chip=chip: conv_stack(chip), slow=True)


def _rows() -> Iterator[Figure]:
    runs = {
        "M4_M5_M6_full": ("M4", [64, 256, 1024]),
        "M5_M6_quick": ("M5", [256, 2048]),
        "M1_M2_quick": ("M1", [256, 2048]),
    }
    for key, (chip, sizes) in runs.items():
        for size, value in PRINTS["reduce_sum_rows_4096"][key].items():
            yield Figure(
                f"reduce_sum_rows {key} {size}",
                value,
                lambda s=sizes, n=int(size), c=chip: row_sums(s, n, c),
                "bounded",
                0.1,
            )
    yield Figure("relu_streaming", PRINTS["relu_streaming"], relu, tolerance=1e-6)
    streams = PRINTS["gelu_streaming_vs_tanh_reference"]
    sizes = {"2^18": 64, "2^20": 256, "2^23": 2048, "2^25": 8192}
    for part, order in (("quick", [256, 2048, 8192]), ("full_own_stream_first", [64])):
        for size, value in streams[part].items():
            yield Figure(
                f"gelu_streaming {part} {size}",
                value,
                lambda o=order, n=sizes[size]: gelu(o, n),
                tolerance=1e-9,
                slow=sizes[size] > 2048,
            )
    for key, function in (("softmax_4096", softmax), ("layer_norm_decomposed", layer_norm)):
        for size in ("2^18", "2^20"):
            yield Figure(
                f"{key} {size}",
                PRINTS[key][size],
                lambda f=function, n=sizes[size]: f(n),
                "bounded",
                0.25,
            )


def _probes() -> Iterator[Figure]:
    probes = DATA["mac_probes_M4_M6"]
    for case, value in probes["cases"]:
        yield Figure(f"mac {case}", number(value), lambda c=case: mac_case(c))
    for case, value in probes["M6_only"]["exponent_rule"]:
        yield Figure(f"mac {case}", number(value), lambda c=case: exponent_case(c))
    for case, value in probes["M6_only"]["bias"]:
        yield Figure(f"mac {case}", number(value), BIAS[case])
    for case, _ in probes["M6_only"]["decode"]:
        yield Figure(f"mac operand {case}", *DECODE[case])
    for case, value in DATA["pe_probes_M6"]:
        yield Figure(f"planar {case}", number(value), lambda c=case: planar(*PLANAR[c]))
    for case, _ in DATA["int8_probes_M6"]:
        yield Figure(f"int8 {case}", *INT8[case])
    case = DATA["m5pro_dot32"]
    yield Figure("m5pro_dot32 by the plain rule", case["q15_16_model"], dot32)
    yield Figure("m5pro_dot32 on the device", case["device"], dot32, "open", 1e-3)
    for case in DATA["m5pro_attention_constant"]:
        v = case["V"]
        name = f"attention_constant V={v}"
        ours = lambda v=v: constant_attention(v, 1.0)  # noqa: E731
        yield Figure(f"{name} %", case["unnormalised rel err %"], ours, "bounded", 0.01)
        yield Figure(f"{name} % by the rule", case["model %"], ours, tolerance=5e-5)
        zeros = lambda v=v: constant_attention(v, 2.0**-12)  # noqa: E731
        yield Figure(f"{name} normalised, all lost %", 100.0, zeros)


# Where the chip's table or range reduction is not published, or is fitted.
_OPEN = {
    ("inverse (extrapolated)", False), ("inverse (extrapolated)", True),
    ("log", False), ("log", True), ("sin", True),
}  # fmt: skip


def _tables() -> Iterator[Figure]:
    for name, row in DATA["lut_check"].items():
        if name == "columns":
            continue
        for in_ulp in (False, True):
            published = row[3 if in_ulp else 2]
            if published is None:
                continue
            yield Figure(
                f"table {name}, max {'ulp' if in_ulp else 'abs'}",
                published,
                lambda n=name, u=in_ulp: table_error(n, u),
                "open" if (name, in_ulp) in _OPEN else "bit-exact",
                # Published with two to four digits.
                0.05 if in_ulp else 1e-3,
            )


def figures() -> list[Figure]:
    """Every published figure."""
    return [*_fingerprints(), *_rows(), *_probes(), *_tables()]
