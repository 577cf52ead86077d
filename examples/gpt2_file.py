# SPDX-License-Identifier: Apache-2.0
"""GPT-2 weights in a safetensors file with Hugging Face's names: read, checked, written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

HEAD_WIDTH = 64  # of all published sizes
_PREFIX = "transformer."
_HEAD = "lm_head.weight"  # the embedding once more, in some files
_MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # constants, in some files


@dataclasses.dataclass(frozen=True)
class Gpt2:
    """The weights of a file.

    Attributes:
        params: float32, as `gpt2_model` has them.
        heads: of each attention.
        words, positions, width, depth: sizes that the shapes tell.
        prefix: of all names in the file, `"transformer."` or empty.
        others: what is in the file beside weights: masks and the tied head, by their names.
    """

    params: dict[str, Any]
    heads: int
    words: int
    positions: int
    width: int
    depth: int
    prefix: str
    others: dict[str, np.ndarray]


def load(file: Path, heads: int | None = None) -> Gpt2:
    """Reads a file and checks every name and shape.

    Args:
        file: matrices are [in, out], as the `Conv1D` layers of Hugging Face's GPT-2 have them.
        heads: of each attention; None takes a head for every 64 columns.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or no GPT-2 of known names; the message names the tensor.
    """
    tensors = _read(file)
    prefix = _PREFIX if any(name.startswith(_PREFIX) for name in tensors) else ""
    named = {name.removeprefix(prefix): array for name, array in tensors.items()}
    others = {name: named.pop(name) for name in list(named) if name == _HEAD or _is_mask(name)}
    shapes = _shapes(file, named)
    if unknown := sorted(named.keys() - shapes.keys()):
        raise ValueError(
            f"{file} has tensors that GPT-2 has not: {', '.join(unknown[:4])}; it is another model"
        )
    for name, shape in shapes.items():
        _check(file, name, named[name], shape)
    params: dict[str, Any] = {}
    for name in shapes:
        _put(params, name.split("."), np.asarray(named[name], np.float32))
    params["h"] = [params["h"][str(i)] for i in range(len(params["h"]))]
    words, width = shapes["wte.weight"]
    if _HEAD in others and not np.array_equal(others[_HEAD], named["wte.weight"]):
        raise ValueError(f"{file}: {_HEAD} is not wte.weight; only a tied head can be trained here")
    count = width // HEAD_WIDTH if heads is None else heads
    if count < 1 or width % count:
        asked = f"one for every {HEAD_WIDTH} columns" if heads is None else str(heads)
        raise ValueError(f"{file}: heads ({asked}) do not divide the width {width}: give --heads")
    positions = shapes["wpe.weight"][0]
    return Gpt2(params, count, words, positions, width, len(params["h"]), prefix, others)


def save(file: Path, model: Gpt2, params: Any) -> None:
    """Writes weights under the names of the file that they came from, as float32.

    Args:
        file: it is replaced once the new one is complete.
        model: what `load` returned.
        params: the weights to write instead of the model's.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    tensors = dict(model.others)
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        name = jax.tree_util.keystr(keys, simple=True, separator=".")
        tensors[name] = np.ascontiguousarray(leaf, np.float32)
    if _HEAD in tensors:
        tensors[_HEAD] = tensors["wte.weight"]
    # A file has the prefix on all names, or on all but the head's.
    named = {n if n == _HEAD else model.prefix + n: array for n, array in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    try:
        part.write_bytes(to_bytes(named, metadata={"format": "pt"}))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    file.open("rb").close()  # an OSError of its own kind where it cannot be read
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is cut off, damaged or no safetensors file: {error}") from error
    except TypeError as error:  # a dtype that NumPy lacks
        raise ValueError(f"{file} has a dtype that cannot be read: {error}") from error


def _is_mask(name: str) -> bool:
    return _MASKS.fullmatch(name) is not None


def _shapes(file: Path, named: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Returns which shape each tensor must have, after those of four tensors and the last block."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in named:
            raise ValueError(_missing(file, name, named))
        if named[name].ndim != 2:
            raise ValueError(f"{file}: {name} is {_written(named[name])}, not a matrix")
        return named[name].shape

    (words, width), (positions, _) = shape("wte.weight"), shape("wpe.weight")
    blocks = [int(m[1]) for name in named if (m := re.match(r"h\.(\d+)\.", name))]
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (words, width),
        "wpe.weight": (positions, width),
    }
    hidden = shape("h.0.mlp.c_fc.weight")[1] if blocks else 0
    layers = {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, hidden),
        "mlp.c_proj": (hidden, width),
    }
    for i in range(max(blocks, default=0) + 1):
        for layer, matrix in layers.items():
            shapes[f"h.{i}.{layer}.weight"] = matrix
            shapes[f"h.{i}.{layer}.bias"] = matrix[1:]
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{norm}.{part}": (width,) for part in ("weight", "bias")}
    shapes |= {f"ln_f.{part}": (width,) for part in ("weight", "bias")}
    for name in shapes:
        if name not in named:
            raise ValueError(_missing(file, name, named))
    return shapes


def _missing(file: Path, name: str, named: dict[str, np.ndarray]) -> str:
    there = ", ".join(sorted(named)[:4]) or "nothing"
    return f"{file} has no tensor {name}: it is no whole GPT-2 (there are {there}, ...)"


def _check(file: Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        turned = array.ndim == 2 and array.shape == shape[::-1]
        hint = "; matrices must be [in, out], transpose it" if turned else ""
        raise ValueError(f"{file}: {name} is {_written(array)}, not {list(shape)}{hint}")
    if not jnp.issubdtype(array.dtype, jnp.floating):  # NumPy takes bfloat16 for none
        raise ValueError(f"{file}: {name} is {_written(array)}, not floating-point numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{file}: {name} has values that are infinite or NaN")


def _written(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _put(tree: dict[str, Any], keys: list[str], leaf: np.ndarray) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    tree[keys[-1]] = leaf
