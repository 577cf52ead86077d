# SPDX-License-Identifier: Apache-2.0
"""Resizing, resampling, padding, cropping, batches of blocks, gathers, top k, fills: by oracles."""

import numpy as np
import pytest
from programs import const, op, program
from test_ops import close, half, moved, run_one

from jax_ane import mil


def grid(mode, n, m):
    """MIL's documentation of sampling modes, in its own words as NumPy."""
    i = np.arange(m, dtype=np.float64)
    if mode == "STRICT_ALIGN_CORNERS" or (mode == "ALIGN_CORNERS" and m > 1):
        points = i * (n - 1) / max(m - 1, 1)
    elif mode == "ALIGN_CORNERS":
        points = np.array([(n - 1) / 2])
    elif mode == "DEFAULT":
        points = i * (n - n / m) / max(m - 1, 1)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, n - 1) / m
        points = 0.5 * delta + i * delta
    else:
        points = i * n / m + 0.5 * n / m - 0.5
    return np.clip(points, 0, n - 1)


def along(x, points, axis):
    low = np.floor(points + 1e-9).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    f = (points - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return np.take(x, low, axis) * (1 - f) + np.take(x, high, axis) * f


def bilinear(x, mode, h, w):
    x = x.astype(np.float64)
    x = along(x, grid(mode, x.shape[-2], h), x.ndim - 2)
    return along(x, grid(mode, x.shape[-1], w), x.ndim - 1)


MODES = ["DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(7, 9), (2, 3), (1, 5)], ids=str)
def test_resize_bilinear(mode, size):
    h, w = size
    x = half(2, 3, 4, 5)
    consts = [const("h", "int32", h), const("w", "int32", w), const("m", "string", mode)]
    reference = bilinear(x, mode, h, w)
    y = run_one(
        "resize_bilinear(x = x, target_size_height = h, target_size_width = w, sampling_mode = m)",
        reference.shape,
        {"x": x},
        consts,
    )
    close(y, reference, 1e-3)
    consts = [
        const("s", "int32", [1, h, w]),
        const("d", "uint32", 2),
        const("m", "string", mode),
        const("i", "string", "LINEAR"),
    ]
    call = "resize(x = x, shape = s, resized_dims = d, interpolation_mode = i, sampling_mode = m)"
    np.testing.assert_array_equal(run_one(call, reference.shape, {"x": x}, consts), y)


def test_documented_grid_points():
    x = np.array([[[0, 1]]], np.float16)
    for mode, points in {
        "UNALIGN_CORNERS": [0, 0.1, 0.5, 0.9, 1],
        "STRICT_ALIGN_CORNERS": [0, 0.25, 0.5, 0.75, 1],
        "DEFAULT": [0, 0.4, 0.8, 1, 1],
    }.items():
        consts = [const("h", "int32", 1), const("w", "int32", 5), const("m", "string", mode)]
        call = (
            "resize_bilinear(x = x, target_size_height = h, target_size_width = w, "
            "sampling_mode = m)"
        )
        y = run_one(call, (1, 1, 5), {"x": x}, consts)
        np.testing.assert_allclose(y[0, 0], points, atol=5e-4)


def test_resize_keeps_an_axis_of_zero():
    x = half(1, 2, 3, 4)
    consts = [
        const("s", "int32", [0, 8]),
        const("d", "uint32", 2),
        const("i", "string", "NEAREST_NEIGHBOR"),
    ]
    call = "resize(x = x, shape = s, resized_dims = d, interpolation_mode = i)"
    moved(call, x.repeat(2, 3), {"x": x}, consts)


@pytest.mark.parametrize("factors", [(2.0, 3.0), (1.5, 0.5)], ids=str)
def test_upsample(factors):
    x = half(2, 3, 4, 6)
    h, w = int(4 * factors[0]), int(6 * factors[1])
    consts = [const("h", "fp32", factors[0]), const("w", "fp32", factors[1])]
    rows, columns = np.arange(h) * 4 // h, np.arange(w) * 6 // w
    arguments = "x = x, scale_factor_height = h, scale_factor_width = w"
    moved(f"upsample_nearest_neighbor({arguments})", x[:, :, rows][..., columns], {"x": x}, consts)
    consts.append(const("a", "bool", False))
    for more, mode in (("", "STRICT_ALIGN_CORNERS"), (", align_corners = a", "UNALIGN_CORNERS")):
        reference = bilinear(x, mode, h, w)
        y = run_one(f"upsample_bilinear({arguments}{more})", reference.shape, {"x": x}, consts)
        close(y, reference, 1e-3)


def test_resize_nearest_neighbor():
    x = half(1, 2, 3, 5)
    consts = [const("h", "int32", 7), const("w", "int32", 3)]
    rows, columns = np.arange(7) * 3 // 7, np.arange(3) * 5 // 3
    moved(
        "resize_nearest_neighbor(x = x, target_size_height = h, target_size_width = w)",
        x[:, :, rows][..., columns],
        {"x": x},
        consts,
    )


RESAMPLE = (
    "resample(x = x, coordinates = c, sampling_mode = s, padding_mode = p, padding_value = v, "
    "coordinates_mode = m, align_corners = a)"
)
PADDED = {
    "constant": lambda i, n: i if 0 <= i < n else None,
    "border": lambda i, n: min(max(i, 0), n - 1),
    "reflection": lambda i, n: (list(range(n)) + list(range(n - 2, 0, -1)))[i % (2 * n - 2)],
    "symmetric": lambda i, n: (list(range(n)) + list(range(n - 1, -1, -1)))[i % (2 * n)],
}


@pytest.mark.parametrize("padding", PADDED)
def test_resample_of_whole_pixels(padding):
    x = half(2, 3, 4, 5)
    coordinates = np.stack(np.meshgrid(np.arange(-3, 9), np.arange(-2, 8)), -1)
    coordinates = np.broadcast_to(coordinates, (2, 10, 12, 2)).astype(np.float16)
    consts = [
        const("s", "string", "nearest"),
        const("p", "string", padding),
        const("v", "fp16", 0.5),
        const("m", "string", "unnormalized"),
        const("a", "bool", True),
    ]
    expected = np.full((2, 3, 10, 12), 0.5, np.float16)
    for h in range(10):
        for w in range(12):
            row, column = PADDED[padding](h - 2, 4), PADDED[padding](w - 3, 5)
            if row is not None and column is not None:
                expected[:, :, h, w] = x[:, :, row, column]
    moved(RESAMPLE, expected, {"x": x, "c": coordinates}, consts)
    consts[0] = const("s", "string", "bilinear")
    moved(RESAMPLE, expected, {"x": x, "c": coordinates}, consts)


@pytest.mark.parametrize(
    ("mode", "align", "corners"),
    [
        ("unnormalized", True, (0, 4)),
        ("normalized_minus_one_to_one", True, (-1, 1)),
        ("normalized_minus_one_to_one", False, (-0.8, 0.8)),
        ("normalized_zero_to_one", True, (0, 1)),
        ("normalized_zero_to_one", False, (0.1, 0.9)),
    ],
)
def test_resample_coordinates(mode, align, corners):
    x = half(1, 1, 5, 5)
    line = np.linspace(*corners, 9)
    coordinates = np.stack(np.meshgrid(line, line), -1)[None].astype(np.float16)
    consts = [
        const("s", "string", "bilinear"),
        const("p", "string", "border"),
        const("v", "fp16", 0.0),
        const("m", "string", mode),
        const("a", "bool", align),
    ]
    y = run_one(RESAMPLE, (1, 1, 9, 9), {"x": x, "c": coordinates}, consts)
    assert np.max(np.abs(y - bilinear(x, "STRICT_ALIGN_CORNERS", 9, 9))) < 0.02


def test_affine():
    x = half(2, 2, 5, 5)
    matrix = np.array([[1, 0, 0, 0, 1, 0], [0, 1, 0, -1, 0, 0]], np.float16)
    consts = [
        const("h", "int32", 5),
        const("w", "int32", 5),
        const("s", "string", "bilinear"),
        const("p", "string", "constant"),
        const("v", "fp16", 0.0),
        const("m", "string", "normalized_minus_one_to_one"),
        const("a", "bool", True),
    ]
    call = (
        "affine(x = x, transform_matrix = t, output_height = h, output_width = w, "
        "sampling_mode = s, padding_mode = p, padding_value = v, coordinates_mode = m, "
        "align_corners = a)"
    )
    y = run_one(call, x.shape, {"x": x, "t": matrix}, consts)
    np.testing.assert_array_equal(y[0], x[0])
    # Batch 1: x' = y and y' = -x, a quarter turn about the centre.
    np.testing.assert_array_equal(y[1], np.rot90(x[1], 1, (2, 1)))
    # Moved by half the width: what comes from outside is 0.
    moved_right = np.array([[1, 0, -1, 0, 1, 0]], np.float16)
    y = run_one(call, x.shape, {"x": x, "t": moved_right}, consts)
    np.testing.assert_array_equal(y[..., 2:], x[..., :3])
    assert not np.any(y[..., :2])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4, 5)], ids=str)
def test_pad_modes(mode, shape):
    x = half(*shape)
    pairs = [(2, 1), (0, 3)][-min(2, x.ndim) :]
    width = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    numpy_mode = {"replicate": "edge"}.get(mode, mode)
    consts = [const("p", "int32", np.array(pairs).ravel()), const("m", "string", mode)]
    moved("pad(x = x, pad = p, mode = m)", np.pad(x, width, numpy_mode), {"x": x}, consts)


def test_crop():
    x = half(2, 3, 6, 7)
    consts = [const("h", "int32", [1, 2]), const("w", "int32", [0, 3])]
    call = "crop(x = x, crop_height = h, crop_width = w)"
    moved(call, x[:, :, 1:-2, :-3], {"x": x}, consts)
    consts[1] = const("w", "int32", [2, 0])
    moved(call, x[:, :, 1:-2, 2:], {"x": x}, consts)


def test_crop_has_the_slice_hazard_of_the_m1():
    x = np.full((1, 1, 4), 5000, np.float16)
    text = program(
        {"x": ("fp16", x.shape)},
        [
            const("h", "int32", [0, 0]),
            const("w", "int32", [1, 0]),
            op("y", (1, 1, 3), "crop(x = x, crop_height = h, crop_width = w)"),
        ],
        ["y"],
    )
    assert np.all(np.isinf(mil.run(text, {"x": x}, chip="M1")["y"]))
    assert np.all(mil.run(text, {"x": x}, chip="M4")["y"] == 5000)


def to_batch(x, block, pad):
    n, c, h, w = x.shape
    x = np.pad(x, ((0, 0), (0, 0), pad[0], pad[1]))
    h, w = x.shape[2] // block[0], x.shape[3] // block[1]
    x = x.reshape(n, c, h, block[0], w, block[1])
    return x.transpose(3, 5, 0, 1, 2, 4).reshape(-1, c, h, w)


@pytest.mark.parametrize("block", [(2, 2), (3, 2)], ids=str)
def test_space_to_batch_and_back(block):
    x = half(2, 3, 5, 6)
    pad = [(0, 1), (2, 0)]
    deep = to_batch(x, block, pad)
    consts = [const("b", "int32", block), const("p", "int32", pad)]
    moved("space_to_batch(x = x, block_shape = b, paddings = p)", deep, {"x": x}, consts)
    moved("batch_to_space(x = x, block_shape = b, crops = p)", x, {"x": deep}, consts)


def test_gather_by_constant_positions():
    x = half(3, 4, 5)
    along_axis = np.random.default_rng(1).integers(-4, 4, (3, 2, 5))
    consts = [const("i", "int32", along_axis), const("a", "int32", 1)]
    expected = np.take_along_axis(x, along_axis % 4, 1)
    moved("gather_along_axis(x = x, indices = i, axis = a)", expected, {"x": x}, consts)
    places = np.array([[0, 1], [2, -1], [-1, 0], [0, 1]])
    consts = [const("i", "int32", places)]
    expected = x[places[:, 0], places[:, 1]]
    moved("gather_nd(x = x, indices = i)", expected, {"x": x}, consts)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("ascending", [False, True])
def test_topk(axis, ascending):
    x = half(6, 5, 7)
    order = np.argsort(x if ascending else -x.astype(np.float32), axis, kind="stable")
    order = np.take(order, [0, 1], axis)
    values = np.take_along_axis(x, order, axis)
    consts = [
        const("k", "int32", 2),
        const("a", "int32", axis),
        const("u", "bool", ascending),
        const("d", "string", "uint16"),
    ]
    dims = list(values.shape)
    line = (
        f"tensor<fp16, {dims}> v, tensor<uint16, {dims}> i = topk(x = x, k = k, axis = a, "
        'ascending = u, output_indices_dtype = d)[name = string("t")];'
    )
    text = program({"x": ("fp16", x.shape)}, [*consts, line], ["v", "i"])
    out = mil.run(text, {"x": x})
    np.testing.assert_array_equal(out["v"], values)
    np.testing.assert_array_equal(out["i"], order)


def test_topk_without_indices_and_unsorted():
    x = np.array([[3, 9, 1, 7]], np.float16)
    consts = [const("k", "int32", 2), const("n", "bool", False)]
    y = run_one("topk(x = x, k = k, return_indices = n)", (1, 2), {"x": x}, consts)
    np.testing.assert_array_equal(y, [[9, 7]])
    call = "topk(x = x, k = k, sort = n, return_indices = n)"
    x = np.array([[3, 7, 1, 9]], np.float16)
    np.testing.assert_array_equal(run_one(call, (1, 2), {"x": x}, consts), [[7, 9]])


def test_fills_and_ranges():
    x = half(2, 3)
    text = program(
        {"x": ("fp16", x.shape)},
        [
            const("s", "int32", [2, 3]),
            const("v", "fp16", 0.25),
            const("a", "fp16", 0.5),
            const("b", "fp16", 3.4),
            const("one", "fp16", 1.0),
            op("f", (2, 3), "fill(shape = s, value = v)"),
            op("z", (2, 3), "fill(shape = s)"),
            op("l", (2, 3), "fill_like(ref_tensor = x, value = v)"),
            op("r", (3,), "range_1d(start = a, end = b, step = one)"),
            op("y", (2, 3), "add(x = x, y = f)"),
            op("u", (2, 3), "add(x = l, y = z)"),
            op("w", (2, 3), "mul(x = f, y = r)"),
        ],
        ["y", "u", "w", "f"],
    )
    out = mil.run(text, {"x": x})
    np.testing.assert_allclose(out["y"], x.astype(np.float64) + 0.25, atol=2e-3)
    np.testing.assert_array_equal(out["u"], np.full((2, 3), 0.25))
    np.testing.assert_array_equal(out["w"], np.tile([0.125, 0.375, 0.625], (2, 1)))
    np.testing.assert_array_equal(out["f"], np.full((2, 3), 0.25))


def test_channel_functions():
    x = half(2, 3, 4, 5, low=-3, high=3)
    alpha, beta = half(3), half(3, low=0.5)
    x64 = x.astype(np.float64)
    a, b = (v.astype(np.float64)[:, None, None] for v in (alpha, beta))
    consts = [const("a", "fp16", alpha), const("b", "fp16", beta)]
    for numerics in ("exact", "fast"):
        y = run_one("prelu(x = x, alpha = a)", x.shape, {"x": x}, consts, numerics)
        close(y, np.where(x64 >= 0, x64, a * x64), 1e-3)
        call = "softplus_parametric(x = x, alpha = a, beta = b)"
        y = run_one(call, x.shape, {"x": x}, consts, numerics)
        close(y, a * np.log1p(np.exp(b * x64)), 3e-3, 0.1)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_local_response_norm(size):
    x = half(2, 6, 3, 4, low=-3, high=3)
    x64 = x.astype(np.float64)
    total = np.zeros(x.shape)
    for c in range(6):
        first, last = max(0, c - (size - 1) // 2), min(5, c + size // 2)
        total[:, c] = (x64[:, first : last + 1] ** 2).sum(1)
    consts = [
        const("s", "int32", size),
        const("a", "fp16", 0.5),
        const("b", "fp16", 0.75),
        const("k", "fp16", 2.0),
    ]
    call = "local_response_norm(x = x, size = s, alpha = a, beta = b, k = k)"
    for numerics in ("exact", "fast"):
        y = run_one(call, x.shape, {"x": x}, consts, numerics)
        close(y, x64 / (2 + 0.5 / size * total) ** 0.75, 4e-3)


def test_logical_and_on_the_m4():
    a, b = half(3, 4), half(4)
    text = program(
        {"a": ("fp16", a.shape), "b": ("fp16", b.shape)},
        [
            const("zero", "fp16", 0.0),
            op("c", a.shape, "greater(x = a, y = zero)", "bool"),
            op("d", b.shape, "greater(x = b, y = zero)", "bool"),
            op("e", a.shape, "logical_and(x = c, y = d)", "bool"),
            op("y", a.shape, "select(cond = e, a = a, b = zero)"),
        ],
        ["y"],
    )
    expected = np.where((a > 0) & (b > 0), a, 0)
    np.testing.assert_array_equal(mil.run(text, {"a": a, "b": b})["y"], expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_interleaved(axis):
    a, b, c = half(2, 3, 4), half(2, 3, 4), half(2, 3, 4)
    expected = np.stack([a, b, c], axis % 3 + 1).reshape(np.concatenate([a, b, c], axis).shape)
    moved(
        "concat(values = (a, b, c), axis = x, interleave = i)",
        expected,
        {"a": a, "b": b, "c": c},
        [const("x", "int32", axis), const("i", "bool", True)],
    )


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_split_into_equal_parts_at_every_rank(rank):
    x = half(*[2, 3, 2, 2, 6][-rank:])
    dims = [*x.shape[:-1], 2]
    line = (
        f"tensor<fp16, {dims}> p, tensor<fp16, {dims}> q, tensor<fp16, {dims}> r = "
        'split(x = x, num_splits = n, axis = a)[name = string("s")];'
    )
    text = program(
        {"x": ("fp16", x.shape)},
        [const("n", "int32", 3), const("a", "int32", -1), line],
        ["r", "p"],
    )
    out = mil.run(text, {"x": x})
    np.testing.assert_array_equal(out["p"], x[..., :2])
    np.testing.assert_array_equal(out["r"], x[..., 4:])
