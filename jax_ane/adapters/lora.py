# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA) for any model that is a function of a tree of parameters.

A matrix W of shape [in, out] becomes W + (alpha / rank) * A @ B, with A [in, rank] and B
[rank, out]; only A and B are trained. The model itself does not change: `merge_lora` makes its
parameters, inside the loss function and at the end.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ane._files import written_whole
from jax_ane._tree_paths import Chosen, chooser, path_of

# `train_step(freeze=FREEZE)` trains the adapters alone.
FREEZE = "^base/"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LoraParams:
    """A model's parameters with adapters: a pytree.

    Attributes:
        base: the model's parameters, as they were.
        adapters: by the path of the matrix: `{"a": [..., in, rank], "b": [..., rank, out]}`,
            float32.
        alpha: adapters are multiplied by `alpha / rank`.
    """

    base: Any
    adapters: dict[str, dict[str, jax.Array]]
    alpha: float = dataclasses.field(metadata={"static": True})


def add_lora(
    params: Any,
    rank: int,
    targets: Chosen,
    alpha: float | None = None,
    seed: int = 0,
) -> LoraParams:
    """Returns parameters with adapters that change nothing yet: every B is zero.

    Args:
        params: a pytree of arrays.
        rank: of the adapters; 4 to 64 is usual.
        targets: which matrices: a regular expression searched in their paths (`"/(q|v)$"`), or a
            function of the path. Axes before the last two are batches.
        alpha: scale; None takes `rank`, so that A @ B is added as it is.
        seed: of A, which is N(0, 1 / in).

    Raises:
        ValueError: `targets` matches no matrix, or the rank is below 1 or above a matrix's sides.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jax_ane import training
        >>> from jax_ane.adapters import lora
        >>> params = lora.add_lora({"w": jnp.ones((8, 4)), "b": jnp.zeros(4)}, 2, "w$")
        >>> def loss_fn(params, x):
        ...     p = lora.merge_lora(params)
        ...     return jnp.mean((x @ p["w"] + p["b"]) ** 2)
        >>> step = training.train_step(loss_fn, optax.adam(0.1), freeze=lora.FREEZE)
        >>> state, metrics = step(step.init(params), jnp.ones((3, 8)))
        >>> sorted(state.params.adapters), bool((state.params.base["w"] == 1).all())
        (['w'], True)
    """
    if rank < 1:
        raise ValueError(f"rank={rank} must be at least 1")
    matrices = _matrices(params, targets)
    random = np.random.default_rng(seed)
    adapters = {}
    for path, matrix in matrices.items():
        *batch, inputs, outputs = matrix.shape
        if rank > min(inputs, outputs):
            raise ValueError(f"rank={rank} is above the sides of {path} {list(matrix.shape)}")
        a = random.standard_normal((*batch, inputs, rank), np.float32) / np.sqrt(inputs)
        adapters[path] = {
            "a": jnp.asarray(a, jnp.float32),
            "b": jnp.zeros((*batch, rank, outputs), jnp.float32),
        }
    return LoraParams(params, adapters, float(rank if alpha is None else alpha))


def merge_lora(params: LoraParams) -> Any:
    """Returns the model's parameters with the adapters added; for the loss, or to be kept.

    The sum is computed where it is called: in a loss function that is every step, at a cost of
    2 * in * out * rank operations a matrix.
    """

    def merged(keys: tuple[Any, ...], leaf: Any) -> Any:
        adapter = params.adapters.get(path_of(keys))
        if adapter is None:
            return leaf
        scale = params.alpha / adapter["a"].shape[-1]
        return leaf + (scale * (adapter["a"] @ adapter["b"])).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(merged, params.base)


def save_lora(file: str | Path, params: LoraParams) -> None:
    """Writes the adapters, without the model, as a safetensors file, whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before is intact.
    """
    from safetensors.numpy import save

    tensors = {
        f"{path}.{name}": np.asarray(array)
        for path, adapter in params.adapters.items()
        for name, array in adapter.items()
    }
    content = save(tensors, metadata={"format": "jax_ane.lora", "alpha": repr(params.alpha)})
    with written_whole(file) as opened:
        opened.write(content)


def load_lora(file: str | Path, params: Any) -> LoraParams:
    """Reads adapters for a model.

    Args:
        file: written by `save_lora`.
        params: the model's parameters.

    Raises:
        ValueError: the file is damaged, is no adapter file, or is of another model.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    Path(file).open("rb").close()  # an OSError of its own kind where it cannot be read
    try:
        with safe_open(file, framework="np") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or no safetensors file: {error}") from error
    if metadata.get("format") != "jax_ane.lora":
        raise ValueError(f"{file} holds no LoRA adapters of jax_ane")
    matrices = _matrices(params, lambda path: f"{path}.a" in tensors)
    adapters = {p: {n: jnp.asarray(tensors.pop(f"{p}.{n}")) for n in "ab"} for p in matrices}
    if tensors:
        raise ValueError(f"{file} is of another model, which has {', '.join(sorted(tensors)[:4])}")
    for path, matrix in matrices.items():
        a, b = adapters[path]["a"], adapters[path]["b"]
        if (*a.shape[:-1], b.shape[-1]) != matrix.shape or a.shape[-1] != b.shape[-2]:
            raise ValueError(
                f"{file} is of another model: {path} is {list(matrix.shape)}, its adapter "
                f"{list(a.shape)} times {list(b.shape)}"
            )
    return LoraParams(params, adapters, float(metadata["alpha"]))


def _matrices(params: Any, targets: Chosen) -> dict[str, Any]:
    chosen = chooser(targets)
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    found = {
        path_of(keys): leaf
        for keys, leaf in leaves
        if np.ndim(leaf) >= 2 and jnp.issubdtype(leaf.dtype, jnp.floating) and chosen(path_of(keys))
    }
    if not found:
        have = ", ".join([path_of(keys) for keys, leaf in leaves if np.ndim(leaf) >= 2][:8])
        raise ValueError(f"targets match none of the matrices: {have or 'there are none'}")
    return found
