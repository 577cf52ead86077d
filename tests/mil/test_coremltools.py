# SPDX-License-Identifier: Apache-2.0
"""Programs of coremltools, printed as MIL text, against coremltools' own value inference."""

import importlib.util
import logging
import warnings

import numpy as np
import pytest

from jax_ane import mil

if importlib.util.find_spec("coremltools") is None:
    pytest.skip("coremltools is not installed: pip install --group corpus", allow_module_level=True)
logging.disable(logging.WARNING)  # it warns of every library that it was not tested with
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types
    from coremltools_text import to_text
logging.disable(logging.NOTSET)

RNG = np.random.default_rng(5)
TARGETS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}


def built(fn, inputs, target):
    specs = [mb.TensorSpec(shape=a.shape, dtype=types.fp16) for a in inputs]
    names = ["x", "y", "z"][: len(specs)]
    # coremltools reads the argument names of the function.
    code = f"lambda {', '.join(names)}: fn({', '.join(names)})"
    program = mb.program(input_specs=specs, opset_version=TARGETS[target])
    return program(eval(code, {"fn": fn}))


def inferred(fn, inputs, target):
    """What coremltools itself computes, in float32, when all operands are constants."""
    kept = []

    @mb.program(
        input_specs=[mb.TensorSpec(shape=(1,), dtype=types.fp32)], opset_version=TARGETS[target]
    )
    def _(unused):
        out = fn(*(mb.const(val=a.astype(np.float32)) for a in inputs))
        kept.extend(out if isinstance(out, list | tuple) else [out])
        return mb.identity(x=unused)

    return [v.val for v in kept]


class Case:
    """One call: `fn(*operands, f)` where f makes a constant of the operands' type."""

    def __init__(self, fn, *shapes, low=-2.0, high=2.0, first=15, tolerance=2e-3):
        self.fn, self.shapes, self.range = fn, shapes, (low, high)
        self.first, self.tolerance = first, tolerance

    def operands(self):
        return [RNG.uniform(*self.range, s).astype(np.float16) for s in self.shapes]


def unary(name, low=-2.0, high=2.0, tolerance=2e-3, **more):
    return Case(
        lambda x, f: getattr(mb, name)(x=x, **{k: f(v) for k, v in more.items()}),
        (2, 3, 4, 5),
        low=low,
        high=high,
        tolerance=tolerance,
    )


def binary(name, *shapes, low=-2.0):
    return Case(lambda x, y, f: getattr(mb, name)(x=x, y=y), *shapes, low=low)


def reduced(name, axes, keep, low=-2.0):
    return Case(
        lambda x, f: getattr(mb, name)(x=x, axes=axes, keep_dims=keep),
        (2, 3, 4, 5),
        low=low,
        tolerance=6e-3,
    )


CASES = {
    **{n: unary(n) for n in ("abs", "ceil", "floor", "exp", "exp2", "sign", "square", "relu")},
    **{n: unary(n) for n in ("relu6", "softsign", "sin", "cos", "atan")},
    **{n: unary(n, tolerance=1e-2) for n in ("tanh", "sigmoid", "erf", "softplus")},
    "round": unary("round", 0.1, 0.4),
    "sqrt": unary("sqrt", 0.1),
    "rsqrt": unary("rsqrt", 0.1, epsilon=1e-3),
    "log": unary("log", 0.1, epsilon=1e-3),
    "inverse": unary("inverse", 0.5, epsilon=1e-3),
    "clip": unary("clip", alpha=-0.5, beta=1.0),
    "threshold": unary("threshold", alpha=0.5),
    "elu": unary("elu", alpha=0.5, tolerance=1e-2),
    "leaky_relu": unary("leaky_relu", alpha=0.5),
    "thresholded_relu": unary("thresholded_relu", alpha=0.5),
    "clamped_relu": unary("clamped_relu", alpha=0.25, beta=1.0),
    "linear_activation": unary("linear_activation", alpha=0.25, beta=1.0),
    "sigmoid_hard": unary("sigmoid_hard", alpha=0.25, beta=0.5),
    "scaled_tanh": unary("scaled_tanh", alpha=0.5, beta=1.5, tolerance=1e-2),
    "gelu exact": Case(lambda x, f: mb.gelu(x=x, mode="EXACT"), (3, 7), tolerance=1e-2),
    "gelu tanh": Case(
        lambda x, f: mb.gelu(x=x, mode="TANH_APPROXIMATION"), (3, 7), tolerance=1e-2
    ),
    "prelu": Case(
        lambda x, f: mb.prelu(x=x, alpha=f([0.5, -1.0, 2.0])), (2, 3, 4, 1)
    ),
    "softplus_parametric": Case(
        lambda x, f: mb.softplus_parametric(x=x, alpha=f([0.5, 1.0, 2.0]), beta=f([1, 2, 0.5])),
        (2, 3, 4),
        tolerance=1e-2,
    ),
    **{n: binary(n, (2, 3, 4), (3, 1)) for n in ("add", "sub", "mul", "maximum", "minimum")},
    "real_div": binary("real_div", (2, 3, 4), (4,), low=0.5),
    "floor_div": binary("floor_div", (2, 3), (2, 3), low=0.5),
    "pow": binary("pow", (2, 3), (2, 3), low=0.5),
    "select": Case(
        lambda x, y, f: mb.select(cond=mb.greater(x=x, y=y), a=x, b=y), (2, 3), (2, 3)
    ),
    "select not less": Case(
        lambda x, y, f: mb.select(cond=mb.logical_not(x=mb.less_equal(x=x, y=y)), a=y, b=x),
        (2, 3),
        (3,),
    ),
    **{
        f"{n} {axes} {keep}": reduced(n, axes, keep)
        for n in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_l1_norm")
        for axes, keep in (([1, 3], True), ([-1], False))
    },
    "reduce_l2_norm": reduced("reduce_l2_norm", [2], True),
    "reduce_sum_square": reduced("reduce_sum_square", [0, 2], False),
    "reduce_log_sum": reduced("reduce_log_sum", [3], True, 0.1),
    "reduce_log_sum_exp": reduced("reduce_log_sum_exp", [3], True),
    "softmax": Case(lambda x, f: mb.softmax(x=x, axis=1), (2, 5, 3), tolerance=1e-2),
    "matmul": Case(
        lambda x, y, f: mb.matmul(x=x, y=y, transpose_y=True), (2, 3, 8), (2, 4, 8)
    ),
    "linear": Case(
        lambda x, f: mb.linear(
            x=x, weight=f(np.arange(24).reshape(4, 6) / 16), bias=f([1, 2, 3, 4])
        ),
        (3, 6),
    ),
    "transpose": Case(lambda x, f: mb.transpose(x=x, perm=[2, 0, -3, 3]), (2, 3, 4, 5)),
    "reshape": Case(lambda x, f: mb.reshape(x=x, shape=[4, -1]), (2, 3, 4)),
    "expand_dims": Case(lambda x, f: mb.expand_dims(x=x, axes=[0, -1]), (2, 3)),
    "squeeze": Case(lambda x, f: mb.squeeze(x=x, axes=[1]), (2, 1, 3, 1)),
    "squeeze all": Case(lambda x, f: mb.squeeze(x=x), (2, 1, 3, 1)),
    "flatten2d": Case(lambda x, f: mb.flatten2d(x=x, axis=2), (2, 3, 4)),
    "reverse": Case(lambda x, f: mb.reverse(x=x, axes=[0, -1]), (2, 3, 4)),
    "reverse all": Case(lambda x, f: mb.reverse(x=x), (2, 3)),
    "tile": Case(lambda x, f: mb.tile(x=x, reps=(2, 1, 3)), (2, 3, 4)),
    "concat": Case(lambda x, y, f: mb.concat(values=[x, y], axis=-1), (2, 3), (2, 4)),
    "stack": Case(lambda x, y, f: mb.stack(values=[x, y], axis=-1), (2, 3), (2, 3)),
    "split equal": Case(lambda x, f: mb.split(x=x, num_splits=3, axis=1), (2, 6)),
    "split sizes": Case(lambda x, f: mb.split(x=x, split_sizes=[1, 5], axis=-1), (2, 6)),
    "slice_by_size": Case(
        lambda x, f: mb.slice_by_size(x=x, begin=[0, 1, 2], size=[-1, 2, 1]), (2, 3, 4)
    ),
    "slice_by_index": Case(
        lambda x, f: mb.slice_by_index(
            x=x, begin=[0, 1, 3], end=[2, -1, 0], stride=[1, 1, -2],
            begin_mask=[True, False, False], end_mask=[False, True, False],
            squeeze_mask=[False, True, False],
        ),
        (2, 3, 4),
    ),
    "pad constant": Case(
        lambda x, f: mb.pad(x=x, pad=[1, 2, 0, 3], mode="constant", constant_val=f(0.0)), (2, 3, 4)
    ),
    "pad reflect": Case(lambda x, f: mb.pad(x=x, pad=[1, 2], mode="reflect"), (2, 3, 4)),
    "pad replicate": Case(lambda x, f: mb.pad(x=x, pad=[1, 2, 2, 0], mode="replicate"), (2, 3, 4)),
    "gather": Case(lambda x, f: mb.gather(x=x, indices=[2, 0, 1], axis=1), (2, 3, 4)),
    "gather_along_axis": Case(
        lambda x, f: mb.gather_along_axis(x=x, indices=[[1, 0, 1], [0, 0, 1]], axis=0), (2, 3)
    ),
    "topk": Case(lambda x, f: mb.topk(x=x, k=2, axis=-1)[0], (3, 7)),
    "topk ascending": Case(lambda x, f: mb.topk(x=x, k=5, axis=0, ascending=True)[0], (7, 3)),
    "fill": Case(
        lambda x, f: mb.add(x=x, y=mb.fill(shape=[2, 3], value=f(0.5))), (2, 3)
    ),
    "band of axes": Case(
        lambda x, y, f: mb.einsum(values=(x, y), equation="nchw,nwhu->nchu"),
        (1, 2, 3, 4),
        (1, 4, 3, 2),
    ),
}  # fmt: skip


WEIGHT = np.arange(2 * 3 * 3 * 3).reshape(2, 3, 3, 3) / 64 - 0.4
BYTES = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
HALF_SCALES = np.array([[0.5], [0.25], [1], [2]], np.float16)


def quantized(x, f):
    q = mb.quantize(input=x, scale=f(0.125), zero_point=np.int8(3), output_dtype="int8")
    return mb.dequantize(input=q, scale=f(0.125), zero_point=np.int8(3))


def affine(x, f):
    return mb.affine(
        x=x, transform_matrix=f([[1, 0, 0.5, 0, 1, 0]]), output_height=3, output_width=4,
        sampling_mode="bilinear", padding_mode="constant", padding_value=f(0.0),
        coordinates_mode="normalized_minus_one_to_one", align_corners=True,
    )  # fmt: skip


# Calls whose values coremltools does not infer: their types are compared, their values elsewhere.
TYPED = {
    "gather_nd": Case(lambda x, f: mb.gather_nd(x=x, indices=[[1, 0], [0, 2]]), (2, 3, 4)),
    "depth_to_space": Case(lambda x, f: mb.depth_to_space(x=x, block_size=2), (1, 8, 2, 3)),
    "space_to_depth": Case(lambda x, f: mb.space_to_depth(x=x, block_size=2), (1, 2, 4, 6)),
    "pixel_shuffle": Case(lambda x, f: mb.pixel_shuffle(x=x, upscale_factor=2), (1, 8, 2, 3)),
    **{
        f"conv {pad} {stride} {groups}": Case(
            lambda x, f, p=pad, s=stride, g=groups: mb.conv(
                x=x, weight=f(WEIGHT), bias=f([1, 2]), pad_type=p, strides=[s, s], groups=1,
                pad=[1, 0, 2, 1] if p == "custom" else [0] * 4,
            ),
            (2, 3, 7, 8), first=16 if pad == "same_lower" else 15,
        )
        for pad in ("valid", "same", "same_lower", "custom") for stride, groups in ((1, 1), (2, 1))
    },
    "conv rows": Case(lambda x, f: mb.conv(x=x, weight=f(WEIGHT[..., 0])), (2, 3, 7)),
    "conv volumes": Case(
        lambda x, f: mb.conv(x=x, weight=f(WEIGHT[..., None])), (1, 3, 4, 5, 6)),
    **{
        f"conv_transpose {pad}": Case(
            lambda x, f, p=pad: mb.conv_transpose(
                x=x, weight=f(WEIGHT), pad_type=p, strides=[2, 2],
                pad=[1, 0, 1, 1] if p == "custom" else [0] * 4),
            (1, 2, 4, 5))
        for pad in ("valid", "same", "custom")
    },
    "conv_transpose output_shape": Case(
        lambda x, f: mb.conv_transpose(
            x=x, weight=f(WEIGHT), pad_type="custom", strides=[2, 2], pad=[1, 1, 1, 1],
            output_shape=[1, 3, 8, 10]),
        (1, 2, 4, 5)),
    **{
        f"{pool} {pad}": Case(
            lambda x, f, pool=pool, p=pad: getattr(mb, pool)(
                x=x, kernel_sizes=[3, 2], strides=[2, 2], pad_type=p,
                pad=[1, 1, 1, 1] if p == "custom" else [0] * 4,
                **({"ceil_mode": True} if p == "custom" else {})),
            (1, 2, 6, 7), first=16 if pad == "same_lower" else 15)
        for pool in ("max_pool", "avg_pool", "l2_pool")
        for pad in ("valid", "same", "same_lower", "custom")
    },
    "avg_pool of rows": Case(
        lambda x, f: mb.avg_pool(
            x=x, kernel_sizes=[3], pad_type="same", exclude_padding_from_average=True),
        (1, 2, 7)),
    "instance_norm": Case(
        lambda x, f: mb.instance_norm(x=x, gamma=f([1, 2, 3]), epsilon=f(1e-3)), (2, 3, 4, 5)),
    "layer_norm": Case(
        lambda x, f: mb.layer_norm(x=x, axes=[-1], gamma=f([1, 2, 3]), epsilon=f(1e-3)), (2, 3)),
    "batch_norm": Case(
        lambda x, f: mb.batch_norm(x=x, mean=f([1, 2, 3]), variance=f([1, 2, 3])), (2, 3, 4)),
    "l2_norm": Case(lambda x, f: mb.l2_norm(x=x, epsilon=f(1e-3)), (2, 3, 4)),
    "local_response_norm": Case(lambda x, f: mb.local_response_norm(x=x, size=3), (2, 3, 4)),
    "silu": Case(lambda x, f: mb.silu(x=x), (2, 3)),
    "upsample_nearest_neighbor": Case(
        lambda x, f: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2), (1, 2, 3)),
    "upsample_bilinear": Case(
        lambda x, f: mb.upsample_bilinear(
            x=x, scale_factor_height=1.5, scale_factor_width=2.0, align_corners=False),
        (1, 2, 4, 3)),
    "upsample_bilinear half": Case(
        lambda x, f: mb.upsample_bilinear(
            x=x, scale_factor_height=2, scale_factor_width=2, align_corners=False,
            half_pixel_centers=False),
        (1, 2, 4, 3), first=16),
    "resize_bilinear": Case(
        lambda x, f: mb.resize_bilinear(
            x=x, target_size_height=5, target_size_width=7, sampling_mode="OFFSET_CORNERS"),
        (1, 2, 4, 3)),
    "resize_nearest_neighbor": Case(
        lambda x, f: mb.resize_nearest_neighbor(x=x, target_size_height=5, target_size_width=7),
        (1, 2, 4, 3)),
    "resize": Case(
        lambda x, f: mb.resize(
            x=x, shape=[5, 0], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"),
        (1, 2, 4, 3), first=17),
    "affine": Case(affine, (2, 3, 4, 5)),
    "crop": Case(
        lambda x, f: mb.crop(x=x, crop_height=[1, 0], crop_width=[1, 2]), (1, 2, 3, 5)),
    "space_to_batch": Case(
        lambda x, f: mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 0], [0, 1]]),
        (1, 2, 3, 5)),
    "batch_to_space": Case(
        lambda x, f: mb.batch_to_space(x=x, block_shape=[2, 3], crops=[[1, 0], [0, 1]]),
        (6, 2, 3, 5)),
    "pixel_unshuffle": Case(
        lambda x, f: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)), (1, 2, 4, 6),
        first=16),
    "fill_like": Case(
        lambda x, f: mb.mul(x=x, y=mb.fill_like(ref_tensor=x, value=f(2.0))), (2, 3), first=16),
    "concat interleaved": Case(
        lambda x, y, f: mb.concat(values=[x, y], axis=1, interleave=True), (2, 3, 2), (2, 3, 2)),
    "quantize": Case(quantized, (2, 3), first=17),
    "attention": Case(
        lambda x, y, z, f: mb.scaled_dot_product_attention(query=x, key=y, value=z),
        (1, 2, 3, 8), (1, 2, 5, 8), (1, 2, 5, 4), first=18),
    "topk without indices": Case(
        lambda x, f: mb.topk(x=x, k=2, sort=False, return_indices=False), (3, 7), first=16),
    "topk uint16": Case(
        lambda x, f: mb.topk(x=x, k=2, output_indices_dtype="uint16"), (3, 7), first=17),
}  # fmt: skip


def compiled(case, target):
    """Returns the operands and the results' types by coremltools and values by the model."""
    operands = case.operands()
    program = built(lambda *a: case.fn(*a, constants(np.float16)), operands, target)
    text, blobs = to_text(program)
    assert mil.check(text, blobs=blobs) == [], text
    inputs = dict(zip(["x", "y", "z"], operands, strict=False))
    shapes = [tuple(v.shape) for v in program.functions["main"].outputs]
    results = list(mil.run(text, inputs, blobs=blobs).values())
    assert [r.shape for r in results] == shapes
    return operands, results


@pytest.mark.parametrize(
    ("name", "target"), [(n, t) for n, c in TYPED.items() for t in TARGETS if t >= c.first]
)
def test_types_are_those_of_coremltools(name, target):
    _, results = compiled(TYPED[name], target)
    assert all(np.all(np.isfinite(r)) for r in results)


def constants(dtype):
    return lambda value: dtype(value) if np.isscalar(value) else np.asarray(value, dtype)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_coremltools(name, target):
    case = CASES[name]
    operands, results = compiled(case, target)
    references = inferred(lambda *a: case.fn(*a, constants(np.float32)), operands, target)
    assert len(results) == len(references)
    for result, reference in zip(results, references, strict=True):
        assert reference is not None
        scale = max(1.0, float(np.max(np.abs(reference))))
        worst = np.max(np.abs(result.astype(np.float64) - reference)) / scale
        assert worst <= case.tolerance


COMPRESSED = {
    "affine": (16, lambda: mb.constexpr_affine_dequantize(
        quantized_data=BYTES, zero_point=np.int8(1), scale=HALF_SCALES[:, 0], axis=0)),
    "palette of ios16": (16, lambda: mb.constexpr_lut_to_dense(
        indices=np.array([228, 27, 57], np.uint8), lut=np.array([1, 2, 4, 8], np.float16),
        shape=np.array([4, 3], np.uint32))),
    "sparse of ios16": (16, lambda: mb.constexpr_sparse_to_dense(
        nonzero_data=np.arange(1, 8, dtype=np.float16), mask=np.array([0b01011011, 0b00001010],
        np.uint8), shape=np.array([4, 3], np.uint32))),
    "int8 blocks": (18, lambda: mb.constexpr_blockwise_shift_scale(
        data=BYTES, scale=HALF_SCALES)),
    "int4 blocks": (18, lambda: mb.constexpr_blockwise_shift_scale(
        data=BYTES.astype(types.np_int4_dtype), scale=HALF_SCALES)),
    "palette of ios18": (18, lambda: mb.constexpr_lut_to_dense(
        indices=(np.abs(BYTES) % 4).astype(types.np_uint2_dtype),
        lut=np.arange(8, dtype=np.float16).reshape(2, 1, 4, 1))),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_weights_are_those_of_coremltools(name):
    first, make = COMPRESSED[name]
    target = 18 if first == 18 else 16
    expected = []

    def fn(x):
        weight = make()
        expected.append(np.asarray(weight.op.materialized_val_inference()))
        return mb.add(x=x, y=weight)

    program = built(fn, [np.zeros((4, 3), np.float16)], target)
    text, blobs = to_text(program)
    assert mil.check(text, blobs=blobs) == [], text
    (y,) = mil.run(text, {"x": np.zeros((4, 3))}, blobs=blobs).values()
    np.testing.assert_array_equal(y, expected[-1].astype(np.float16))
    assert np.any(y != 0)
