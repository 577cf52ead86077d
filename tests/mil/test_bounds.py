# SPDX-License-Identifier: Apache-2.0
"""Every operation says what its class rests on, and keeps the bound that it states."""

import math
from pathlib import Path

import numpy as np
import pytest
from programs import const, op, program
from test_contractions import attention, scattered
from test_ops import half, run_one
from test_sampling_ops import bilinear

from jax_ane import mil
from jax_ane.cli import ops as command

OPS = {op.name: op for op in mil.operations()}
ROOT = Path(__file__).parents[2]


def test_every_operation_has_evidence():
    for operation in OPS.values():
        assert operation.evidence, operation.name
        assert (operation.bound is not None) == (operation.numerics == "bounded"), operation.name
        assert (operation.chips == "none") == (operation.numerics == "unknown"), operation.name
        known = {"all", "none", "M1", "M2", "M3", "M4", "M5", "M6"}
        assert set(operation.chips.split()) <= known


def sums(name):
    def reduced(x):
        return {
            "reduce_sum": lambda: x.sum(-1),
            "reduce_mean": lambda: x.mean(-1),
            "reduce_l1_norm": lambda: np.abs(x).sum(-1),
            "reduce_l2_norm": lambda: np.sqrt((x**2).sum(-1)),
            "reduce_sum_square": lambda: (x**2).sum(-1),
            "reduce_log_sum": lambda: np.log(x.sum(-1)),
            "reduce_log_sum_exp": lambda: np.log(np.exp(x).sum(-1)),
        }[name]()

    consts = [const("a", "int32", [-1]), const("k", "bool", False)]
    return f"{name}(x = x, axes = a, keep_dims = k)", consts, reduced, (0.1, 2)


def normed(x):
    return (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-3)


def pooled(x, square):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    return np.sqrt((windows**2).sum((-1, -2))) if square else windows.mean((-1, -2))


POOL = [const("k", "int32", [3, 3]), const("t", "string", "valid")]
EPSILON = [const("e", "fp16", 1e-3)]
TARGET = [const("h", "int32", 9), const("w", "int32", 5)]
UP = [const("h", "fp32", 2.0), const("w", "fp32", 1.5)]
erf = np.vectorize(math.erf)
W = half(4, 3, 3, 3)
AB = [const("a", "fp16", half(4)), const("b", "fp16", half(4, low=0.5))]
MEAN = [const("m", "fp16", half(4)), const("v", "fp16", half(4, low=0.5))]
CONST = {c.split(" ")[2]: c for c in [*AB, *MEAN]}


def constant(text):
    """The values that a const statement of hex floats writes."""
    numbers = text[text.rindex("([") + 2 : text.rindex("])")].split(", ")
    return np.array([float.fromhex(n) for n in numbers])[:, None, None]


A, B, M, V = (constant(CONST[name]) for name in "abmv")
# name: (call, constants, oracle of x in float64, range of x); x is [2, 4, 6, 8].
CASES = {
    "real_div": ("real_div(x = x, y = s)", [const("s", "fp16", 3.0)], lambda x: x / 3, (-4, 4)),
    "pow": ("pow(x = x, y = s)", [const("s", "fp16", -0.5)], lambda x: x**-0.5, (0.1, 9)),
    "floor_div": (
        "floor_div(x = x, y = s)", [const("s", "fp16", 0.75)],
        lambda x: np.floor(x / 0.75), (-9, 9)),
    "erf": ("erf(x = x)", [], erf, (-3, 3)),
    "silu": ("silu(x = x)", [], lambda x: x / (1 + np.exp(-x)), (-12, 12)),
    "softplus": ("softplus(x = x)", [], lambda x: np.log1p(np.exp(x)), (-9, 9)),
    "softplus_parametric": (
        "softplus_parametric(x = x, alpha = a, beta = b)", AB,
        lambda x: A * np.log1p(np.exp(B * x)), (-4, 4)),
    "softsign": ("softsign(x = x)", [], lambda x: x / (1 + np.abs(x)), (-9, 9)),
    "elu": (
        "elu(x = x, alpha = s)", [const("s", "fp16", 1.0)],
        lambda x: np.where(x > 0, x, np.expm1(x)), (-4, 1)),
    "inverse": ("inverse(x = x, epsilon = e)", EPSILON, lambda x: 1 / (x + 1e-3), (0.5, 9)),
    "log": ("log(x = x, epsilon = e)", EPSILON, lambda x: np.log(x + 1e-3), (0.1, 99)),
    "atan": ("atan(x = x)", [], np.arctan, (-9, 9)),
    "sin": ("sin(x = x)", [], np.sin, (-8, 8)),
    "cos": ("cos(x = x)", [], np.cos, (-8, 8)),
    "softmax": (
        "softmax(x = x)", [],
        lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), (-4, 4)),
    "layer_norm": (
        "layer_norm(x = x, axes = a, epsilon = e)", [*EPSILON, const("a", "int32", [2, 3])],
        normed, (-2, 2)),
    "instance_norm": ("instance_norm(x = x, epsilon = e)", EPSILON, normed, (-2, 2)),
    "l2_norm": (
        "l2_norm(x = x, epsilon = e)", EPSILON,
        lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-3), (-2, 2)),
    "local_response_norm": (
        "local_response_norm(x = x, size = s)", [const("s", "int32", 1)],
        lambda x: x / (1 + 1e-4 * x**2) ** 0.75, (-9, 9)),
    "batch_norm": (
        "batch_norm(x = x, mean = m, variance = v, epsilon = e)", [*MEAN, *EPSILON],
        lambda x: (x - M) / np.sqrt(V + 1e-3), (-2, 2)),
    "avg_pool": (
        "avg_pool(x = x, kernel_sizes = k, pad_type = t)", POOL,
        lambda x: pooled(x, False), (0, 2)),
    "l2_pool": (
        "l2_pool(x = x, kernel_sizes = k, pad_type = t)", POOL, lambda x: pooled(x, True), (0, 2)),
    "resize_bilinear": (
        "resize_bilinear(x = x, target_size_height = h, target_size_width = w)", TARGET,
        lambda x: bilinear(x, "DEFAULT", 9, 5), (-2, 2)),
    "resize": (
        "resize(x = x, shape = s, resized_dims = d)",
        [const("s", "int32", [9, 5]), const("d", "uint32", 2)],
        lambda x: bilinear(x, "DEFAULT", 9, 5), (-2, 2)),
    "upsample_bilinear": (
        "upsample_bilinear(x = x, scale_factor_height = h, scale_factor_width = w)", UP,
        lambda x: bilinear(x, "STRICT_ALIGN_CORNERS", 12, 12), (-2, 2)),
    "conv_transpose": (
        "conv_transpose(x = x, weight = w, strides = s)",
        [const("w", "fp16", W), const("s", "int32", [2, 2])],
        lambda x: scattered(x, W, (2, 2), (1, 1)), (-2, 2)),
    "scaled_dot_product_attention": (
        "scaled_dot_product_attention(query = x, key = x, value = x)", [],
        lambda x: attention(x, x, x), (-1, 1)),
    **{name: sums(name) for name in OPS if name.startswith("reduce_") and OPS[name].bound},
}  # fmt: skip


def check(name, y, reference):
    worst = np.max(np.abs(y - reference)) / np.max(np.abs(reference))
    assert worst <= OPS[name].bound, f"{worst:.2e} is above the bound of {name}"


@pytest.mark.parametrize("name", CASES)
def test_bound(name):
    call, consts, oracle, (low, high) = CASES[name]
    x = half(2, 4, 6, 8, low=low, high=high)
    reference = oracle(x.astype(np.float64))
    check(name, run_one(call, reference.shape, {"x": x}, consts), reference)


def made(line, dims):
    """Returns the constant w that a line makes."""
    text = program({"x": ("fp16", dims)}, [line, op("y", dims, "add(x = x, y = w)")], ["y"])
    return mil.run(text, {"x": np.zeros(dims)})["y"].astype(np.float64)


def scales():
    return f"tensor<fp16, [2, 1]>([{(0.3).hex()}, {(0.7).hex()}])"


S = np.array([[0.3], [0.7]], np.float16).astype(np.float64)
Q = np.array([[1, -2, 3], [100, -128, 7]])
DATA = "tensor<int8, [2, 3]>([1, -2, 3, 100, -128, 7])"


def test_bounds_of_weights():
    line = f"tensor<fp16, [2, 3]> w = {{}}(data = {DATA}, scale = {scales()});"
    y = made(line.format("constexpr_blockwise_shift_scale"), (2, 3))
    check("constexpr_blockwise_shift_scale", y, Q * S)
    line = (
        f"tensor<fp16, [2, 3]> w = constexpr_affine_dequantize()[quantized_data = {DATA}, "
        f"zero_point = int8(3), axis = int32(0), scale = {scales().replace('[2, 1]', '[2]')}];"
    )
    check("constexpr_affine_dequantize", made(line, (2, 3)), (Q - 3) * S)
    line = (
        "tensor<uint1, [2, 3]> m, tensor<fp16, [6]> v = constexpr_sparse_blockwise_shift_scale("
        "data_mask = tensor<uint1, [2, 3]>([1, 1, 1, 1, 1, 1]), nonzero_data = "
        f"{DATA.replace('[2, 3]', '[6]')}, scale = {scales()});\n"
        "tensor<fp16, [2, 3]> w = constexpr_sparse_to_dense(nonzero_data = v, mask = m);"
    )
    check("constexpr_sparse_blockwise_shift_scale", made(line, (2, 3)), Q * S)


def test_bounds_of_quantities_without_fp16_operands():
    start, step = (float(np.float16(v)) for v in (0.1, 0.3))
    line = (
        f"tensor<fp16, [9]> w = range_1d(start = fp16({start.hex()}), end = fp16(2.75), "
        f"step = fp16({step.hex()}));"
    )
    check("range_1d", made(line, (9,)), start + step * np.arange(9))
    q = np.arange(-128, 128, dtype=np.int8)
    text = program(
        {"x": ("int8", q.shape)},
        [const("s", "fp16", 0.3), op("y", q.shape, "dequantize(input = x, scale = s)")],
        ["y"],
    )
    y = mil.run(text, {"x": q})["y"].astype(np.float64)
    check("dequantize", y, q * float(np.float16(0.3)))
    x = np.linspace(-9, 9, 99).astype(np.float32)
    text = program(
        {"x": ("fp32", x.shape)},
        [const("d", "string", "fp16"), op("y", x.shape, "cast(x = x, dtype = d)")],
        ["y"],
    )
    check("cast", mil.run(text, {"x": x})["y"].astype(np.float64), x.astype(np.float64))


def test_every_bound_is_checked():
    elsewhere = {
        "constexpr_affine_dequantize",
        "constexpr_blockwise_shift_scale",
        "constexpr_sparse_blockwise_shift_scale",
        "range_1d",
        "dequantize",
        "cast",
    }
    assert set(CASES) | elsewhere == {name for name, o in OPS.items() if o.numerics == "bounded"}


def test_documented_table_is_current():
    page = (ROOT / "docs" / "numerics.md").read_text()
    assert command.with_table(page) == page, (
        "run: python -m jax_ane.cli.ops --write docs/numerics.md"
    )
    assert f"| `matmul` | {OPS['matmul'].numerics} |" in page
    with pytest.raises(ValueError, match="marks"):
        command.with_table("no table here")
