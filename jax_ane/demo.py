# SPDX-License-Identifier: Apache-2.0
"""The demo: a Flax NNX CNN learns scikit-learn's digits on `ane`, next to the same on `cpu`.

Ordinary Flax and optax code; the only line about the ANE is the device that it runs on. Both runs
start from the same weights and see the same batches, step by step in turn, so that their losses
and times can be compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jax_ane import config, explain, stats
from jax_ane.report import Report

BATCH = 64
HELD_OUT = 5  # one digit in five is kept for the test


class CNN(nnx.Module):
    """Two convolutions with average pooling, then two dense layers.

    Input: float32 [batch, 8, 8, 1] in [0, 1]; output: logits [batch, 10].
    """

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 64, kernel_size=(3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(64, 128, kernel_size=(3, 3), rngs=rngs)
        self.dense1 = nnx.Linear(512, 128, rngs=rngs)
        self.dense2 = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        pool = partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2))
        hidden = pool(nnx.relu(self.conv1(images)))
        hidden = pool(nnx.relu(self.conv2(hidden)))
        hidden = hidden.reshape(hidden.shape[0], -1)
        return self.dense2(nnx.relu(self.dense1(hidden)))


@nnx.jit
def train_step(
    model: CNN, optimizer: nnx.Optimizer, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """Takes one Adam step and returns the loss before it."""

    def loss_fn(model: CNN) -> jax.Array:
        logits = model(images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, gradients = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, gradients)
    return loss


@nnx.jit
def predict(model: CNN, images: jax.Array) -> jax.Array:
    """Returns the most likely digit of each image."""
    return model(images).argmax(-1)


@dataclasses.dataclass(frozen=True)
class Digits:
    """scikit-learn's 1,797 scanned digits: images float32 [n, 8, 8, 1] in [0, 1], labels int32."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits(seed: int = 0) -> Digits:
    """Loads the digits (they ship with scikit-learn) and keeps a fifth for the test."""
    from sklearn.datasets import load_digits as load

    bunch: Any = load()
    images = (bunch.images / 16.0).astype(np.float32)[..., None]
    labels = bunch.target.astype(np.int32)
    order = np.random.default_rng(seed).permutation(len(images))
    cut = len(images) // HELD_OUT
    test, train = order[:cut], order[cut:]
    return Digits(images[train], labels[train], images[test], labels[test])


class Run:
    """One training run on one device."""

    def __init__(self, platform: str, seed: int) -> None:
        self.device = jax.devices(platform)[0]
        self.losses: list[float] = []
        self.step_ms: list[float] = []
        with self._on_device():
            self.model = CNN(nnx.Rngs(seed))
            self.optimizer = nnx.Optimizer(self.model, optax.adam(1e-3), wrt=nnx.Param)

    def _on_device(self) -> contextlib.AbstractContextManager[Any]:
        return jax.default_device(self.device)

    def step(self, images: np.ndarray, labels: np.ndarray) -> None:
        with self._on_device():
            start = time.perf_counter()
            loss = train_step(self.model, self.optimizer, jnp.asarray(images), jnp.asarray(labels))
            self.losses.append(float(loss))
            self.step_ms.append(1e3 * (time.perf_counter() - start))

    def predict(self, images: np.ndarray) -> np.ndarray:
        with self._on_device():
            return np.asarray(predict(self.model, jnp.asarray(images)))

    def explain_step(self) -> Report:
        with self._on_device():
            images = jnp.zeros((BATCH, 8, 8, 1), jnp.float32)
            labels = jnp.zeros((BATCH,), jnp.int32)
            return explain(train_step, self.model, self.optimizer, images, labels)

    @property
    def median_ms(self) -> float:
        """Median step time after the first two steps, which compile."""
        return statistics.median(self.step_ms[2:] or self.step_ms)


@dataclasses.dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo measured; `to_dict` is its line of JSON."""

    accuracy: float
    cpu_accuracy: float
    loss_distance: float
    programs_compiled_after_first_step: int
    recompilations: int
    step_ms: float
    cpu_step_ms: float
    seconds: float
    numerics: str
    device_kind: str
    report: Report
    losses: list[float]
    cpu_losses: list[float]
    predictions: np.ndarray
    digits: Digits

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures that `--json` prints."""
        return {
            "accuracy": self.accuracy,
            "cpu_accuracy": self.cpu_accuracy,
            "loss_distance": self.loss_distance,
            "ane_flop_fraction": self.report.ane_flop_fraction,
            "programs": len(self.report.programs),
            "programs_compiled_after_first_step": self.programs_compiled_after_first_step,
            "recompilations": self.recompilations,
            "step_ms": self.step_ms,
            "cpu_step_ms": self.cpu_step_ms,
            "step_ratio": self.step_ms / self.cpu_step_ms,
            "seconds": self.seconds,
            "numerics": self.numerics,
            "device_kind": self.device_kind,
        }


def batches(digits: Digits, epochs: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields shuffled batches of `BATCH` images; an epoch's incomplete last one is left out."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(digits.train_images))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            picked = order[begin : begin + BATCH]
            yield digits.train_images[picked], digits.train_labels[picked]


def run(epochs: int = 40, seed: int = 0, progress: bool = True) -> DemoResult:
    """Trains on `ane` and on `cpu`, step by step in turn, and compares.

    Args:
        epochs: passes over the 1,438 training digits.
        seed: of the split, the weights and the shuffling.
        progress: show a bar on stderr.
    """
    from tqdm.auto import tqdm

    start = time.perf_counter()
    digits = load_digits(seed)
    ane, cpu = Run("ane", seed), Run("cpu", seed)
    after_first: tuple[int, int] | None = None
    total = epochs * (len(digits.train_images) // BATCH)
    bar = tqdm(batches(digits, epochs, seed), total=total, disable=not progress,
               desc="training", unit="step", file=sys.stderr)  # fmt: skip
    for images, labels in bar:
        ane.step(images, labels)
        if after_first is None:
            after_first = (stats().programs_compiled, stats().compilations)
        cpu.step(images, labels)
        bar.set_postfix(loss=f"{ane.losses[-1]:.4f}", cpu=f"{cpu.losses[-1]:.4f}", refresh=False)
    after_first = after_first or (0, 0)
    compiled = stats().programs_compiled - after_first[0]
    recompiled = stats().compilations - after_first[1]
    predictions = ane.predict(digits.test_images)
    cpu_predictions = cpu.predict(digits.test_images)
    distances = [abs(a - c) / abs(c) for a, c in zip(ane.losses[:10], cpu.losses[:10], strict=True)]
    return DemoResult(
        accuracy=float((predictions == digits.test_labels).mean()),
        cpu_accuracy=float((cpu_predictions == digits.test_labels).mean()),
        loss_distance=max(distances, default=0.0),
        programs_compiled_after_first_step=compiled,
        recompilations=recompiled,
        step_ms=ane.median_ms,
        cpu_step_ms=cpu.median_ms,
        seconds=time.perf_counter() - start,
        numerics=config.numerics,
        device_kind=ane.device.device_kind,
        report=ane.explain_step(),
        losses=ane.losses,
        cpu_losses=cpu.losses,
        predictions=predictions,
        digits=digits,
    )


def explain_arguments() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns the train step and example arguments, for `jax-ane explain demo`."""
    demo = Run("ane", 0)
    images = jnp.zeros((BATCH, 8, 8, 1), jnp.float32)
    labels = jnp.zeros((BATCH,), jnp.int32)
    return train_step, (demo.model, demo.optimizer, images, labels)


def plot(result: DemoResult, path: Path | None = None) -> Any:
    """Draws loss curves, confusion matrix and misread digits; saves a PNG if `path` is given."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    curves, matrix, misread = figure.subplots(1, 3)
    curves.plot(result.losses, label="ane")
    curves.plot(result.cpu_losses, "--", label="cpu, float32")
    curves.set(xlabel="step", ylabel="loss", yscale="log", title="Loss")
    curves.legend()
    _draw_confusion(matrix, result)
    _draw_misread(misread, result)
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def _draw_confusion(axes: Any, result: DemoResult) -> None:
    labels = result.digits.test_labels
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, result.predictions), 1)
    axes.imshow(counts, cmap="Blues")
    for row, column in np.argwhere(counts):
        dark = counts[row, column] > counts.max() / 2
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10),
             title=f"Accuracy {100 * result.accuracy:.2f} %")  # fmt: skip


def _draw_misread(axes: Any, result: DemoResult) -> None:
    wrong = np.flatnonzero(result.predictions != result.digits.test_labels)[:12]
    canvas = np.ones((3 * 10, 4 * 10))
    axes.axis("off")
    axes.set_title(f"Misread: {(result.predictions != result.digits.test_labels).sum()}")
    for place, index in enumerate(wrong):
        row, column = divmod(place, 4)
        canvas[row * 10 + 1 : row * 10 + 9, column * 10 + 1 : column * 10 + 9] = (
            1 - result.digits.test_images[index, :, :, 0]
        )
        caption = f"{result.digits.test_labels[index]} as {result.predictions[index]}"
        axes.text(column * 10 + 4.5, row * 10 + 10.2, caption, fontsize=8, ha="center")
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1)
