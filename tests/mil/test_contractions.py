# SPDX-License-Identifier: Apache-2.0
"""einsum, attention, 3-D and transposed convolutions, and when Winograd is off: by oracles."""

import numpy as np
import pytest
from programs import blob, blob_const, const, op, program
from test_ops import MODES, close, conv_oracle, half, run_one

from jax_ane import mil


@pytest.mark.parametrize("equation", ["nchw,nwhu->nchu", "abcd, adce -> abce"])
def test_einsum(equation):
    x, y = half(2, 3, 4, 5), half(2, 5, 4, 6)
    reference = np.einsum("nchw,nwhu->nchu", x.astype(np.float64), y.astype(np.float64))
    consts = [const("e", "string", equation)]
    for numerics in MODES:
        out = run_one(
            "einsum(values = (x, y), equation = e)",
            reference.shape,
            {"x": x, "y": y},
            consts,
            numerics,
        )
        close(out, reference, 2e-3, 1.0)


@pytest.mark.parametrize(
    "equation", ["nchw,nwhu->nchv", "nchw,nwhu->nuhc", "nchw,nhwu->nchu", "nchn,nnhu->nchu", ""]
)
def test_einsum_refuses_other_equations(equation):
    text = program(
        {"x": ("fp16", (2, 2, 2, 2))},
        [
            const("e", "string", equation),
            op("y", (2, 2, 2, 2), "einsum(values = (x, x), equation = e)"),
        ],
        ["y"],
    )
    assert [f.id for f in mil.check(text)] == ["ANE032"]


def attention(q, k, v, mask=None):
    q, k, v = (a.astype(np.float64) for a in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -1e9) if mask.dtype == bool else scores + mask
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("lead", [(2,), (2, 3)], ids=str)
def test_attention(lead, numerics):
    q, k, v = half(*lead, 5, 16), half(*lead, 7, 16), half(*lead, 7, 9)
    inputs = {"q": q, "k": k, "v": v}
    call = "scaled_dot_product_attention(query = q, key = k, value = v{})"
    y = run_one(call.format(""), (*lead, 5, 9), inputs, (), numerics)
    close(y, attention(q, k, v), 1e-2, 1.0)
    mask = half(5, 7)
    y = run_one(call.format(", attn_mask = m"), (*lead, 5, 9), {**inputs, "m": mask}, (), numerics)
    close(y, attention(q, k, v, mask), 1e-2, 1.0)


def test_attention_with_a_truth_mask():
    q, k, v, m = half(2, 4, 8), half(2, 4, 8), half(2, 4, 8), half(4, 4)
    m[:, 0] = 1  # no row is masked out
    text = program(
        {n: ("fp16", a.shape) for n, a in zip("qkvm", (q, k, v, m), strict=True)},
        [
            const("zero", "fp16", 0.0),
            op("t", (4, 4), "greater(x = m, y = zero)", "bool"),
            op(
                "y",
                (2, 4, 8),
                "scaled_dot_product_attention(query = q, key = k, value = v, attn_mask = t)",
            ),
        ],
        ["y"],
    )
    y = mil.run(text, {"q": q, "k": k, "v": v, "m": m})["y"].astype(np.float64)
    close(y, attention(q, k, v, m > 0), 1e-2, 1.0)


def conv3d_oracle(x, w, stride, pad, dilation, groups):
    depth = [np.pad(x, ((0, 0), (0, 0), pad[:2], (0, 0), (0, 0)))[:, :, i] for i in range(99)[
        : x.shape[2] + sum(pad[:2])]]  # fmt: skip
    out = (len(depth) - (w.shape[2] - 1) * dilation[0] - 1) // stride[0] + 1
    return np.stack(
        [
            sum(
                conv_oracle(
                    depth[d * stride[0] + i * dilation[0]],
                    w[:, :, i],
                    stride[1:],
                    pad[2:],
                    dilation[1:],
                    groups,
                )
                for i in range(w.shape[2])
            )
            for d in range(out)
        ],
        2,
    )


CONV3D = [
    # x, weight, stride, pad, dilation, groups
    ((1, 2, 3, 4, 5), (3, 2, 1, 1, 1), (1, 1, 1), (0,) * 6, (1, 1, 1), 1),
    ((2, 4, 5, 6, 7), (6, 2, 3, 2, 3), (2, 1, 2), (1, 0, 0, 1, 1, 1), (1, 2, 1), 2),
]


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("case", CONV3D, ids=str)
def test_conv_of_volumes(case, numerics):
    xs, ws, stride, pad, dilation, groups = case
    x, w, b = half(*xs), half(*ws), half(ws[0])
    reference = conv3d_oracle(x, w, stride, pad, dilation, groups) + b[:, None, None, None]
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
    y = run_one(call, reference.shape, {"x": x}, consts, numerics)
    close(y, reference, 2e-3, 2.0)


def scattered(x, w, stride, dilation):
    """The full transposed convolution of x [N, C, H, W] by w [C, O, kH, kW]."""
    n, _, h, wd = x.shape
    _, o, kh, kw = w.shape
    out = np.zeros(
        (
            n,
            o,
            (h - 1) * stride[0] + (kh - 1) * dilation[0] + 1,
            (wd - 1) * stride[1] + (kw - 1) * dilation[1] + 1,
        )
    )
    for i in range(h):
        for j in range(wd):
            for a in range(kh):
                for b in range(kw):
                    out[:, :, i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]] += (
                        x[:, :, i, j].astype(np.float64) @ w[:, :, a, b].astype(np.float64)
                    )
    return out


TRANSPOSED = {
    "valid": ("valid", None, (1, 1), slice(None), slice(None)),
    "same": ("same", None, (1, 1), slice(0, 8), slice(1, 11)),
    "same_lower": ("same_lower", None, (1, 1), slice(1, 9), slice(1, 11)),
    "dilated": ("valid", None, (2, 3), slice(None), slice(None)),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose_pad_types(name):
    pad_type, _, dilation, rows, columns = TRANSPOSED[name]
    x, w = half(2, 3, 4, 5), half(3, 2, 3, 4)
    expected = scattered(x, w, (2, 2), dilation)[:, :, rows, columns]
    consts = [
        const("w", "fp16", w),
        const("s", "int32", [2, 2]),
        const("t", "string", pad_type),
        const("d", "int32", dilation),
    ]
    call = "conv_transpose(x = x, weight = w, strides = s, pad_type = t, dilations = d)"
    close(run_one(call, expected.shape, {"x": x}, consts), expected, 2e-3, 2.0)


def test_conv_transpose_output_shape_adds_at_the_end():
    x, w, b = half(1, 3, 4, 5), half(3, 2, 3, 3), half(2)
    full = scattered(x, w, (2, 2), (1, 1))
    expected = np.pad(full, ((0, 0), (0, 0), (0, 1), (0, 1)))[:, :, 1:9, 1:11]
    expected = expected + b.astype(np.float64)[:, None, None]
    consts = [
        const("w", "fp16", w),
        const("b", "fp16", b),
        const("s", "int32", [2, 2]),
        const("t", "string", "custom"),
        const("p", "int32", [1, 1, 1, 1]),
        const("o", "int32", [1, 2, 8, 10]),
    ]
    call = (
        "conv_transpose(x = x, weight = w, bias = b, strides = s, pad_type = t, pad = p, "
        "output_shape = o)"
    )
    close(run_one(call, expected.shape, {"x": x}, consts), expected, 2e-3, 2.0)


def test_conv_transpose_of_rows_with_groups():
    x, w = half(2, 4, 5), half(4, 3, 2)
    parts = [
        scattered(x[:, i : i + 2, None], w[i : i + 2, :, None], (1, 3), (1, 1)) for i in (0, 2)
    ]
    expected = np.concatenate(parts, 1)[:, :, 0]
    consts = [const("w", "fp16", w), const("s", "int32", [3]), const("g", "int32", 2)]
    call = "conv_transpose(x = x, weight = w, strides = s, groups = g)"
    close(run_one(call, expected.shape, {"x": x}, consts), expected, 2e-3, 2.0)


# ---- Winograd (numerics.md section 2) ----


def same_conv(x, w, chip, weight_line=None):
    path = "@model_path/weights/w.bin"
    file, offsets = blob(w)
    line = weight_line or blob_const("w", "fp16", w.shape, path, offsets[0])
    out = (x.shape[0], w.shape[0], *x.shape[2:])
    body = [
        const("t", "string", "same"),
        line,
        op("y", out, "conv(x = x, weight = w, pad_type = t)"),
    ]
    return mil.run(program({"x": ("fp16", x.shape)}, body, ["y"]), {"x": x}, {path: file}, chip)[
        "y"
    ]


def rounded(values):
    """Each exact float64 value to fp16, ties away from zero (normal range only)."""
    scale = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(values), 2.0**-14))) - 10)
    return np.sign(values) * np.floor(np.abs(values) / scale + 0.5) * scale


def test_winograd_in_its_own_words():
    """Section 2 for one channel and odd widths, where every product is kept exactly."""
    rng = np.random.default_rng(0)
    x = rng.integers(-64, 65, (1, 1, 3, 7)).astype(np.float16) / 16
    g = rng.integers(-8, 9, 3).astype(np.float16) / 8
    w = np.zeros((1, 1, 3, 3), np.float16)
    w[0, 0, 1] = g
    d = np.pad(x[0, 0].astype(np.float64), ((0, 0), (1, 3)))
    g = g.astype(np.float64)
    u = rounded(np.array([g[0], g.sum() / 2, (g[0] - g[1] + g[2]) / 2, g[2]]))
    expected = np.zeros((3, 8))
    for j in range(4):
        d0, d1, d2, d3 = d[:, 2 * j : 2 * j + 4].T
        m = u[:, None] * rounded(np.array([d0 - d2, d1 + d2, d2 - d1, d1 - d3]))
        expected[:, 2 * j] = m[0] + m[1] + m[2]
        expected[:, 2 * j + 1] = m[1] - m[2] - m[3]
    np.testing.assert_array_equal(same_conv(x, w, "M5")[0, 0], rounded(expected)[:, :7])


def centre_tap(columns):
    """A kernel with 1 in the centre shows the transforms: 2^-11 next to 1 is lost or doubled."""
    x = np.zeros((1, 1, 4, columns), np.float16)
    x[..., 2], x[..., 3] = 1, 2.0**-11
    w = np.zeros((1, 1, 3, 3), np.float16)
    w[0, 0, 1, 1] = 1
    return x, w


def test_winograd_edge_of_section_13():
    x, w = centre_tap(8)
    assert same_conv(x, w, "M5")[0, 0, 1, 3] == 1.5 * 2**-11
    for chip in ("M1", "M2", "M3", "M4"):
        assert same_conv(x, w, chip)[0, 0, 1, 3] == 2**-11


def test_winograd_of_one_kernel_row():
    x, w = centre_tap(8)
    assert same_conv(x, w[:, :, 1:2], "M5")[0, 0, 1, 3] == 1.5 * 2**-11


def test_winograd_is_off_for_pruned_weights():
    x, w = centre_tap(8)
    line = (
        "tensor<fp16, [1, 1, 3, 3]> w = constexpr_sparse_to_dense()[mask = tensor<uint8, [2]>("
        "[16, 0]), nonzero_data = tensor<fp16, [1]>([1.0]), "
        'name = string("w"), shape = tensor<int32, [4]>([1, 1, 3, 3])];'
    )
    assert same_conv(x, w, "M5", line)[0, 0, 1, 3] == 2**-11


@pytest.mark.parametrize(
    ("channels", "size", "on"), [(256, 8, False), (64, 8, True), (256, 16, True)]
)
def test_winograd_is_off_for_a_known_small_shape(channels, size, on):
    x, w = np.zeros((1, channels, size, 16), np.float16), np.zeros((1, channels, 3, 3), np.float16)
    x[0, 0, 1, 2], x[0, 0, 1, 3], w[0, 0, 1, 1] = 1, 2.0**-11, 1
    assert same_conv(x, w, "M6")[0, 0, 1, 3] == (1.5 if on else 1) * 2**-11
