# SPDX-License-Identifier: Apache-2.0
"""What training steps of Flax models share: which parameters are trained, a loss with extras."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ane._tree_paths import Freeze, path_of, trained
from jax_ane.training import TrainState, TrainStep


@dataclasses.dataclass(frozen=True)
class Parameters:
    """How much of a model is trained.

    Attributes:
        rows: (path, shape, elements, is trained) of each parameter.
    """

    rows: list[tuple[str, tuple[int, ...], int, bool]]

    @property
    def trainable(self) -> int:
        """Elements that are trained."""
        return sum(count for _, _, count, is_trained in self.rows if is_trained)

    @property
    def total(self) -> int:
        """All elements."""
        return sum(count for _, _, count, _ in self.rows)

    def __str__(self) -> str:
        width = max(len(path) for path, *_ in self.rows)
        lines = [
            f"{path:{width}}  {list(shape)!s:18}{count:12,}  {'trained' if chosen else 'frozen'}"
            for path, shape, count, chosen in self.rows
        ]
        frozen = self.total - self.trainable
        lines.append(f"trainable {self.trainable:,}, frozen {frozen:,}, total {self.total:,}")
        return "\n".join(lines)


class ModelStep:
    """A training step of a model.

    Attributes:
        step: the step that `training.fit` takes.
        parameters: what is trained.
    """

    def __init__(self, step: TrainStep, params: Any, freeze: Freeze) -> None:
        self.step = step
        leaves = jax.tree_util.tree_flatten_with_path(params)[0]
        chosen = jax.tree.leaves(trained(params, freeze))
        self.parameters = Parameters(
            [(path_of(keys), leaf.shape, int(np.size(leaf)), bool(is_trained))
             for (keys, leaf), is_trained in zip(leaves, chosen, strict=True)]
        )  # fmt: skip

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, Any]:
        """Takes a step; as a `TrainStep`."""
        return self.step(state, batch)

    def model(self, state: TrainState) -> Any:
        """Returns a model with a state's parameters and the rest of its values."""
        raise NotImplementedError

    def eval_fn(self, fn: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        """Returns an `eval_fn` for `training.fit` that calls `fn` with the model as it is then.

        Args:
            fn: `fn(model)` returns a loss, or a dict of numbers with `"loss"`. It decides whether
                the model behaves as in training (an NNX model's `model.eval()`).
        """
        start = jnp.int32(0)
        return lambda params, model_state: fn(
            self.model(TrainState(params, None, start, None, model_state))
        )


def loss_and_aux(out: Any) -> tuple[Any, Any]:
    """Returns what a loss function returned, `loss` or `(loss, aux)`, as a pair."""
    return out if isinstance(out, tuple) and len(out) == 2 else (out, None)
