# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes a Flax NNX model on the ane device: a trained backbone, frozen, with a new head.

`python finetune_digits.py [--device cpu] [--numerics fast] [--epochs N] [--checkpoint-dir FOLDER]`

A small CNN learns the digits 0 to 4 of scikit-learn's 1,797 scans. Then its convolutions are
frozen, the dense layers start anew, and only they learn the digits 5 to 9. For comparison the same
layers are trained on convolutions that never learned anything.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jax_ane
from jax_ane import demo, precision, training
from jax_ane.adapters import nnx as ane_nnx

BATCH = 32
BACKBONE = "^conv"


def loss_fn(model: demo.CNN, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns cross-entropy and the share of right answers."""
    logits = model(batch["image"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return losses.mean(), {"accuracy": (logits.argmax(-1) == batch["label"]).mean()}


def batches(images: np.ndarray, labels: np.ndarray, start: int) -> Iterator[dict[str, np.ndarray]]:
    """Shuffled batches from step `start` on: the same ones whether a run was interrupted or not."""
    per_epoch = len(images) // BATCH
    step = start
    while True:
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng([7, epoch]).permutation(len(images))
        chosen = order[at * BATCH : (at + 1) * BATCH]
        yield {"image": images[chosen], "label": labels[chosen]}
        step += 1


def of(images: np.ndarray, labels: np.ndarray, digits: range) -> tuple[np.ndarray, np.ndarray]:
    """The scans of some digits; their labels begin at 0."""
    chosen = np.isin(labels, digits)
    return images[chosen], labels[chosen] - digits.start


def train(
    name: str,
    model: demo.CNN,
    data: demo.Digits,
    digits: range,
    epochs: int,
    freeze: str | None = None,
    checkpoints: Path | None = None,
) -> tuple[demo.CNN, float]:
    """Trains and prints; returns the model and its accuracy on scans that it has not seen."""
    step = ane_nnx.train_step(
        model, optax.adam(2e-3), loss_fn, freeze=freeze, clamp=True,
        loss_scale=precision.DynamicLossScale(256.0),
    )  # fmt: skip
    images, labels = of(data.train_images, data.train_labels, digits)
    steps = epochs * (len(images) // BATCH)
    print(f"\n{name}: digits {digits.start} to {digits.stop - 1}, {len(images)} scans")
    if freeze is not None:
        print(step.parameters)
    print(training.estimate_memory(step.step, step.init().params, next(batches(images, labels, 0)),
                                   step.init().model_state))  # fmt: skip
    result = training.fit(
        step.step, step.init(), lambda start: batches(images, labels, start), steps=steps,
        checkpoint_dir=checkpoints, progress=sys.stderr.isatty(),
    )  # fmt: skip
    trained = step.model(result.state)
    images, labels = of(data.test_images, data.test_labels, digits)
    right = jax.jit(lambda x: trained(x).argmax(-1))(jnp.asarray(images)) == labels
    accuracy = float(right.mean())
    if result.history:
        first, last = result.history[0]["loss"], result.history[-1]["loss"]
        print(f"{result.steps} steps in {result.seconds:.1f} s, loss {first:.3f} -> {last:.3f}, "
              f"{result.total('skipped'):.0f} skipped, "
              f"{result.total('recompiled'):.0f} recompilations")  # fmt: skip
    else:
        print(f"the run in {checkpoints} was complete, with {result.steps} steps")
    print(f"{accuracy:.1%} of {len(labels)} unseen scans right")
    return trained, accuracy


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="ane", choices=("ane", "cpu"))
    parser.add_argument("--numerics", default="exact", choices=("exact", "fast"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--checkpoint-dir", type=Path, help="of the fine-tuning; it is resumed")
    options = parser.parse_args(argv)
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    data = demo.load_digits()
    device = jax.devices(options.device)[0]
    with jax.default_device(device), jax_ane.config(numerics=options.numerics):
        backbone, _ = train("backbone", demo.CNN(nnx.Rngs(0)), data, range(5), options.epochs)
        model = demo.CNN(nnx.Rngs(1))
        model.conv1, model.conv2 = backbone.conv1, backbone.conv2
        _, tuned = train("fine-tuning", model, data, range(5, 10), options.epochs, BACKBONE,
                         options.checkpoint_dir)  # fmt: skip
        _, random = train("on random convolutions", demo.CNN(nnx.Rngs(2)), data, range(5, 10),
                          options.epochs, BACKBONE)  # fmt: skip
    print(f"\non {device.device_kind}: {tuned:.1%} with the trained backbone, {random:.1%} without")
    return 0


if __name__ == "__main__":
    sys.exit(main())
