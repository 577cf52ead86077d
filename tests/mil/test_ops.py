# SPDX-License-Identifier: Apache-2.0
"""Every operation against a float64 oracle: ranks, broadcasts, attributes, both modes."""

import math

import numpy as np
import pytest
from programs import blob, blob_const, const, op, program

from jax_ane import mil

MODES = ["exact", "fast"]
RNG = np.random.default_rng(7)


def half(*shape, low=-2.0, high=2.0):
    return RNG.uniform(low, high, shape).astype(np.float16)


def run_one(call, out_dims, inputs, consts=(), numerics="exact", chip="M4", dtype="fp16"):
    """Runs one operation and returns its result as float64."""
    text = program(
        {name: ("fp16", a.shape) for name, a in inputs.items()},
        [*consts, op("result", out_dims, call, dtype)],
        ["result"],
    )
    y = mil.run(text, inputs, numerics=numerics, chip=chip)["result"]
    assert y.shape == tuple(out_dims)
    return y.astype(np.float64)


def close(y, reference, tolerance, absolute=None):
    scale = np.maximum(np.abs(reference), 1e-3 if absolute is None else absolute)
    worst = np.max(np.abs(y - reference) / scale)
    assert worst <= tolerance, f"worst relative error {worst}"


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
SHAPES = [
    ((5,), (5,)),
    ((1,), (7,)),
    ((3, 4), (4,)),
    ((2, 1, 5), (3, 1)),
    ((2, 3, 4, 5), (1, 3, 1, 1)),
    ((1, 1, 4, 1), (2, 3, 1, 5)),
    ((2, 2, 2, 3, 4), (2, 1, 2, 1, 4)),
    ((), (2, 3)),
    ((1, 64, 1, 600), (1, 64, 1, 600)),
    ((300, 200), (200,)),
]


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(name, shapes, numerics):
    a, b = half(*shapes[0]), half(*shapes[1], low=0.5)
    reference = BINARY[name](a.astype(np.float64), b.astype(np.float64))
    y = run_one(f"{name}(x = a, y = b)", reference.shape, {"a": a, "b": b}, numerics=numerics)
    close(y, reference, 2**-11 * 1.01, absolute=1e-4)


def test_binary_same_operand_twice():
    a = half(3, 33)
    y = run_one("mul(x = a, y = a)", a.shape, {"a": a})
    close(y, a.astype(np.float64) ** 2, 2**-10)


@pytest.mark.parametrize("numerics", MODES)
def test_pow_and_floor_div(numerics):
    a, b = half(4, 6, low=0.1), half(4, 6, low=0.5)
    inputs = {"a": a, "b": b}
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    close(run_one("pow(x = a, y = b)", a.shape, inputs, numerics=numerics), a64**b64, 1e-3)
    y = run_one("floor_div(x = a, y = b)", a.shape, inputs, numerics=numerics)
    np.testing.assert_array_equal(y, np.floor(a64 / b64))
    y = run_one("pow(x = a, y = e)", a.shape, {"a": a}, [const("e", "fp16", -0.5)], numerics)
    close(y, a64**-0.5, 1e-3)


COMPARE = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


@pytest.mark.parametrize("name", COMPARE)
def test_compare_and_select(name):
    a = np.array([[1, 2, 3], [3, 2, 1]], np.float16)
    b = np.array([2, 2, 2], np.float16)
    text = program(
        {"a": ("fp16", (2, 3)), "b": ("fp16", (3,))},
        [
            op("c", (2, 3), f"{name}(x = a, y = b)", "bool"),
            op("n", (2, 3), "logical_not(x = c)", "bool"),
            op("y", (2, 3), "select(cond = c, a = a, b = b)"),
            op("z", (2, 3), "select(cond = n, a = a, b = b)"),
        ],
        ["y", "z"],
    )
    out = mil.run(text, {"a": a, "b": b})
    condition = COMPARE[name](a, b)
    np.testing.assert_array_equal(out["y"], np.where(condition, a, b))
    np.testing.assert_array_equal(out["z"], np.where(condition, b, a))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


erf = np.vectorize(math.erf)
# name: (oracle, low, high, absolute tolerance in exact mode)
UNARY = {
    "exp": (np.exp, -3, 3, 0.06),
    "exp2": (np.exp2, -3, 3, 0.03),
    "tanh": (np.tanh, -5, 5, 2e-3),
    "sigmoid": (sigmoid, -9, 9, 4e-3),
    "erf": (erf, -3, 3, 4e-3),
    "silu": (lambda x: x * sigmoid(x), -7, 7, 0.016),
    "softplus": (lambda x: np.log1p(np.exp(x)), -5, 5, 4e-3),
    "softsign": (lambda x: x / (1 + np.abs(x)), -4, 4, 1e-3),
    "sqrt": (np.sqrt, 0, 9, 3e-3),
    "sin": (np.sin, -4, 4, 2e-3),
    "cos": (np.cos, -4, 4, 2e-3),
    "abs": (np.abs, -4, 4, 0),
    "square": (np.square, -3, 3, 4e-3),
    "sign": (np.sign, -2, 2, 0),
    "floor": (np.floor, -9, 9, 0),
    "ceil": (np.ceil, -9, 9, 0),
    "relu": (lambda x: np.maximum(x, 0), -2, 2, 0),
    "relu6": (lambda x: np.clip(x, 0, 6), -2, 9, 0),
    "atan": (np.arctan, -4, 4, 1e-3),
}


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, numerics):
    oracle, low, high, absolute = UNARY[name]
    x = half(2, 3, 5, 7, low=low, high=high)
    reference = oracle(x.astype(np.float64))
    y = run_one(f"{name}(x = x)", x.shape, {"x": x}, numerics=numerics)
    limit = absolute if numerics == "exact" else 0
    assert np.max(np.abs(y - reference) - np.abs(reference) * 2**-10) <= limit + 1e-6


def test_unary_with_parameters():
    x = half(4, 50)
    x64 = x.astype(np.float64)
    cases = {
        "leaky_relu(x = x, alpha = a)": (0.25, None, np.where(x64 > 0, x64, 0.25 * x64), 1e-3),
        "elu(x = x, alpha = a)": (0.5, None, np.where(x64 > 0, x64, 0.5 * np.expm1(x64)), 4e-3),
        "clip(x = x, alpha = a, beta = b)": (-0.5, 1.0, np.clip(x64, -0.5, 1.0), 0),
        "sigmoid_hard(x = x, alpha = a, beta = b)": (
            0.25,
            0.5,
            np.clip(0.25 * x64 + 0.5, 0, 1),
            1e-3,
        ),
        "inverse(x = x, epsilon = a)": (2.5, None, 1 / (x64 + 2.5), 4e-3),
        "log(x = x, epsilon = a)": (2.5, None, np.log(x64 + 2.5), 2e-3),
        "rsqrt(x = x, epsilon = a)": (2.5, None, 1 / np.sqrt(x64 + 2.5), 4e-3),
    }
    for call, (a, b, reference, absolute) in cases.items():
        consts = [const("a", "fp16", a)] + ([] if b is None else [const("b", "fp16", b)])
        for numerics in MODES:
            y = run_one(call, x.shape, {"x": x}, consts, numerics)
            assert np.max(np.abs(y - reference) - np.abs(reference) * 2**-10) <= absolute + 1e-3


@pytest.mark.parametrize("mode", ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"])
def test_gelu_modes_share_a_table(mode):
    x = half(200, low=-5, high=5)
    y = run_one("gelu(x = x, mode = m)", x.shape, {"x": x}, [const("m", "string", mode)])
    x64 = x.astype(np.float64)
    reference = 0.5 * x64 * (1 + erf(x64 / math.sqrt(2)))
    assert 1e-4 < np.max(np.abs(y - reference)) < 7e-3


def test_round_half_away_with_quirk():
    x = np.array([0.5, -0.5, 1.5, 2.5, 0.49975586, 1024, 1025, -2047, 2048, 1023.5], np.float16)
    y = run_one("round(x = x)", x.shape, {"x": x})
    np.testing.assert_array_equal(y, [1, -1, 2, 3, 0, 1025, 1026, -2048, 2048, 1024])


MATMUL = [
    ((3, 4), (4, 5), False, False),
    ((4, 3), (4, 5), True, False),
    ((3, 4), (5, 4), False, True),
    ((4, 3), (5, 4), True, True),
    ((2, 3, 4), (2, 4, 5), False, False),
    ((2, 3, 4), (4, 5), False, False),
    ((1, 3, 4), (6, 4, 5), False, False),
    ((2, 1, 3, 4), (1, 3, 5, 4), False, True),
    ((2, 3, 65, 33), (2, 3, 33, 70), False, False),
    ((1, 130), (130, 200), False, False),
    ((3, 8, 5, 6), (3, 1, 5, 7), True, False),
]


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("case", MATMUL, ids=str)
def test_matmul(case, numerics):
    xs, ys, tx, ty = case
    x, y = half(*xs), half(*ys)
    a = np.swapaxes(x, -1, -2) if tx else x
    b = np.swapaxes(y, -1, -2) if ty else y
    reference = a.astype(np.float64) @ b.astype(np.float64)
    consts = [const("tx", "bool", tx), const("ty", "bool", ty)]
    out = run_one(
        "matmul(x = x, y = y, transpose_x = tx, transpose_y = ty)",
        reference.shape,
        {"x": x, "y": y},
        consts,
        numerics,
    )
    close(out, reference, 2e-3, absolute=1.0)


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)], ids=str)
def test_linear_with_bias(shape, numerics):
    x, w, b = half(*shape), half(5, 6), half(5)
    y = run_one(
        "linear(x = x, weight = w, bias = b)",
        (*shape[:-1], 5),
        {"x": x},
        [const("w", "fp16", w), const("b", "fp16", b)],
        numerics,
    )
    close(y, x.astype(np.float64) @ w.T.astype(np.float64) + b.astype(np.float64), 2e-3, 1.0)


def conv_oracle(x, w, stride, pad, dilation, groups):
    x, w = x.astype(np.float64), w.astype(np.float64)
    x = np.pad(x, ((0, 0), (0, 0), pad[:2], pad[2:]))
    n, _, h, wd = x.shape
    o, cg, kh, kw = w.shape
    oh = (h - (kh - 1) * dilation[0] - 1) // stride[0] + 1
    ow = (wd - (kw - 1) * dilation[1] - 1) // stride[1] + 1
    out = np.zeros((n, o, oh, ow))
    for g in range(groups):
        xs = x[:, g * cg : (g + 1) * cg]
        ws = w[g * o // groups : (g + 1) * o // groups]
        for i in range(kh):
            for j in range(kw):
                part = xs[:, :, i * dilation[0] :, j * dilation[1] :]
                part = part[
                    :,
                    :,
                    : (oh - 1) * stride[0] + 1 : stride[0],
                    : (ow - 1) * stride[1] + 1 : stride[1],
                ]
                out[:, g * o // groups : (g + 1) * o // groups] += np.einsum(
                    "nchw,oc->nohw", part, ws[:, :, i, j]
                )
    return out


CONV = [
    # x, weight, stride, pad, dilation, groups
    ((1, 4, 1, 9), (6, 4, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    ((2, 3, 8, 9), (4, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((2, 4, 8, 9), (6, 2, 3, 2), (2, 1), (1, 0, 0, 1), (1, 2), 2),
    ((1, 6, 7, 7), (6, 1, 3, 3), (1, 2), (2, 1, 1, 0), (2, 1), 6),
    ((1, 1, 5, 20), (2, 1, 1, 15), (1, 1), (0, 0, 7, 7), (1, 1), 1),
    # One channel a group: with padding beyond the window, two filters each, rows as they lie, and
    # strides that leave input over.
    ((3, 5, 6, 7), (5, 1, 3, 3), (1, 1), (4, 3, 2, 5), (1, 1), 5),
    ((2, 3, 9, 11), (6, 1, 2, 3), (3, 2), (1, 2, 0, 3), (2, 2), 3),
    ((1, 4, 8, 5), (4, 1, 3, 1), (1, 1), (1, 1, 0, 0), (1, 1), 4),
    ((1, 3, 10, 40), (3, 1, 1, 1), (4, 3), (0, 0, 0, 0), (1, 1), 3),
]


@pytest.mark.parametrize("chip", ["M4", "M5"])
@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv(case, numerics, chip):
    xs, ws, stride, pad, dilation, groups = case
    x, w, b = half(*xs), half(*ws), half(ws[0])
    reference = conv_oracle(x, w, stride, pad, dilation, groups) + b[:, None, None]
    consts = [
        const("w", "fp16", w),
        const("b", "fp16", b),
        const("s", "int32", stride),
        const("t", "string", "custom"),
        const("p", "int32", pad),
        const("d", "int32", dilation),
        const("g", "int32", groups),
    ]
    call = (
        "conv(x = x, weight = w, bias = b, strides = s, pad_type = t, pad = p, dilations = d, "
        "groups = g)"
    )
    y = run_one(call, reference.shape, {"x": x}, consts, numerics, chip)
    winograd = chip == "M5" and numerics == "exact"
    close(y, reference, 6e-3 if winograd else 2e-3, absolute=2.0)


def test_conv_run_time_weight_and_same_padding():
    x, w = half(1, 3, 6, 7), half(4, 3, 3, 3)
    reference = conv_oracle(x, w, (2, 2), (0, 1, 1, 1), (1, 1), 1)
    y = run_one(
        "conv(x = x, weight = w, strides = s, pad_type = t)",
        (1, 4, 3, 4),
        {"x": x, "w": w},
        [const("s", "int32", [2, 2]), const("t", "string", "same")],
    )
    close(y, reference, 2e-3, absolute=2.0)


def test_conv_transpose():
    x, w = half(2, 3, 4, 5), half(3, 2, 3, 2)
    full = np.zeros((2, 2, 9, 10))
    for i in range(4):
        for j in range(5):
            full[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2] += np.einsum(
                "nc,cohw->nohw", x[:, :, i, j].astype(np.float64), w.astype(np.float64)
            )
    consts = [const("w", "fp16", w), const("s", "int32", [2, 2])]
    y = run_one("conv_transpose(x = x, weight = w, strides = s)", (2, 2, 9, 10), {"x": x}, consts)
    close(y, full, 2e-3, absolute=2.0)
    consts += [const("t", "string", "custom"), const("p", "int32", [1, 1, 0, 1])]
    call = "conv_transpose(x = x, weight = w, strides = s, pad_type = t, pad = p)"
    close(run_one(call, (2, 2, 7, 9), {"x": x}, consts), full[:, :, 1:-1, :-1], 2e-3, 2.0)


REDUCE = {
    "reduce_sum": lambda x, a: x.sum(a, keepdims=True),
    "reduce_mean": lambda x, a: x.mean(a, keepdims=True),
    "reduce_max": lambda x, a: x.max(a, keepdims=True),
    "reduce_min": lambda x, a: x.min(a, keepdims=True),
    "reduce_l1_norm": lambda x, a: np.abs(x).sum(a, keepdims=True),
    "reduce_l2_norm": lambda x, a: np.sqrt((x**2).sum(a, keepdims=True)),
    "reduce_sum_square": lambda x, a: (x**2).sum(a, keepdims=True),
    "reduce_log_sum": lambda x, a: np.log(x.sum(a, keepdims=True)),
    "reduce_log_sum_exp": lambda x, a: np.log(np.exp(x).sum(a, keepdims=True)),
}
AXES = [
    ((7,), (0,)),
    ((3, 5), (1,)),
    ((3, 5), (0,)),
    ((2, 3, 4, 5), (1, 3)),
    ((2, 3, 4), (-1,)),
    ((2, 3, 4, 5, 2), (0, 2)),
    ((4, 500), (1,)),
]


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("case", AXES, ids=str)
@pytest.mark.parametrize("name", REDUCE)
def test_reduce(name, case, numerics):
    shape, axes = case
    x = half(*shape, low=0.25, high=1.5)
    reference = REDUCE[name](x.astype(np.float64), axes)
    for keep in (True, False):
        expected = reference if keep else reference.squeeze(tuple(axes))
        y = run_one(
            f"{name}(x = x, axes = a, keep_dims = k)",
            expected.shape,
            {"x": x},
            [const("a", "int32", axes), const("k", "bool", keep)],
            numerics,
        )
        close(y, expected, 4e-3 if numerics == "exact" else 6e-4, absolute=1.0)


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
def test_softmax(axis, numerics):
    x = half(3, 5, 40, low=-4, high=4)
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    y = run_one(
        "softmax(x = x, axis = a)", x.shape, {"x": x}, [const("a", "int32", axis)], numerics
    )
    close(y, e / e.sum(axis, keepdims=True), 1e-2, absolute=1e-2)


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("axes", [(-1,), (1, 2), (1,)], ids=str)
def test_layer_norm(axes, numerics):
    x = half(3, 6, 20)
    wanted = [x.shape[a] for a in axes]
    gamma, beta = half(*wanted, low=0.5), half(*wanted)
    x64 = x.astype(np.float64)
    norm = (x64 - x64.mean(axes, keepdims=True)) / np.sqrt(x64.var(axes, keepdims=True) + 1e-5)
    shape = [x.shape[i] if i in [a % 3 for a in axes] else 1 for i in range(3)]
    reference = norm * gamma.reshape(shape) + beta.reshape(shape).astype(np.float64)
    consts = [
        const("a", "int32", axes),
        const("g", "fp16", gamma),
        const("b", "fp16", beta),
        const("e", "fp16", 1e-5),
    ]
    y = run_one(
        "layer_norm(x = x, axes = a, gamma = g, beta = b, epsilon = e)",
        x.shape,
        {"x": x},
        consts,
        numerics,
    )
    assert np.max(np.abs(y - reference)) < 2e-2


@pytest.mark.parametrize("numerics", MODES)
def test_other_norms(numerics):
    x = half(2, 3, 4, 5)
    x64 = x.astype(np.float64)
    gamma, beta = half(3, low=0.5), half(3)
    mean, variance = half(3), half(3, low=0.5)
    consts = [const("g", "fp16", gamma), const("b", "fp16", beta), const("e", "fp16", 1e-3)]

    def channel(v):
        return v.astype(np.float64)[:, None, None]

    y = run_one(
        "instance_norm(x = x, gamma = g, beta = b, epsilon = e)",
        x.shape,
        {"x": x},
        consts,
        numerics,
    )
    norm = (x64 - x64.mean((2, 3), keepdims=True)) / np.sqrt(x64.var((2, 3), keepdims=True) + 1e-3)
    assert np.max(np.abs(y - (norm * channel(gamma) + channel(beta)))) < 2e-2
    y = run_one("l2_norm(x = x, epsilon = e)", x.shape, {"x": x}, consts, numerics)
    length = np.sqrt((x64**2).sum((1, 2, 3), keepdims=True) + 1e-3)
    assert np.max(np.abs(y - x64 / length)) < 4e-3
    consts += [const("m", "fp16", mean), const("v", "fp16", variance)]
    y = run_one(
        "batch_norm(x = x, mean = m, variance = v, gamma = g, beta = b, epsilon = e)",
        x.shape,
        {"x": x},
        consts,
        numerics,
    )
    reference = (x64 - channel(mean)) / np.sqrt(channel(variance) + 1e-3) * channel(gamma)
    assert np.max(np.abs(y - reference - channel(beta))) < 2e-2


def moved(call, expected, inputs, consts=()):
    y = run_one(call, expected.shape, inputs, consts)
    np.testing.assert_array_equal(y, expected.astype(np.float64))


@pytest.mark.parametrize(
    "shape,perm",
    [
        ((4, 5), (1, 0)),
        ((2, 3, 4), (0, 2, 1)),
        ((2, 3, 4), (2, 0, 1)),
        ((2, 3, 4, 5), (0, 2, 1, 3)),
        ((2, 3, 4, 5), (3, 2, 1, 0)),
        ((2, 3, 2, 4, 5), (0, 1, 3, 2, 4)),
        ((130, 257), (1, 0)),
        ((2, 70, 3, 64), (0, 2, -1, 1)),
    ],
    ids=str,
)
def test_transpose(shape, perm):
    x = half(*shape)
    moved("transpose(x = x, perm = p)", x.transpose(perm), {"x": x}, [const("p", "int32", perm)])


def test_views_alias_and_copy_out():
    x = half(2, 3, 4)
    text = program(
        {"x": ("fp16", (2, 3, 4))},
        [
            const("s", "int32", [6, -1]),
            const("a", "int32", [1, -1]),
            op("r", (6, 4), "reshape(x = x, shape = s)"),
            op("e", (6, 1, 4, 1), "expand_dims(x = r, axes = a)"),
            op("q", (6, 4), "squeeze(x = e)"),
            op("y", (6, 4), "add(x = q, y = r)"),
        ],
        ["y", "e", "r"],
    )
    out = mil.run(text, {"x": x})
    np.testing.assert_array_equal(out["y"], 2 * x.reshape(6, 4))
    np.testing.assert_array_equal(out["e"], x.reshape(6, 1, 4, 1))
    np.testing.assert_array_equal(out["r"], x.reshape(6, 4))


def test_slices():
    x = half(4, 5, 6)
    moved(
        "slice_by_size(x = x, begin = b, size = s)",
        x[1:3, 2:, 1:4],
        {"x": x},
        [const("b", "int32", [1, 2, 1]), const("s", "int32", [2, -1, 3])],
    )
    moved(
        "slice_by_index(x = x, begin = b, end = e)",
        x[1:3, 2:5, 1:-1],
        {"x": x},
        [const("b", "int32", [1, 2, 1]), const("e", "int32", [3, 9, -1])],
    )
    consts = [
        const("b", "int32", [3, 0, 1]),
        const("e", "int32", [0, 0, 5]),
        const("s", "int32", [-2, 2, 2]),
        const("m", "bool", [False, True, False]),
        const("n", "bool", [False, True, False]),
        const("q", "bool", [False, False, True]),
    ]
    moved(
        "slice_by_index(x = x, begin = b, end = e, stride = s, begin_mask = m, end_mask = n)",
        x[3:0:-2, ::2, 1:5:2],
        {"x": x},
        consts,
    )
    moved(
        "slice_by_index(x = x, begin = b, end = e, stride = s, begin_mask = m, end_mask = n, "
        "squeeze_mask = q)",
        x[3:0:-2, ::2, 1],
        {"x": x},
        consts,
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_split_stack(axis):
    a, b = half(2, 3, 4), half(2, 3, 4)
    consts = [const("ax", "int32", axis), const("i", "bool", False)]
    moved(
        "concat(values = (a, b), axis = ax, interleave = i)",
        np.concatenate([a, b], axis),
        {"a": a, "b": b},
        consts,
    )
    moved("stack(values = (a, b), axis = ax)", np.stack([a, b], axis), {"a": a, "b": b}, consts[:1])
    joined = np.concatenate([a, b, a], axis)
    sizes = [a.shape[axis], 2 * a.shape[axis]]
    parts = np.split(joined, [sizes[0]], axis)
    line = (
        f"tensor<fp16, {list(parts[0].shape)}> p, tensor<fp16, {list(parts[1].shape)}> q = "
        'split(x = j, split_sizes = s, axis = ax)[name = string("sp")];'
    )
    text = program(
        {"j": ("fp16", joined.shape)}, [consts[0], const("s", "int32", sizes), line], ["q", "p"]
    )
    out = mil.run(text, {"j": joined})
    assert list(out) == ["q", "p"]
    np.testing.assert_array_equal(out["p"], parts[0])
    np.testing.assert_array_equal(out["q"], parts[1])


def test_pad_tile_reverse_gather_upsample():
    x = half(2, 3, 4)
    moved(
        "pad(x = x, pad = p)",
        np.pad(x, ((0, 0), (1, 2), (0, 3))),
        {"x": x},
        [const("p", "int32", [0, 0, 1, 2, 0, 3])],
    )
    moved(
        "tile(x = x, reps = r)", np.tile(x, (2, 1, 3)), {"x": x}, [const("r", "int32", [2, 1, 3])]
    )
    moved("reverse(x = x, axes = a)", x[::-1, :, ::-1], {"x": x}, [const("a", "int32", [0, 2])])
    indices = [[2, 0], [-1, 1]]
    moved(
        "gather(x = x, indices = i, axis = a)",
        x[:, indices],
        {"x": x},
        [const("i", "int32", indices), const("a", "int32", 1)],
    )
    moved(
        "upsample_nearest_neighbor(x = x, scale_factor_height = h, scale_factor_width = w)",
        x.repeat(2, 1).repeat(3, 2),
        {"x": x},
        [const("h", "fp32", 2.0), const("w", "fp32", 3.0)],
    )


def test_depth_and_space():
    x = half(2, 8, 3, 5)
    block = [const("b", "int32", 2)]
    dcr = x.reshape(2, 2, 2, 2, 3, 5).transpose(0, 3, 4, 1, 5, 2).reshape(2, 2, 6, 10)
    crd = x.reshape(2, 2, 2, 2, 3, 5).transpose(0, 1, 4, 2, 5, 3).reshape(2, 2, 6, 10)
    moved("depth_to_space(x = x, block_size = b)", dcr, {"x": x}, block)
    moved("pixel_shuffle(x = x, upscale_factor = b)", crd, {"x": x}, block)
    moved("space_to_depth(x = x, block_size = b)", x, {"x": dcr}, block)
    moved("pixel_unshuffle(x = x, downscale_factor = b)", x, {"x": crd}, block)


@pytest.mark.parametrize("numerics", MODES)
def test_pools(numerics):
    x = half(2, 3, 6, 7)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (2, 3), (2, 3))
    windows = windows[:, :, ::2, ::2]
    consts = [
        const("k", "int32", [2, 3]),
        const("s", "int32", [2, 2]),
        const("t", "string", "valid"),
    ]
    arguments = "(x = x, kernel_sizes = k, strides = s, pad_type = t)"
    for name, reference in {
        "max_pool": windows.max((-1, -2)),
        "avg_pool": windows.mean((-1, -2)),
        "l2_pool": np.sqrt((windows**2).sum((-1, -2))),
    }.items():
        y = run_one(name + arguments, reference.shape, {"x": x}, consts, numerics)
        close(y, reference, 4e-3, absolute=1.0)


def test_avg_pool_counts_padding_unless_told_not_to():
    x = np.ones((1, 1, 2, 2), np.float16)
    consts = [
        const("k", "int32", [2, 2]),
        const("t", "string", "custom"),
        const("p", "int32", [1, 0, 1, 0]),
        const("e", "bool", True),
    ]
    y = run_one(
        "avg_pool(x = x, kernel_sizes = k, pad_type = t, pad = p)", (1, 1, 2, 2), {"x": x}, consts
    )
    np.testing.assert_array_equal(y[0, 0], [[0.25, 0.5], [0.5, 1.0]])
    y = run_one(
        "avg_pool(x = x, kernel_sizes = k, pad_type = t, pad = p, "
        "exclude_padding_from_average = e)",
        (1, 1, 2, 2),
        {"x": x},
        consts,
    )
    np.testing.assert_array_equal(y, np.ones((1, 1, 2, 2)))


def test_cast_at_the_border():
    x = RNG.normal(size=(3, 5)).astype(np.float32) * 100
    text = program(
        {"x": ("fp32", (3, 5))},
        [
            const("h", "string", "fp16"),
            const("f", "string", "fp32"),
            op("a", (3, 5), "cast(x = x, dtype = h)"),
            op("b", (3, 5), "add(x = a, y = a)"),
            op("y", (3, 5), "cast(x = b, dtype = f)", "fp32"),
        ],
        ["y"],
    )
    y = mil.run(text, {"x": x})["y"]
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, (x.astype(np.float16) * np.float16(2)).astype(np.float32))


def test_constexpr_weights():
    q = RNG.integers(-128, 128, (4, 3, 1, 1)).astype(np.int8)
    scale = half(4, low=0.01, high=0.1)
    file, offsets = blob(q)
    path = "@model_path/weights/w.bin"
    x = half(1, 3, 2, 2)
    line = (
        "tensor<fp16, [4, 3, 1, 1]> w = constexpr_affine_dequantize()[axis = int32(0), "
        'name = string("w"), quantized_data = tensor<int8, [4, 3, 1, 1]>(BLOBFILE(path = '
        f'string("{path}"), offset = uint64({offsets[0]}))), scale = tensor<fp16, [4]>(['
        f"{', '.join(float(s).hex() for s in scale)}]), zero_point = int8(1)];"
    )
    text = program(
        {"x": ("fp16", x.shape)}, [line, op("y", (1, 4, 2, 2), "conv(x = x, weight = w)")], ["y"]
    )
    y = mil.run(text, {"x": x}, blobs={path: file})["y"].astype(np.float64)
    w = scale[:, None].astype(np.float64) * (q[:, :, 0, 0].astype(np.float64) - 1)
    reference = np.einsum("oc,nchw->nohw", w, x.astype(np.float64))
    close(y, reference, 2e-3, absolute=5.0)


def test_constexpr_lut_and_sparse():
    lut = (
        "tensor<fp16, [1, 8]> w = constexpr_lut_to_dense()[indices = tensor<uint8, [2]>("
        "[228, 27]), lut = tensor<fp16, [4]>([0x1p+0, 0x1p+1, 0x1p+2, 0x1p+3]), "
        'name = string("w"), shape = tensor<int32, [2]>([1, 8])];'
    )
    sparse = (
        "tensor<fp16, [1, 8]> s = constexpr_sparse_to_dense()[mask = tensor<uint8, [1]>("
        "[165]), nonzero_data = tensor<fp16, [4]>([0x1p+0, 0x1p+1, 0x1p+2, 0x1p+3]), "
        'name = string("s"), shape = tensor<int32, [2]>([1, 8])];'
    )
    text = program(
        {"x": ("fp16", (1, 8))},
        [lut, sparse, op("y", (1, 8), "add(x = x, y = w)"), op("z", (1, 8), "add(x = x, y = s)")],
        ["y", "z"],
    )
    out = mil.run(text, {"x": np.zeros((1, 8))})
    np.testing.assert_array_equal(out["y"][0], [1, 2, 4, 8, 8, 4, 2, 1])
    np.testing.assert_array_equal(out["z"][0], [1, 0, 2, 0, 0, 4, 0, 8])


def test_weights_are_bound_at_load():
    w = half(4, 4)
    file, offsets = blob(w)
    path = "@model_path/weights/w.bin"
    text = program(
        {"x": ("fp16", (1, 4))},
        [
            blob_const("w", "fp16", (4, 4), path, offsets[0]),
            op("y", (1, 4), "linear(x = x, weight = w)"),
        ],
        ["y"],
    )
    blobs = {path: bytearray(file)}
    loaded = mil.load(text, {k: bytes(v) for k, v in blobs.items()})
    before = mil.evaluate(loaded, {"x": np.ones((1, 4))})["y"]
    blobs[path][128:] = bytes(32)
    np.testing.assert_array_equal(mil.evaluate(loaded, {"x": np.ones((1, 4))})["y"], before)
    assert np.any(before != 0)
    assert not np.any(mil.run(text, {"x": np.ones((1, 4))}, blobs=blobs)["y"])


def test_large_elementwise_and_reuse_of_the_arena():
    x = half(64, 4096)
    body, last = [], "x"
    for i in range(20):
        body.append(op(f"t{i}", x.shape, f"add(x = {last}, y = x)"))
        last = f"t{i}"
    text = program({"x": ("fp16", x.shape)}, body, [last])
    loaded = mil.load(text)
    assert loaded.lower_bound_bytes <= loaded.arena_bytes <= 2 * x.nbytes
    y = mil.evaluate(loaded, {"x": x})[last]
    expected = x.copy()
    for _ in range(20):
        expected = expected + x
    np.testing.assert_allclose(y.astype(np.float64), expected.astype(np.float64), rtol=1e-2)
