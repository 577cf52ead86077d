# SPDX-License-Identifier: Apache-2.0
"""Trains a CNN data-parallel over several devices, beside the same run on one device.

`python data_parallel.py [--devices 4] [--steps 20] [--batch 64] [--device cpu]`

The batch is split over the devices by a `NamedSharding`, weights and optimiser are on each; model,
loss and step are the same code on one device and on many. The data are scikit-learn's 1,797 scans
of digits. Printed are what each device computes on its engine and how far the two runs are apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jax_ane
from jax_ane import demo, precision, training


def init(seed: int) -> dict[str, jax.Array]:
    """Returns the weights at the start: kernels [height, width, in, out] and a matrix."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])), "float32")

    return {"conv1": normal(3, 3, 1, 16), "conv2": normal(3, 3, 16, 32), "head": normal(512, 10),
            "bias": jnp.zeros(10)}  # fmt: skip


def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=numbers)
    return jax.nn.relu(x)


def loss_fn(params: Any, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of the examples' cross-entropies, and each of them."""
    x = conv(conv(batch["image"], params["conv1"], 1), params["conv2"], 2)
    logits = x.reshape(len(x), -1) @ params["head"] + params["bias"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return losses.mean(), losses


def batches(data: demo.Digits, size: int, steps: int) -> list[dict[str, np.ndarray]]:
    """Draws the batches of a run."""
    random = np.random.default_rng(0)
    chosen = [random.permutation(len(data.train_images))[:size] for _ in range(steps)]
    return [{"image": data.train_images[i], "label": data.train_labels[i]} for i in chosen]


def new_step() -> training.TrainStep:
    return training.train_step(
        loss_fn, optax.adam(1e-3), clamp=True, loss_scale=precision.DynamicLossScale(256.0)
    )


def run(
    drawn: list[dict[str, np.ndarray]], for_batch: Any, for_state: Any
) -> tuple[training.TrainStep, training.TrainState, list[Any]]:
    """Trains; batches and state lie as the two shardings (or devices) say."""
    step = new_step()
    state = jax.device_put(step.init(init(0)), for_state)
    seen = []
    for batch in drawn:
        state, metrics = step(state, jax.device_put(batch, for_batch))
        seen.append(jax.device_get(metrics))
    return step, state, seen


def placement(step: training.TrainStep, state: Any, batch: Any) -> float:
    """Prints what a device has on its engine; returns the share of FLOPs."""
    report = jax_ane.explain(step, state, batch)
    heavy = [op for op in report.ops if op.op.endswith((".dot_general", ".convolution"))]
    on_ane = sum(op.placement == "ane" for op in heavy)
    print(f"a device: {report.ane_flop_fraction:.1%} of {report.placement.total_flops:,} FLOPs on "
          f"its engine in {len(report.programs)} programs, {on_ane} of {len(heavy)} products and "
          "convolutions")  # fmt: skip
    return report.ane_flop_fraction


def apart(one: Any, many: Any) -> float:
    """Returns the largest difference of two trees by the largest value of its leaf."""
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max() / max(np.abs(np.asarray(a)).max(), 1e-9))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True)
    )


def copies_are_equal(tree: Any) -> bool:
    """Whether every device has the same bits."""
    return all(
        np.array_equal(np.asarray(shard.data), np.asarray(leaf.addressable_shards[0].data))
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="ane", choices=("ane", "cpu"))
    parser.add_argument("--devices", type=int, default=4, help="how many")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64, help="examples of all devices together")
    options = parser.parse_args(argv)
    if min(options.devices, options.steps, options.batch) < 1:
        parser.error("--devices, --steps and --batch must be at least 1")
    if options.batch % options.devices:
        parser.error(f"--batch {options.batch} cannot be split evenly over {options.devices}")
    if options.device == "ane":  # software engines; before the first use of JAX
        jax_ane.config.update("num_devices", options.devices)
    else:
        jax.config.update("jax_num_cpu_devices", options.devices)
    devices = jax.devices(options.device)
    mesh = Mesh(np.array(devices), ("data",))
    split, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    drawn = batches(demo.load_digits(), options.batch, options.steps)
    print(f"{len(devices)} x {devices[0].device_kind}, {options.batch} examples a step")

    _, one, ones = run(drawn, devices[0], devices[0])
    before = jax_ane.stats().evaluations
    step, many, manys = run(drawn, split, everywhere)
    if options.device == "ane":
        evaluations = jax_ane.stats().evaluations - before
        share = placement(step, many, jax.device_put(drawn[0], split))
        print(f"all devices: {evaluations} evaluations of programs in {options.steps} steps")
        if share < 0.5 or not evaluations:
            print("data_parallel: the work is not on the engines", file=sys.stderr)
            return 1

    print("\n   step   one device  all devices  apart by")
    for number in sorted({0, *range(4, options.steps, 5), options.steps - 1}):
        a, b = float(ones[number].loss), float(manys[number].loss)
        print(f"{number + 1:7d}{a:13.6f}{b:13.6f}{abs(a - b) / a:10.1e}")
    same = np.array_equal(ones[0].aux, manys[0].aux)
    print(f"\nlosses of the first step's examples: {'bit-equal' if same else 'not bit-equal'}; "
          "their mean and the gradients are sums in another order")  # fmt: skip
    copies = "bit-equal" if copies_are_equal(many) else "NOT equal"
    print(f"weights after {options.steps} steps: apart by {apart(one.params, many.params):.1e}; "
          f"the devices' copies are {copies}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
