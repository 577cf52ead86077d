# SPDX-License-Identifier: Apache-2.0
"""Lowering of `convolution`: gathered taps and one matmul, or taps by elementwise arithmetic.

No chip is sure to take run-time weights in `conv` beyond batch 1 and one group, and in training
every weight is a run-time value. Where weights are constants (`jax_ane.config(weights="baked")`) it
is the chip's own `conv`; otherwise a convolution becomes the same contraction in two steps: slices
of the padded input, one per tap, side by side (the patches), and a matmul with the weights.

Four forms, chosen by which moves the least data:

* rows: patches [batch * out, taps * features] @ weights [taps * features, out features]
* columns: weights [out features, taps * features] @ patches [batch, taps * features, out], for
  data that has its features before the spatial axes (NCHW)
* outputs: for weight gradients, whose window is as large as an image and whose output is small:
  one slice per *output* position instead of per tap
* channels: for one feature a group (depthwise), where a matmul would have one column: slices times
  weights, added in pairs, so that fp16 rounds each output log2(taps) times and not taps times
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op
from jax_ane.compiler.lower import Context, lowers
from jax_ane.compiler.lower.dot import matmul
from jax_ane.compiler.lower.shape import pad_axes

_MIN_COLUMNS = 64  # below this many output positions the batched matmul of "columns" is too thin


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """A convolution's attributes. Axis tuples are (batch, feature, *spatial) of each tensor."""

    lhs_axes: tuple[int, ...]
    rhs_axes: tuple[int, ...]  # (out feature, in feature, *spatial)
    out_axes: tuple[int, ...]
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    reversal: tuple[bool, ...]
    feature_groups: int
    batch_groups: int

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.lhs_axes) - 2


def conv_spec(op: Op) -> ConvSpec:
    """Reads a `stablehlo.convolution`."""
    from jaxlib.mlir.dialects import stablehlo

    numbers = stablehlo.ConvDimensionNumbers(op.attr("dimension_numbers"))
    spatial = len(numbers.input_spatial_dimensions)

    def ints(name: str, default: int) -> tuple[int, ...]:
        return op.ints(name) if op.attr(name) is not None else (default,) * spatial

    padding = [int(v) for v in op.attr("padding")] if op.attr("padding") else [0] * (2 * spatial)
    reversal = op.attr("window_reversal")
    return ConvSpec(
        lhs_axes=(
            numbers.input_batch_dimension,
            numbers.input_feature_dimension,
            *numbers.input_spatial_dimensions,
        ),
        rhs_axes=(
            numbers.kernel_output_feature_dimension,
            numbers.kernel_input_feature_dimension,
            *numbers.kernel_spatial_dimensions,
        ),
        out_axes=(
            numbers.output_batch_dimension,
            numbers.output_feature_dimension,
            *numbers.output_spatial_dimensions,
        ),
        strides=ints("window_strides", 1),
        low=tuple(padding[0::2]),
        high=tuple(padding[1::2]),
        lhs_dilation=ints("lhs_dilation", 1),
        rhs_dilation=ints("rhs_dilation", 1),
        reversal=tuple(bool(v) for v in reversal) if reversal is not None else (False,) * spatial,
        feature_groups=int(op.attr("feature_group_count")),
        batch_groups=int(op.attr("batch_group_count")),
    )


def tap_count(op: Op, spec: ConvSpec) -> int:
    """Returns how many slices the lowering takes: taps or output positions, the fewer."""
    taps = math.prod(op.operands[1].tensor.shape[a] for a in spec.rhs_axes[2:])
    positions = math.prod(op.type.shape[a] for a in spec.out_axes[2:])
    return min(taps, positions)


@lowers("stablehlo.convolution")
def lower_convolution(context: Context, op: Op) -> mil.Value:
    conv = _Conv(context, op)
    if conv.is_the_chips:
        return conv.by_chip()
    if math.prod(conv.window) > math.prod(conv.out_spatial):
        return conv.by_outputs()
    if conv.is_depthwise:
        return conv.by_channels()
    batch, feature, *spatial = conv.spec.lhs_axes
    out_batch, out_feature, *out_spatial = conv.spec.out_axes
    channels_first = max(batch, feature) < min(spatial, default=9) and batch < feature
    channels_first_out = (
        max(out_batch, out_feature) < min(out_spatial, default=9) and out_batch < out_feature
    )
    plain = conv.spec.feature_groups == conv.spec.batch_groups == 1
    wide = math.prod(conv.out_spatial) >= _MIN_COLUMNS
    if channels_first and channels_first_out and plain and wide:
        return conv.by_columns()
    return conv.by_rows()


class _Conv:
    """One convolution being lowered."""

    def __init__(self, context: Context, op: Op) -> None:
        self.context = context
        self.op = op
        self.spec = spec = conv_spec(op)
        lhs, rhs = (v.tensor.shape for v in op.operands)
        out = op.type.shape
        self.batch, self.features = lhs[spec.lhs_axes[0]], lhs[spec.lhs_axes[1]]
        self.out_features, self.in_features = rhs[spec.rhs_axes[0]], rhs[spec.rhs_axes[1]]
        self.window = tuple(rhs[a] for a in spec.rhs_axes[2:])
        self.out_spatial = tuple(out[a] for a in spec.out_axes[2:])
        self.groups = max(spec.feature_groups, spec.batch_groups)
        self.is_depthwise = 1 < spec.feature_groups == self.features == self.out_features

    # -- operands ----------------------------------------------------------------

    def lhs(self, order: Sequence[int]) -> mil.Value:
        """Returns the input with its axes in `order`, spatial axes padded and dilated."""
        held = self.context.transpose(self.context.dense(self.op.operands[0]), order)
        low, high, gap = ([0] * len(order) for _ in range(3))
        for i, axis in enumerate(self.spec.lhs_axes[2:]):
            place = list(order).index(axis)
            low[place], high[place] = self.spec.low[i], self.spec.high[i]
            gap[place] = self.spec.lhs_dilation[i] - 1
        return pad_axes(self.context, held, low, high, gap)

    def rhs(self, order: str) -> mil.Value:
        """Returns the weights with axes in the order of letters o, i, s (s: all spatial)."""
        out, feature, *spatial = self.spec.rhs_axes
        axes = {"o": [out], "i": [feature], "s": spatial}
        perm = [axis for letter in order for axis in axes[letter]]
        return self.context.transpose(self.context.dense(self.op.operands[1]), perm)

    def taps(self) -> list[tuple[int, ...]]:
        """Returns every window offset, in the order of the weights' spatial axes."""
        ranges = [
            range(size)[::-1] if flipped else range(size)
            for size, flipped in zip(self.window, self.spec.reversal, strict=True)
        ]
        return list(itertools.product(*ranges))

    def windows(
        self,
        held: mil.Value,
        first: int,
        offsets: Sequence[tuple[int, ...]],
        scale: Sequence[int],
        size: Sequence[int],
        stride: Sequence[int],
    ) -> list[mil.Value]:
        """Slices the spatial axes (from axis `first`) once per offset."""
        pieces = []
        for offset in offsets:
            begin, extent, step = [0] * len(held.shape), list(held.shape), [1] * len(held.shape)
            for i, (o, s) in enumerate(zip(offset, scale, strict=True)):
                begin[first + i], extent[first + i] = o * s, size[i]
                step[first + i] = stride[i]
            pieces.append(self.context.slice(held, begin, extent, step))
        return pieces

    # -- the forms ---------------------------------------------------------

    @property
    def is_the_chips(self) -> bool:
        """Whether the chip's own convolution is it: of constant weights, over a plain image."""
        spec = self.spec
        return (
            self.op.operands[1].index in self.context.constants
            and spec.rank == 2
            and spec.batch_groups == 1
            and set(spec.lhs_dilation) == {1}
            and not any(spec.reversal)
            and min(*spec.low, *spec.high) >= 0
        )

    def by_chip(self) -> mil.Value:
        spec = self.spec
        held = self.context.dense(self.op.operands[0])
        product = self.context.op(
            "conv",
            {"x": self.context.transpose(held, spec.lhs_axes), "weight": self.rhs("ois")},
            strides=spec.strides,
            pad_type="custom",
            pad=(spec.low[0], spec.high[0], spec.low[1], spec.high[1]),
            dilations=spec.rhs_dilation,
            groups=spec.feature_groups,
        )
        return self._to_output(product, ["b", "o", "s"])

    def by_rows(self) -> mil.Value:
        context, spec = self.context, self.spec
        batch, feature, *spatial = spec.lhs_axes
        held = self.lhs((batch, *spatial, feature))
        pieces = self.windows(
            held, 1, self.taps(), spec.rhs_dilation, self.out_spatial, spec.strides
        )
        patches = context.concat(pieces, len(held.shape) - 1)
        taps, rows = math.prod(self.window), math.prod(self.out_spatial)
        x = context.reshape(patches, (1, self.batch * rows, taps * self.features))
        if self.groups == 1:
            product = matmul(context, x, self._weights_matrix())
        else:
            product = self._grouped(x, self._group_rows(x, taps, rows))
        out_batch = self.batch // spec.batch_groups
        shaped = context.reshape(product, (out_batch, *self.out_spatial, self.out_features))
        return self._to_output(shaped, ["b", "s", "o"])

    def by_columns(self) -> mil.Value:
        context, spec = self.context, self.spec
        batch, feature, *spatial = spec.lhs_axes
        held = self.lhs((batch, feature, *spatial))
        pieces = self.windows(
            held, 2, self.taps(), spec.rhs_dilation, self.out_spatial, spec.strides
        )
        patches = context.concat(pieces, 1)
        depth = math.prod(self.window) * self.features
        y = context.reshape(patches, (self.batch, depth, math.prod(self.out_spatial)))
        x = context.reshape(self.rhs("osi"), (1, self.out_features, depth))
        product = matmul(context, x, y)
        shaped = context.reshape(product, (self.batch, self.out_features, *self.out_spatial))
        return self._to_output(shaped, ["b", "o", "s"])

    def by_outputs(self) -> mil.Value:
        context, spec = self.context, self.spec
        batch, feature, *spatial = spec.lhs_axes
        held = self.lhs((feature, *spatial, batch))
        positions = list(itertools.product(*map(range, self.out_spatial)))
        starts = [
            tuple(p * stride for p, stride in zip(position, spec.strides, strict=True))
            for position in positions
        ]
        if any(spec.reversal):
            held, starts = self._flipped(held, starts)
        pieces = self.windows(held, 1, starts, (1,) * spec.rank, self.window, spec.rhs_dilation)
        patches = context.concat(pieces, len(held.shape) - 1)
        depth, count = self.features * math.prod(self.window), len(positions)
        weights = self.rhs("iso")
        if self.groups == 1:
            x = context.reshape(patches, (1, depth, count * self.batch))
            y = context.reshape(weights, (1, depth, self.out_features))
            product = matmul(context, x, y, transpose_x=True)
        else:
            product = self._grouped_outputs(patches, weights, depth, count)
        rows = self.batch // spec.batch_groups
        shaped = context.reshape(product, (*self.out_spatial, rows, self.out_features))
        return self._to_output(shaped, ["s", "b", "o"])

    def by_channels(self) -> mil.Value:
        context, spec = self.context, self.spec
        batch, feature, *spatial = spec.lhs_axes
        held = self.lhs((batch, *spatial, feature))
        pieces = self.windows(
            held, 1, self.taps(), spec.rhs_dilation, self.out_spatial, spec.strides
        )
        weights = context.reshape(self.rhs("sio"), (len(pieces), self.features))

        def product(tap: int) -> mil.Value:
            row = context.slice(weights, (tap, 0), (1, self.features))
            scale = context.reshape(row, (1,) * (len(held.shape) - 1) + (self.features,))
            return context.op("mul", {"x": pieces[tap], "y": scale})

        total = self._pairwise_sum(product, 0, len(pieces))
        return self._to_output(total, ["b", "s", "o"])

    # -- pieces ------------------------------------------------------------------

    def _pairwise_sum(self, term: Callable[[int], mil.Value], begin: int, end: int) -> mil.Value:
        """Adds terms [begin, end), each written only when it is needed: few are alive at once."""
        if end - begin == 1:
            return term(begin)
        middle = (begin + end + 1) // 2
        x = self._pairwise_sum(term, begin, middle)
        y = self._pairwise_sum(term, middle, end)
        return self.context.op("add", {"x": x, "y": y})

    def _weights_matrix(self) -> mil.Value:
        depth = math.prod(self.window) * self.in_features
        return self.context.reshape(self.rhs("sio"), (1, depth, self.out_features))

    def _flipped(
        self, held: mil.Value, starts: list[tuple[int, ...]]
    ) -> tuple[mil.Value, list[tuple[int, ...]]]:
        """Reverses the input instead of the window; a start then counts from the far end."""
        spec = self.spec
        axes = tuple(1 + i for i, flip in enumerate(spec.reversal) if flip)
        reach = [(w - 1) * d for w, d in zip(self.window, spec.rhs_dilation, strict=True)]
        moved = [
            tuple(
                held.shape[1 + i] - 1 - begin - reach[i] if spec.reversal[i] else begin
                for i, begin in enumerate(start)
            )
            for start in starts
        ]
        return self.context.op("reverse", {"x": held}, axes=axes), moved

    def _group_rows(self, x: mil.Value, taps: int, rows: int) -> mil.Value:
        """Returns patches as [groups, rows, depth of one group]."""
        context, groups = self.context, self.groups
        if self.spec.batch_groups > 1:
            return context.reshape(x, (groups, self.batch // groups * rows, taps * self.features))
        split = context.reshape(x, (self.batch * rows, taps, groups, self.features // groups))
        depth = taps * (self.features // groups)
        moved = context.transpose(split, (2, 0, 1, 3))
        return context.reshape(moved, (groups, self.batch * rows, depth))

    def _group_weights(self, weights: mil.Value, depth: int) -> mil.Value:
        """Returns weights [depth, groups * out] as [groups, depth, out]."""
        context, per_group = self.context, self.out_features // self.groups
        split = context.reshape(weights, (depth, self.groups, per_group))
        return context.transpose(split, (1, 0, 2))

    def _grouped(self, x: mil.Value, rows: mil.Value) -> mil.Value:
        depth = math.prod(self.window) * self.in_features
        y = self._group_weights(self.rhs("sio"), depth)
        product = matmul(self.context, rows, y)  # [groups, rows, out of one group]
        return self.context.transpose(product, (1, 0, 2))

    def _grouped_outputs(
        self, patches: mil.Value, weights: mil.Value, depth: int, count: int
    ) -> mil.Value:
        context, groups = self.context, self.groups
        if self.spec.batch_groups > 1:
            per_group = self.batch // groups
            split = context.reshape(patches, (depth, count, groups, per_group))
            moved = context.transpose(split, (2, 0, 1, 3))
            x = context.reshape(moved, (groups, depth, count * per_group))
            y = self._group_weights(weights, depth)
        else:
            x = context.reshape(patches, (groups, depth // groups, count * self.batch))
            y = self._group_weights(weights, depth // groups)
        product = matmul(context, x, y, transpose_x=True)
        return context.transpose(product, (1, 0, 2))

    def _to_output(self, held: mil.Value, order: list[str]) -> mil.Value:
        """Moves axes from `order` (b, o, s) to the op's own output order."""
        out_batch, out_feature, *out_spatial = self.spec.out_axes
        axes = {"b": [out_batch], "o": [out_feature], "s": out_spatial}
        current = [axis for letter in order for axis in axes[letter]]
        return self.context.transpose(held, [current.index(a) for a in range(len(current))])
