# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reading digits on the Neural Engine
#
# **Cost: about a minute on two cores with 40 epochs (`JAX_ANE_DEMO_EPOCHS` sets the number), less
# than 2 GB of memory, no download.** Install with `pip install "jax-ane[demo,notebook]"`.
#
# jax-ane gives JAX a device called `ane`. Ordinary Flax and optax code runs on it: the parts of a
# program that Apple's Neural Engine can do become ANE programs, the rest runs on the CPU. On a
# machine without the engine, a software model of it runs the ANE programs with the chip's
# arithmetic. In this notebook a small CNN learns to read scanned digits on that device, next to the
# same training on `cpu`, and we look at what ran where and why.

# %%
import os
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from tqdm.auto import tqdm

import jax_ane
from jax_ane import demo

EPOCHS = int(os.environ.get("JAX_ANE_DEMO_EPOCHS", "40"))

# %% [markdown]
# ## The device
#
# JAX found the device by itself; the CPU stays its default until we ask. `info()` says which engine
# stands behind the name and why.

# %%
print(jax.devices("ane"), "default:", jax.default_backend())
jax_ane.info()

# %% [markdown]
# ## The data
#
# 1,797 scanned digits of 8 by 8 pixels ship with scikit-learn. A fifth is kept for the test.

# %%
digits = demo.load_digits()
print("train", digits.train_images.shape, "test", digits.test_images.shape)
figure, axes = plt.subplots(1, 10, figsize=(10, 1.4))
for axis, image, label in zip(axes, digits.train_images, digits.train_labels, strict=False):
    axis.imshow(image[..., 0], cmap="gray_r")
    axis.set_title(label)
    axis.axis("off")

# %% [markdown]
# ## The model
#
# Nothing in the model or in its train step knows about the ANE: two convolutions with pooling, two
# dense layers, optax's Adam. These are the demo's own pieces (`jax_ane/demo.py`).

# %%
import inspect

print(inspect.getsource(demo.CNN))
print(inspect.getsource(demo.train_step.__wrapped__))

# %% [markdown]
# ## Before training: what would go where?
#
# `explain` traces a function and reports, without running it, which ops would go to the ANE, which
# stay on the host, and why, each with the line of code that it comes from. The convolutions and
# dense layers, forward and backward, are ANE programs; the loss and Adam's update keep float32.

# %%
ane, cpu = demo.Run("ane", seed=0), demo.Run("cpu", seed=0)
report = ane.explain_step()
print(f"{100 * report.ane_flop_fraction:.2f} % of the FLOPs in {len(report.programs)} ANE programs")
report

# %% [markdown]
# ## Training, on both devices in turn
#
# Both runs start from the same weights and see the same batches.

# %%
steps = EPOCHS * (len(digits.train_images) // demo.BATCH)
jax_ane.reset_stats()
started = time.perf_counter()
for images, labels in tqdm(demo.batches(digits, EPOCHS, seed=0), total=steps, unit="step"):
    ane.step(images, labels)
    cpu.step(images, labels)
print(
    f"{steps} steps on each in {time.perf_counter() - started:.1f} s; median step: "
    f"ane {ane.median_ms:.2f} ms, cpu {cpu.median_ms:.2f} ms"
)

# %%
figure, axis = plt.subplots(figsize=(7, 3.5))
axis.plot(ane.losses, label="ane: fp16 storage, the chip's sums")
axis.plot(cpu.losses, "--", label="cpu: float32")
axis.set(xlabel="step", ylabel="loss", yscale="log")
axis.legend()
first = np.array(ane.losses[:10]), np.array(cpu.losses[:10])
print(
    f"largest relative distance in the first ten steps: "
    f"{100 * np.max(np.abs(first[0] - first[1]) / first[1]):.3f} %"
)

# %% [markdown]
# ## How well does it read?

# %%
predictions = ane.predict(digits.test_images)
right = predictions == digits.test_labels
print(
    f"accuracy on the held-out fifth: {100 * right.mean():.2f} % on ane, "
    f"{100 * (cpu.predict(digits.test_images) == digits.test_labels).mean():.2f} % on cpu"
)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (digits.test_labels, predictions), 1)
figure, axis = plt.subplots(figsize=(4.5, 4.5))
axis.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))
axis.imshow(confusion, cmap="Blues")
for row, column in np.argwhere(confusion):
    dark = confusion[row, column] > confusion.max() / 2
    color = "white" if dark else "black"
    axis.text(column, row, confusion[row, column], ha="center", va="center", color=color)

# %% [markdown]
# The digits that it misread, with what they are and what it took them for:

# %%
wrong = np.flatnonzero(~right)[:10]
figure, axes = plt.subplots(1, 10, figsize=(11, 1.6))
for axis in axes:
    axis.axis("off")
for axis, index in zip(axes, wrong, strict=False):
    axis.imshow(digits.test_images[index, :, :, 0], cmap="gray_r")
    axis.set_title(f"{digits.test_labels[index]} as {predictions[index]}", fontsize=9)

# %% [markdown]
# ## What ran
#
# The counters of this process: programs compiled once and evaluated at every step, bytes across the
# device's border, and why ops stayed on the host. After the first step nothing was compiled again.

# %%
stats = jax_ane.stats()
print(
    f"{stats.programs_compiled} programs compiled, {stats.evaluations} evaluations, "
    f"{stats.bytes_in / 1e6:.1f} MB in, {stats.bytes_out / 1e6:.1f} MB out"
)
for reason, count in sorted(stats.host_fallbacks.items(), key=lambda item: -item[1]):
    print(f"{count:5d} ops on the host: {reason}")

# %% [markdown]
# ## Two kinds of numerics
#
# `exact` follows the chip's sums bit for bit; `fast` keeps fp16 storage but sums in float32, which
# is quicker and close. The flag is read when a program is compiled; a change of it recompiles.

# %%
rng = np.random.default_rng(0)
a, b = (rng.standard_normal((256, 256)).astype(np.float32) / 16 for _ in range(2))
truth = a.astype(np.float64) @ b.astype(np.float64)
for numerics in ("exact", "fast"):
    with jax_ane.config(numerics=numerics), jax.default_device(jax.devices("ane")[0]):
        product = np.asarray(jax.jit(lambda x, y: jnp.dot(x, y))(a, b), np.float64)
    error = np.linalg.norm(product - truth) / np.linalg.norm(truth)
    print(f"{numerics}: relative error of a 256 x 256 product {error:.6e}")

# %% [markdown]
# An op that needs float32 says so the way JAX says it everywhere, and then stays on the host:

# %%
with jax.default_matmul_precision("highest"):
    kept = jax_ane.explain(lambda x, y: x @ y, a, b)
print(kept.ops[-1].placement, "because", kept.ops[-1].reason.text)
