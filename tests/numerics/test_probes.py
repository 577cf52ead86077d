# SPDX-License-Identifier: Apache-2.0
"""Every published MAC and planar probe as a plain JAX program on `ane`, compared exactly.

Probes with a bias inside the MAC have no JAX form (an added bias is a planar op after the product):
they run as MIL. So does the raw operand 0x7E00: JAX may change a NaN's bits before the device.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jax_ane
from jax_ane import mil

DATA = json.loads((Path(__file__).parents[1] / "data" / "numerics-data.json").read_text())
MAC = DATA["mac_probes_M4_M6"]
CHANNELS = 64


def number(text: str | float) -> float:
    """Reads "1.5*2^-13", "2^-16", "16384" or "inf"."""
    if not isinstance(text, str):
        return float(text)
    value = 1.0
    for factor in text.strip().split("*"):
        base, _, power = factor.partition("^")
        value *= float(base) ** int(power) if power else float(base)
    return value


def parse(case: str) -> tuple[list[float], float]:
    """Returns the operands and the weight (1 unless given) of "[a,b] w=c"."""
    values, _, weight = case.partition("] w=")
    terms = [number(v) for v in values.strip("[]").split(",")]
    return terms, number(weight) if weight else 1.0


def channels(values: list[float]) -> np.ndarray:
    return np.array(values + [0.0] * (CHANNELS - len(values)), np.float16)


def by_dot(x, w, **options):
    return lax.dot_general(x[None], w[:, None], (((1,), (0,)), ((), ())), **options)


def by_matmul_of_floats(x, w):
    return jnp.asarray(x, jnp.float32)[None] @ jnp.asarray(w, jnp.float32)[:, None]


def by_conv(x, w):
    return lax.conv(x[None, :, None, None], w[None, :, None, None], (1, 1), "VALID")


def by_conv_nhwc(x, w):
    return lax.conv_general_dilated(
        x[None, None, None], w[None, None, :, None], (1, 1), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


FORMS = [by_dot, by_matmul_of_floats, by_conv, by_conv_nhwc]


def on_ane(fn, *args) -> float:
    """Runs `fn` on the device and makes sure that the device's program did it."""
    with jax.default_device(jax.devices("ane")[0]):
        compiled = jax.jit(fn).lower(*args).compile()
        assert "program(1.3)" in compiled.as_text()
        return float(np.asarray(compiled(*args)).reshape(-1)[0])


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("case", "want"), MAC["cases"], ids=[c for c, _ in MAC["cases"]])
def test_mac_probe(case, want, form):
    terms, weight = parse(case)
    weights = np.full(CHANNELS, weight, np.float16)
    assert on_ane(form, channels(terms), weights) == number(want)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("case", "want"), MAC["M6_only"]["exponent_rule"])
def test_exponent_rule(case, want, form):
    w, x = (number(part.split("=")[1]) for part in case.split(","))
    assert on_ane(form, channels([x]), np.full(CHANNELS, w, np.float16)) == want


def mac_with_bias(terms: list[float], bias: float) -> float:
    text = f"""program(1.3)
{{
    func main<ios18>(tensor<fp16, [1, {CHANNELS}, 1, 1]> x, tensor<fp16, [1, {CHANNELS}, 1, 1]> w) {{
        tensor<fp16, [1]> b = const()[name = string("b"), val = tensor<fp16, [1]>([{bias.hex()}])];
        string pt = const()[name = string("pt"), val = string("valid")];
        tensor<int32, [2]> one = const()[name = string("one"), val = tensor<int32, [2]>([1, 1])];
        tensor<int32, [4]> pad = const()[name = string("pad"), val = tensor<int32, [4]>([0, 0, 0, 0])];
        int32 groups = const()[name = string("groups"), val = int32(1)];
        tensor<fp16, [1, 1, 1, 1]> y = conv(bias = b, dilations = one, groups = groups, pad = pad, pad_type = pt, strides = one, weight = w, x = x)[name = string("y")];
    }} -> (y);
}}
"""  # noqa: E501
    ones = np.ones((1, CHANNELS, 1, 1), np.float16)
    held = channels(terms).reshape(1, CHANNELS, 1, 1)
    return float(mil.run(text, {"x": held, "w": ones}, numerics="exact")["y"].reshape(()))


@pytest.mark.parametrize(("case", "want"), MAC["M6_only"]["bias"])
def test_bias_probe(case, want):
    match = re.fullmatch(r"bias (\S+?)(?:, (.*)| \+ (.*))?", case)
    assert match is not None
    terms = match[2] or match[3] or ""
    times = re.fullmatch(r"(\d)\*(\d+)", terms)
    values = [float(times[2])] * int(times[1]) if times else [
        number(t) for t in terms.split("+") if t]  # fmt: skip
    assert mac_with_bias(values, number(match[1])) == number(want)


def test_decode_probes():
    """What the MAC reads in its operands: infinity is 65536, -0 is 0."""
    ones = np.ones(CHANNELS, np.float16)
    small = np.full(CHANNELS, 2.0**-4, np.float16)
    cases = dict(MAC["M6_only"]["decode"])
    assert on_ane(by_dot, channels([np.inf]), small) == 65536 * 2**-4
    assert cases["+inf"] == "65536 as operand"
    assert on_ane(by_dot, channels([65504.0]), small) == cases["65504*2^-4"]
    zero = on_ane(by_dot, channels([-0.0]), ones)
    assert zero == 0 and not np.signbit(zero)


def test_decode_of_nan_bits():
    raw = channels([0.0])
    raw.view(np.uint16)[0] = 0x7E00
    text = f"""program(1.3)
{{
    func main<ios18>(tensor<fp16, [1, {CHANNELS}]> x, tensor<fp16, [{CHANNELS}, 1]> w) {{
        bool no = const()[name = string("no"), val = bool(false)];
        tensor<fp16, [1, 1]> y = matmul(transpose_x = no, transpose_y = no, x = x, y = w)[name = string("y")];
    }} -> (y);
}}
"""  # noqa: E501
    small = np.full((CHANNELS, 1), 2.0**-4, np.float16)
    out = mil.run(text, {"x": raw[None], "w": small}, numerics="exact")["y"]
    assert float(out[0, 0]) == float(dict(MAC["M6_only"]["decode"])["0x7E00"]) * 2**-4


PLANAR = {
    "2048+1": (lambda a, b: a + b, 2048.0, 1.0),
    "16384+16384": (lambda a, b: a + b, 16384.0, 16384.0),
    "2^-24+0": (lambda a, b: a + b, 2.0**-24, 0.0),
    "256*256": (lambda a, b: a * b, 256.0, 256.0),
    "NaN+1": (lambda a, b: a + b, np.nan, 1.0),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("case", "want"), DATA["pe_probes_M6"])
def test_planar_probe(case, want, dtype):
    fn, a, b = PLANAR[case]
    with jax_ane.config(placement="ane"):
        assert on_ane(fn, np.full(4, a, dtype), np.full(4, b, dtype)) == number(want)
