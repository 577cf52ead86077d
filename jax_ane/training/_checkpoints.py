# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run: written whole or not at all, verified when they are read.

Orbax writes them, in the background, under a name that they only get when they are complete. Each
holds a signature (paths and types of the state's leaves), a checksum a leaf, and the run's position
in its data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import warnings
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ane._errors import AneError, AneWarning
from jax_ane._tree_paths import describe, path_of


class CheckpointError(AneError):
    """A checkpoint could not be written or read."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint is of another model or optimiser."""


class CheckpointWarning(AneWarning):
    """A damaged checkpoint was passed over."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """What `Checkpoints.restore` found.

    Attributes:
        state: a state like the one it was asked for.
        position: steps taken, and batches consumed.
        notes: what was saved beside it.
    """

    state: Any
    position: int
    notes: dict[str, Any]


class Checkpoints:
    """A folder of checkpoints.

    Args:
        folder: made when it is not there.
        keep: the newest so many stay, and the best one by `score`.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> from jax_ane import training
        >>> with tempfile.TemporaryDirectory() as folder, training.Checkpoints(folder) as saved:
        ...     saved.save({"w": jnp.ones(3)}, position=7)
        ...     saved.wait()
        ...     found = saved.restore({"w": jnp.zeros(3)})
        >>> found.position, found.state["w"].tolist()
        (7, [1.0, 1.0, 1.0])
    """

    def __init__(self, folder: str | Path, keep: int = 3) -> None:
        if keep < 1:
            raise ValueError(f"keep={keep} must be at least 1")
        ocp = _orbax()
        self._folder = Path(folder).absolute()
        self._keep = keep
        self._scores: dict[int, float] = {}
        options = ocp.CheckpointManagerOptions(cleanup_tmp_directories=True)
        with _as_error(f"the checkpoint folder {self._folder} cannot be used"):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        for position in self.positions:
            with contextlib.suppress(Exception):
                score = self._notes(position)["score"]
                if score is not None:
                    self._scores[position] = score

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def positions(self) -> list[int]:
        """Steps of which there is a complete checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    @property
    def best(self) -> int | None:
        """The position of the checkpoint with the lowest score, or None."""
        return min(self._scores, key=lambda p: (self._scores[p], p)) if self._scores else None

    @property
    def newest(self) -> Path | None:
        """The folder of the newest complete checkpoint, or None."""
        positions = self.positions
        return self._folder / str(positions[-1]) if positions else None

    def save(
        self,
        state: Any,
        position: int,
        score: float | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Saves a state; the writing goes on in the background.

        Args:
            state: a pytree of arrays. It is copied before this returns.
            position: steps taken; saved again, it replaces what was there.
            score: the lower, the better; the best checkpoint is kept.
            notes: plain data (JSON) to be kept with it.

        Raises:
            CheckpointError: it, or the one before it, cannot be written. Older ones are intact.
        """
        ocp = _orbax()
        host = jax.tree.map(_to_host, state)
        meta = {
            "leaves": [
                {"path": path, "type": describe(leaf), "crc32": _checksum(leaf)}
                for path, leaf in _named(host)
            ],
            "score": score if score is not None and np.isfinite(score) else None,
            "notes": notes or {},
        }
        json.dumps(meta)  # a TypeError here names the user's note
        with _as_error(f"the checkpoint before {position} in {self._folder} was not written"):
            self._manager.wait_until_finished()
        with _as_error(f"checkpoint {position} in {self._folder} cannot be written"):
            if position in self._manager.all_steps():
                self._manager.delete(position)
            args = ocp.args.Composite(
                state=ocp.args.StandardSave(_containers(host)), meta=ocp.args.JsonSave(meta)
            )
            self._manager.save(position, args=args, force=True)
        if meta["score"] is not None:
            self._scores[position] = meta["score"]
        self._drop_old(position)

    def wait(self) -> None:
        """Returns when everything is written.

        Raises:
            CheckpointError: it cannot be.
        """
        with _as_error(f"the newest checkpoint in {self._folder} cannot be written"):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def restore(self, like: Any, position: int | None = None) -> Restored | None:
        """Returns the newest checkpoint that is whole, or None when there is none.

        Args:
            like: a state of the same model and optimiser: its structure, types and devices.
            position: the one to read, instead of the newest.

        Raises:
            CheckpointMismatchError: the newest is of another model or optimiser.
            CheckpointError: `position` is not there, or damaged.

        Warns:
            CheckpointWarning: a damaged one was passed over.
        """
        self.wait()
        if position is not None:
            if position not in self.positions:
                raise CheckpointError(
                    f"there is no checkpoint {position} in {self._folder}; there are "
                    f"{self.positions}"
                )
            try:
                return self._read(like, position)
            except CheckpointMismatchError:
                raise
            except Exception as error:
                raise CheckpointError(
                    f"checkpoint {position} in {self._folder} is damaged: {error}"
                ) from error
        for candidate in reversed(self.positions):
            try:
                return self._read(like, candidate)
            except CheckpointMismatchError:
                raise
            except Exception as error:
                warnings.warn(
                    f"checkpoint {candidate} in {self._folder} is damaged and passed over: "
                    f"{_first_line(error)}",
                    CheckpointWarning,
                    stacklevel=2,
                )
        return None

    def close(self) -> None:
        """Waits, and lets the folder go.

        Raises:
            CheckpointError: what was to be written cannot be.
        """
        try:
            self.wait()
        finally:
            with _as_error(f"the checkpoint folder {self._folder} cannot be closed"):
                self._manager.close()

    def _notes(self, position: int) -> dict[str, Any]:
        ocp = _orbax()
        return self._manager.restore(
            position, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
        )["meta"]

    def _read(self, like: Any, position: int) -> Restored:
        ocp = _orbax()
        meta = self._notes(position)
        saved = {row["path"]: row["type"] for row in meta["leaves"]}
        _check_signature(saved, like, position)
        target = jax.tree.map(_blank, _containers(like))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        found = self._manager.restore(position, args=args)["state"]
        leaves = [np.asarray(leaf, order="C") for leaf in jax.tree.leaves(found)]
        for row, leaf in zip(meta["leaves"], leaves, strict=True):
            if _checksum(leaf) != row["crc32"]:
                raise CheckpointError(f"{row['path']} does not have the checksum it was saved with")
        wanted, tree = jax.tree.flatten(like)
        placed = [_like(leaf, old) for leaf, old in zip(leaves, wanted, strict=True)]
        return Restored(jax.tree.unflatten(tree, placed), position, meta["notes"])

    def _drop_old(self, newest: int) -> None:
        older = [position for position in self.positions if position != newest]
        kept = {newest, self.best, *older[max(0, len(older) - self._keep + 1) :]}
        for position in self.positions:
            if position not in kept:
                with _as_error(f"old checkpoint {position} in {self._folder} cannot be removed"):
                    self._manager.delete(position)
                self._scores.pop(position, None)


@contextlib.contextmanager
def _as_error(what: str) -> Any:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{what}: {_first_line(error)}; checkpoints that were complete are intact"
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _orbax() -> Any:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            'checkpoints need orbax-checkpoint: pip install "jax-ane[train]"'
        ) from error
    logging.getLogger("absl").setLevel(max(logging.WARNING, logging.getLogger("absl").level))
    return ocp


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_host(leaf: Any) -> np.ndarray:
    # A copy: the state's own memory may be taken over by the next step while this is written.
    return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf, copy=True, order="C")


def _blank(leaf: Any) -> np.ndarray:
    shape = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.zeros(shape.shape, shape.dtype)


def _like(leaf: np.ndarray, old: Any) -> Any:
    """The saved values where and as what the old leaf was."""
    if not isinstance(old, jax.Array):
        return leaf
    committed = getattr(old, "committed", False)
    new = jax.device_put(leaf, old.sharding) if committed else jnp.asarray(leaf)
    return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old)) if _is_key(old) else new


def _containers(state: Any) -> dict[str, Any]:
    """The leaves by number: restored without the classes that the state is made of."""
    return {f"{i:06}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}


def _named(state: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return [(path_of(keys), leaf) for keys, leaf in leaves]


def _checksum(leaf: np.ndarray) -> int:
    return zlib.crc32(leaf.reshape(-1).view(np.uint8).data)


def _check_signature(saved: dict[str, str], like: Any, position: int) -> None:
    wanted = {path: describe(_blank(leaf)) for path, leaf in _named(like)}
    if saved == wanted:
        return
    differences = [
        f"{path}: saved {saved.get(path, 'nothing')}, wanted {wanted.get(path, 'nothing')}"
        for path in dict.fromkeys([*wanted, *saved])
        if saved.get(path) != wanted.get(path)
    ]
    more = f"\n  and {len(differences) - 5} more" if len(differences) > 5 else ""
    raise CheckpointMismatchError(
        f"checkpoint {position} is of another model or optimiser:\n  "
        + "\n  ".join(differences[:5])
        + more
        + "\ndo: build the state as in the run that saved it, or choose another folder"
    )
