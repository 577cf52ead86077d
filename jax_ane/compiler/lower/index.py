# SPDX-License-Identifier: Apache-2.0
"""Lowering of `gather` and `scatter` by indices that are known when the program is compiled.

Both are seen as one list of places along one axis: the indexed axes of the array, merged. What the
list picks is written as few slices, one for each run of places a fixed step apart, or, when the
list is irregular, as a product with a matrix of zeros and ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_ane.compiler import mil
from jax_ane.compiler.graph import Op, Value
from jax_ane.compiler.lower import MAX_RANK, NARROWEST_LIMIT, Context, lowers, mil_shape
from jax_ane.compiler.lower.reduce import region_op
from jax_ane.compiler.lower.shape import folded, significant_runs
from jax_ane.compiler.lower.windows import multiply_axis
from jax_ane.compiler.operands import known_value

MAX_PIECES = 64  # slices that one op may become; beyond, a matrix
MAX_MATRIX = 2**20  # its elements: 2 MB

COMBINERS = {
    "stablehlo.add": "add",
    "stablehlo.maximum": "maximum",
    "stablehlo.minimum": "minimum",
    "stablehlo.multiply": "mul",
}

Label = tuple[str, int]  # an axis: ("array", its number) or ("batch", number among the indices')


@dataclasses.dataclass(frozen=True)
class Indexing:
    """What a gather reads, or a scatter writes, of an array.

    Attributes:
        shape: the array's.
        merged: the axes along which `places` counts, in order.
        places: where the elements lie along the merged axes, as one axis; -1 is nowhere.
        labels: the axes of what is read or written, as it is with `places` as one axis.
        extents: the extent of each of `labels`.
        outside: the labels of the other side's axes, in its own order.
        begin: where the one window begins, if there is just one.
        sizes: of a window, for each of the array's axes.
        is_cut: whether a window lies outside in part.
    """

    shape: tuple[int, ...]
    merged: tuple[int, ...]
    places: np.ndarray
    labels: tuple[Label, ...]
    extents: tuple[int, ...]
    outside: tuple[Label, ...]
    begin: tuple[int, ...] | None
    sizes: tuple[int, ...]
    is_cut: bool

    @property
    def is_contiguous(self) -> bool:
        """Whether the merged axes are neighbours, so that merging moves no data."""
        return all(b == a + 1 for a, b in zip(self.merged, self.merged[1:], strict=False))

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes that lie before the merged ones."""
        return tuple(range(self.merged[0])) if self.merged and self.is_contiguous else ()

    @property
    def rest(self) -> tuple[int, ...]:
        """The axes that lie behind the merged ones, or are put there."""
        return tuple(
            a for a in range(len(self.shape)) if a not in self.lead and a not in self.merged
        )

    @property
    def view(self) -> tuple[int, int, int]:
        """The array's shape as (before, merged, behind)."""
        parts = (self.lead, self.merged, self.rest)
        before, along, behind = (math.prod(self.shape[a] for a in axes) for axes in parts)
        return before, along, behind

    @property
    def moves(self) -> list[tuple[int, int]]:
        """The runs of `labels` that `outside` keeps together: (first label, elements)."""
        return significant_runs(self._order, self.extents)

    @property
    def _order(self) -> list[int]:
        """The labels in the order of `outside`; those that it lacks, all of one element, last."""
        order = [self.labels.index(label) for label in self.outside]
        return order + [i for i in range(len(self.labels)) if i not in order]


def gather_indexing(op: Op) -> Indexing | None:
    """Returns what a gather reads, or None when that is known only at run time."""
    from jaxlib.mlir.dialects import stablehlo

    numbers: Any = stablehlo.GatherDimensionNumbers(op.attr("dimension_numbers"))
    return _indexing(
        op, op.type.shape, numbers.index_vector_dim, numbers.start_index_map,
        (numbers.operand_batching_dims, numbers.start_indices_batching_dims),
        numbers.collapsed_slice_dims, numbers.offset_dims, clamps=True,
    )  # fmt: skip


def scatter_indexing(op: Op) -> Indexing | None:
    """Returns what a scatter writes, or None when that is known only at run time."""
    from jaxlib.mlir.dialects import stablehlo

    numbers: Any = stablehlo.ScatterDimensionNumbers(op.attr("scatter_dimension_numbers"))
    return _indexing(
        op, op.operands[2].tensor.shape, numbers.index_vector_dim,
        numbers.scattered_dims_to_operand_dims,
        (numbers.input_batching_dims, numbers.scatter_indices_batching_dims),
        numbers.inserted_window_dims, numbers.update_window_dims, clamps=False,
    )  # fmt: skip


def _indexing(
    op: Op,
    windowed: tuple[int, ...],
    vector_dim: int,
    index_map: Sequence[int],
    batching_dims: tuple[Sequence[int], Sequence[int]],
    collapsed: Sequence[int],
    window_dims: Sequence[int],
    clamps: bool,
) -> Indexing | None:
    """Returns where an op's indices point, or None when they are known only at run time.

    Args:
        op: its first operand is the array, its second holds the indices.
        windowed: the shape of what is read or written.
        vector_dim: the axis of the indices that holds one index's parts.
        index_map: for each part the axis of the array that it counts along.
        batching_dims: axes of the array, and the indices' axes that they go along with.
        collapsed: other axes of the array that windows are 1 long on and do not have.
        window_dims: the axes of `windowed` that windows do have, in the array's order.
        clamps: whether windows are moved inside, or left out.
    """
    starts, shape = known_value(op.operands[1]), op.operands[0].tensor.shape
    if starts is None:
        return None
    batching = dict(zip(*batching_dims, strict=True))
    dropped, window_dims = {*collapsed, *batching}, list(window_dims)
    extents_of_window = iter([windowed[axis] for axis in window_dims])
    sizes = [1 if axis in dropped else next(extents_of_window) for axis in range(len(shape))]
    if vector_dim == starts.ndim:
        starts = starts[..., None]
    starts = np.moveaxis(starts, vector_dim, -1).astype(np.int64)
    batch = starts.shape[:-1]
    merged = [axis for axis, extent in enumerate(shape) if sizes[axis] < extent or axis in batching]
    places, inside = np.zeros((), np.int64), np.ones((), bool)
    begins: dict[int, np.ndarray] = {}
    for i, axis in enumerate(merged):
        begin = np.zeros(batch, np.int64)
        if axis in batching:
            dim = batching[axis] - (batching[axis] > vector_dim)
            begin = begin + np.arange(batch[dim]).reshape(
                [-1 if d == dim else 1 for d in range(len(batch))]
            )
        elif axis in index_map:
            begin = starts[..., list(index_map).index(axis)]
        if clamps:
            begin = np.clip(begin, 0, shape[axis] - sizes[axis])
        begins[axis] = begin
        offset = np.arange(sizes[axis]).reshape([-1 if j == i else 1 for j in range(len(merged))])
        place = begin.reshape(*batch, *[1] * len(merged)) + offset
        inside = inside & (place >= 0) & (place < shape[axis])
        places = places * shape[axis] + place
    full = (*batch, *(sizes[axis] for axis in merged))
    places = np.broadcast_to(np.where(inside, places, -1), full)
    window_axes = tuple(range(len(batch), len(full)))
    is_cut = bool((inside.any(window_axes) != inside.all(window_axes)).any()) if merged else False
    within = [axis for axis in range(len(shape)) if axis not in dropped]
    batch_labels = iter([("batch", d) for d in range(len(batch))])
    outside = tuple(
        ("array", within[window_dims.index(d)]) if d in window_dims else next(batch_labels)
        for d in range(len(windowed))
    )
    indexing = Indexing(
        shape, tuple(merged), places.reshape(-1), (), (), outside, None, tuple(sizes), is_cut
    )
    extents: dict[Label, int] = {("array", axis): shape[axis] for axis in indexing.lead}
    extents |= {("batch", d): extent for d, extent in enumerate(batch)}
    extents |= {("array", axis): sizes[axis] for axis in merged}
    extents |= {("array", axis): shape[axis] for axis in indexing.rest}
    single = math.prod(batch) == 1
    return dataclasses.replace(
        indexing,
        labels=tuple(extents),
        extents=tuple(extents.values()),
        begin=tuple(int(begins[a].flat[0]) if a in begins else 0 for a in range(len(shape)))
        if single and bool(inside.all())
        else None,
    )


def folded_view(
    indexing: Indexing, along: int, limit: int = NARROWEST_LIMIT
) -> tuple[tuple[int, ...], int]:
    """Returns the array's shape with `along` elements for its merged axes, and which axis that is.

    The axes on either side are merged too, and cut in two where they are longer than the chip's
    longest.
    """
    before, _, behind = indexing.view
    lead = folded(before, limit)
    return (*lead, along, *folded(behind, limit)), len(lead)


# ---------------------------------------------------------------------------- runs


@dataclasses.dataclass(frozen=True)
class Run:
    """Places `first`, `first + step`, ... of a list, which `count` of its entries name."""

    first: int
    step: int
    count: int


def runs_of(places: np.ndarray) -> list[Run]:
    """Splits a list of places into runs a fixed step apart; places of -1 are runs of step 0."""
    runs: list[Run] = []
    steps = np.diff(places)
    changes = np.flatnonzero(np.diff(steps)) + 1  # where a step differs from the one before
    i = 0
    while i < len(places):
        if i == len(places) - 1:
            runs.append(Run(int(places[i]), 0, 1))
            break
        at = int(np.searchsorted(changes, i + 1))
        end = int(changes[at]) if at < len(changes) else len(steps)
        step, count = int(steps[i]), end - i + 1
        outside = places[i] < 0 or places[i + count - 1] < 0
        if (outside and step != 0) or (step < 0 and count == 2):
            step, count = 0, 1  # neither the step into nowhere nor a mere pair is worth a run
        runs.append(Run(int(places[i]), step, count))
        i += count
    return runs


def _take(context: Context, held: mil.Value, axis: int, run: Run) -> mil.Value:
    """Returns the run's elements along an axis."""

    def part(first: int, count: int, step: int) -> mil.Value:
        begin, size, stride = [0] * len(held.shape), list(held.shape), [1] * len(held.shape)
        begin[axis], size[axis], stride[axis] = first, count, step
        return context.slice(held, begin, size, stride)

    if run.step == 0:
        one = part(run.first, 1, 1)
        repeated = (*held.shape[:axis], run.count, *held.shape[axis + 1 :])
        return context.expand(one, repeated)
    if run.step > 0:
        return part(run.first, run.count, run.step)
    taken = part(run.first + (run.count - 1) * run.step, run.count, -run.step)
    return context.op("reverse", {"x": taken}, axes=(axis,))


def needs_matrix(indexing: Indexing, is_scatter: bool) -> bool:
    """Says whether the places are too irregular for slices, or written more than once."""
    if indexing.begin is not None:
        return False
    places = indexing.places
    if is_scatter:
        inside = places[places >= 0]
        if len(np.unique(inside)) < len(inside):
            return True
        places = _sources(indexing)
    return len(runs_of(places)) > MAX_PIECES


def _sources(indexing: Indexing) -> np.ndarray:
    """Returns for each place which entry of the list names it, or -1."""
    sources = np.full(indexing.view[1], -1)
    inside = indexing.places >= 0
    sources[indexing.places[inside]] = np.flatnonzero(inside)
    return sources


def _matrix(indexing: Indexing) -> np.ndarray:
    """Returns [places along the axis, entries of the list], 1 where an entry names a place."""
    matrix = np.zeros((indexing.view[1], len(indexing.places)), np.float32)
    inside = indexing.places >= 0
    np.add.at(matrix, (indexing.places[inside], np.flatnonzero(inside)), 1.0)
    return matrix


def _matrix_problem(indexing: Indexing) -> str:
    """Returns why no matrix can do it, or ""."""
    before, along, behind = indexing.view
    if along * len(indexing.places) > MAX_MATRIX:
        return f"a matrix of {along} by {len(indexing.places)} would have to pick them"
    if behind != 1 and max(before, behind) > NARROWEST_LIMIT:
        return "the axes beside the indexed ones are longer than chips allow"
    return ""


def gather_problem(indexing: Indexing) -> str:
    """Returns why a gather by known indices has no form, or ""."""
    if needs_matrix(indexing, is_scatter=False):
        return _matrix_problem(indexing) or _shape_problem(indexing)
    return _shape_problem(indexing)


def scatter_problem(op: Op, indexing: Indexing) -> str:
    """Returns why a scatter by known indices has no form, or ""."""
    combine = combiner(op)
    if combine is None:
        return "only a sum, product, maximum or minimum with what is there is known"
    if indexing.is_cut:
        return "a window lies outside of the array in part"
    inside = indexing.places[indexing.places >= 0]
    is_repeated = len(np.unique(inside)) < len(inside)
    if needs_matrix(indexing, is_scatter=True):
        if is_repeated and combine != "add":
            return "an element that is written twice is known for sums only"
        if combine not in ("add", ""):
            return f"the places lie in more than {MAX_PIECES} pieces"
        return _matrix_problem(indexing) or _shape_problem(indexing)
    return _shape_problem(indexing)


def _shape_problem(indexing: Indexing) -> str:
    if len(indexing.moves) > MAX_RANK:
        return "its axes would have to be moved as more than 5"
    alongs = (indexing.view[1], len(indexing.places))
    if max(max(folded_view(indexing, along)[0]) for along in alongs) > NARROWEST_LIMIT:
        return "merged, its axes are longer than chips allow"
    return ""


# ---------------------------------------------------------------------------- rules


@lowers("stablehlo.gather")
def lower_gather(context: Context, op: Op) -> mil.Value:
    if context.get(op.operands[0]).shape == ():
        return context.get(op.operands[0])
    indexing = gather_indexing(op)
    assert indexing is not None  # partitioning admits known indices only
    held = _number(context, op.operands[0])
    if indexing.begin is not None:
        taken = context.slice(held, indexing.begin, indexing.sizes)
        taken = _merged(context, taken, indexing)
    else:
        taken = _picked(context, _merged(context, held, indexing), indexing)
    moved = _moved_out(context, taken, indexing, mil_shape(op.type))
    return context.to_bool(moved) if op.type.dtype == "i1" else moved


def _number(context: Context, value: Value) -> mil.Value:
    held = context.dense(value)
    return context.to_fp16(held) if held.type.dtype == "bool" else held


def _merged(context: Context, held: mil.Value, indexing: Indexing) -> mil.Value:
    """Returns the array, or a window of it, with the indexed axes merged: see `folded_view`."""
    along = math.prod(held.shape[a] for a in indexing.merged)
    if indexing.shape:
        held = context.transpose(held, (*indexing.lead, *indexing.merged, *indexing.rest))
    return context.reshape(held, folded_view(indexing, along, context.axis_limit)[0])


def _picked(context: Context, held: mil.Value, indexing: Indexing) -> mil.Value:
    _, axis = folded_view(indexing, 1, context.axis_limit)
    if needs_matrix(indexing, is_scatter=False):
        picked = multiply_axis(context, held, axis, _matrix(indexing))
        assert picked is not None
        return picked
    runs = runs_of(indexing.places)
    return context.concat([_take(context, held, axis, run) for run in runs], axis)


def _moved_out(
    context: Context, held: mil.Value, indexing: Indexing, shape: tuple[int, ...]
) -> mil.Value:
    """Puts the axes of what was read into the result's order."""
    moves = indexing.moves
    order = sorted(range(len(moves)), key=lambda i: moves[i][0])
    if order == sorted(order):
        return context.reshape(held, shape)
    held = context.reshape(held, [moves[i][1] for i in order])
    return context.reshape(
        context.transpose(held, [order.index(i) for i in range(len(moves))]), shape
    )


def _moved_in(context: Context, held: mil.Value, indexing: Indexing) -> mil.Value:
    """Puts the axes of what is to be written into the array's order, as three axes."""
    moves = indexing.moves
    order = sorted(range(len(moves)), key=lambda i: moves[i][0])
    if order != sorted(order):
        held = context.reshape(held, [extent for _, extent in moves])
        held = context.transpose(held, order)
    view, _ = folded_view(indexing, len(indexing.places), context.axis_limit)
    return context.reshape(held, view)


def combiner(op: Op) -> str | None:
    """Returns the MIL op that joins old and new, "" where the new replaces, None if unknown."""
    block = op.mlir.regions[0].blocks[0]
    body = list(block.operations)
    if len(body) == 1 and list(body[0].operation.operands) == [block.arguments[1]]:
        return ""
    return COMBINERS.get(region_op(block) or "")


@lowers("stablehlo.scatter")
def lower_scatter(context: Context, op: Op) -> mil.Value:
    indexing, combine = scatter_indexing(op), combiner(op)
    assert indexing is not None and combine is not None
    old = _merged(context, _number(context, op.operands[0]), indexing)
    new = _moved_in(context, _number(context, op.operands[2]), indexing)
    if needs_matrix(indexing, is_scatter=True):
        written = _written_by_matrix(context, old, new, indexing, combine)
    else:
        written = _written_by_pieces(context, old, new, indexing, combine)
    order = (*indexing.lead, *indexing.merged, *indexing.rest)
    written = context.reshape(written, [indexing.shape[a] for a in order] or (1,))
    if indexing.shape:
        written = context.transpose(written, [order.index(a) for a in range(len(order))])
    return context.to_bool(written) if op.type.dtype == "i1" else written


def _written_by_pieces(
    context: Context, old: mil.Value, new: mil.Value, indexing: Indexing, combine: str
) -> mil.Value:
    _, axis = folded_view(indexing, 1, context.axis_limit)
    pieces: list[mil.Value] = []
    at = 0
    for run in runs_of(_sources(indexing)):
        kept = _take(context, old, axis, Run(at, 1, run.count))
        at += run.count
        if run.first < 0:
            pieces.append(kept)
            continue
        taken = _take(context, new, axis, run)
        pieces.append(context.op(combine, {"x": kept, "y": taken}) if combine else taken)
    return context.concat(pieces, axis)


def _written_by_matrix(
    context: Context, old: mil.Value, new: mil.Value, indexing: Indexing, combine: str
) -> mil.Value:
    _, axis = folded_view(indexing, 1, context.axis_limit)
    spread = multiply_axis(context, new, axis, _matrix(indexing).T)
    assert spread is not None
    if combine == "add":
        return context.op("add", {"x": old, "y": spread})
    named = np.zeros(indexing.view[1], np.float32)
    named[indexing.places[indexing.places >= 0]] = 1.0
    shape = [-1 if a == axis else 1 for a in range(len(old.shape))]
    chosen = context.to_bool(context.constant(named.reshape(shape)))
    return context.op("select", {"cond": chosen, "a": spread, "b": old})
