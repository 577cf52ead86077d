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
# # Fine-tuning a Flax model on the Neural Engine
#
# **Cost: about a minute on two cores with 20 epochs (`JAX_ANE_DEMO_EPOCHS` sets the number), less
# than 2 GB of memory, no download.** Install with `pip install "jax-ane[demo,train,notebook]"`.
#
# You have a trained Flax model, a new task, and few examples of it. The usual recipe is to keep the
# trained layers as they are (the *backbone*), put new layers on top (the *head*), and train only
# those. Here the whole of it runs on jax-ane's device `ane`: the freezing, the training in fp16, a
# look at what ran where, and a file with the finished model.
#
# The backbone learns the digits 0 to 4. Then it is frozen, and the head learns the digits 5 to 9
# from ten scans of each.

# %%
import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

import jax_ane
from jax_ane import demo, precision, training
from jax_ane.adapters import nnx as ane_nnx

EPOCHS = int(os.environ.get("JAX_ANE_DEMO_EPOCHS", "20"))

# %% [markdown]
# From here on everything is on `ane`, unless we say otherwise.

# %%
ane, cpu = jax.devices("ane")[0], jax.devices("cpu")[0]
jax.config.update("jax_default_device", ane)
print(ane, "is the", ane.device_kind)

# %% [markdown]
# ## The data
#
# scikit-learn's 1,797 scanned digits of 8 by 8 pixels. The old task has about 700 scans; the new
# task has 50, and all the other scans of its digits are left for the test.

# %%
digits = demo.load_digits()
images = np.concatenate([digits.train_images, digits.test_images])
labels = np.concatenate([digits.train_labels, digits.test_labels])

old = digits.train_labels < 5
old_images, old_labels = digits.train_images[old], digits.train_labels[old]

train_rows = np.concatenate([np.flatnonzero(labels == digit)[:10] for digit in range(5, 10)])
test_rows = np.setdiff1d(np.flatnonzero(labels >= 5), train_rows)
new_images, new_labels = images[train_rows], labels[train_rows] - 5
test_images, test_labels = images[test_rows], labels[test_rows] - 5
print(f"old task: {len(old_images)} scans; new task: {len(new_images)}, test: {len(test_images)}")

# %% [markdown]
# ## Augmentation
#
# A scanner does not place each digit in the middle. What a model should not mind, it must see in
# training, so each time a scan is used it is moved by up to a pixel, made brighter or darker, and
# given some noise. This is NumPy on the way to the device: moving rows about is no work for the
# ANE.


# %%
def move(images, random):
    """Returns the images, each moved by up to one pixel in both directions."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = random.integers(0, 3, (len(images), 2))
    return np.stack([p[y : y + 8, x : x + 8] for p, (y, x) in zip(padded, corners, strict=True)])


def augment(images, random):
    brightness = random.uniform(0.85, 1.15, (len(images), 1, 1, 1))
    noise = random.normal(0, 0.03, images.shape)
    return np.clip(move(images, random) * brightness + noise, 0, 1).astype(np.float32)


def batches(images, labels, size, augmented=True, seed=0):
    """Yields batches for ever, shuffled anew in each epoch; the incomplete last one is left out."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(images))
        for begin in range(0, len(order) - size + 1, size):
            rows = order[begin : begin + size]
            shown = augment(images[rows], random) if augmented else images[rows]
            yield {"image": shown, "label": labels[rows]}


figure, axes = plt.subplots(1, 10, figsize=(10, 1.4))
axes[0].set_title("scan")
axes[1].set_title("augmented", loc="left")
shown = augment(new_images[[20] * 9], np.random.default_rng(0))
for axis, image in zip(axes, [new_images[20], *shown], strict=True):
    axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
    axis.axis("off")
# %% [markdown]
# For the test there is a second set: the same scans, moved. It shows what augmentation is for.

# %%
moved_images = move(test_images, np.random.default_rng(1))

# %% [markdown]
# ## The model
#
# Plain Flax NNX. Two convolutions are the backbone, two dense layers with dropout between them the
# head.


# %%
class Backbone(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(1, 32, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(32, 64, (3, 3), rngs=rngs)

    def __call__(self, images):
        hidden = nnx.avg_pool(nnx.relu(self.conv1(images)), (2, 2), strides=(2, 2))
        hidden = nnx.avg_pool(nnx.relu(self.conv2(hidden)), (2, 2), strides=(2, 2))
        return hidden.reshape(hidden.shape[0], -1)


class Classifier(nnx.Module):
    def __init__(self, rngs):
        self.backbone = Backbone(rngs)
        self.hidden = nnx.Linear(256, 64, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(64, 5, rngs=rngs)

    def __call__(self, images):
        hidden = nnx.relu(self.hidden(self.backbone(images)))
        return self.head(self.dropout(hidden))


def loss_fn(model, batch):
    logits = model(batch["image"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()


@nnx.jit
def predict(model, images):
    return model(images).argmax(-1)


def accuracy(model, images, labels):
    model.eval()  # no dropout
    return float((np.asarray(predict(model, images)) == labels).mean())


# %% [markdown]
# ## The old task
#
# `ane_nnx.train_step` makes one compiled step of a model, an optax optimiser and a loss function.
# Two of its options are there for fp16: `clamp` keeps activations inside its range, and a loss
# scale keeps small gradients from vanishing. `training.fit` is the loop, with its bar.


# %%
def make_step(model, **options):
    return ane_nnx.train_step(
        model, optax.adam(2e-3), loss_fn, clamp=True,
        loss_scale=precision.DynamicLossScale(256.0), **options,
    )  # fmt: skip


teacher = Classifier(nnx.Rngs(0))
step = make_step(teacher)
steps = EPOCHS * (len(old_images) // 32)
result = training.fit(step.step, step.init(), batches(old_images, old_labels, 32), steps=steps)
step.update(result.state)

old_test = digits.test_labels < 5
known = accuracy(teacher, digits.test_images[old_test], digits.test_labels[old_test])
print(f"digits 0 to 4: {100 * known:.1f} % of {old_test.sum()} unseen scans right")

# %% [markdown]
# ## The new task: a frozen backbone, a new head
#
# A fresh model takes over the trained backbone. `freeze` names what stays as it is, by a regular
# expression that is searched in the parameters' paths; the step's table shows what came of it.


# %%
def with_trained_backbone():
    model = Classifier(nnx.Rngs(1))
    model.backbone = nnx.clone(teacher.backbone)
    return model


FROZEN = "^backbone/"
model = with_trained_backbone()
step = make_step(model, freeze=FROZEN)
print(step.parameters)

# %% [markdown]
# ### What it will need in memory
#
# Frozen parameters have no gradients and no optimiser state. `estimate_memory` compiles the step
# and says what it takes before anything has run; it warns when that is more than is free.

# %%
batch = next(batches(new_images, new_labels, 25))
for name, candidate in (("all layers ", make_step(model)), ("head alone ", step)):
    start = candidate.init()
    print(name, training.estimate_memory(candidate.step, start.params, batch, start.model_state))

# %% [markdown]
# ### Is it really on the ANE?
#
# `explain` plans a function without running it. This one is the gradient of the head's parameters,
# as in the training step. The table has the op, the line of this notebook that it comes from, its
# place and the reason. The time above it is what these programs are estimated to take on the chip.

# %%
trained_part = nnx.All(nnx.Param, nnx.Not(nnx.PathContains("backbone")))
gradient = nnx.jit(nnx.grad(loss_fn, argnums=nnx.DiffState(0, trained_part)))
report = jax_ane.explain(gradient, model, batch)
print(f"{100 * report.ane_flop_fraction:.2f} % of the FLOPs in {len(report.programs)} ANE programs")
print("in fp16 this may go wrong:", report.hazards or "nothing that shows in the program")
report

# %% [markdown]
# ### Training
#
# A callback is called after each step; this one looks at both test sets now and then. Three runs:
# the recipe, the recipe without augmentation, and the same head on a backbone that never learned
# anything.


# %%
def fine_tune(model, freeze=FROZEN, augmented=True):
    step = make_step(model, freeze=freeze)
    seen = []

    def look(number, metrics, state):
        if number % EPOCHS == 0:  # ten times in the run
            now = step.model(state)
            plain, moved = (accuracy(now, x, test_labels) for x in (test_images, moved_images))
            seen.append((number, plain, moved))

    data = batches(new_images, new_labels, 25, augmented)
    result = training.fit(step.step, step.init(), data, steps=10 * EPOCHS, callbacks=[look])
    step.update(result.state)
    return result, np.array(seen)


runs = {
    "trained backbone": fine_tune(model),
    "without augmentation": fine_tune(with_trained_backbone(), augmented=False),
    "random backbone": fine_tune(Classifier(nnx.Rngs(1))),
}

# %%
figure, (losses, plain, moved) = plt.subplots(1, 3, figsize=(13, 3.5), layout="constrained")
for name, (result, seen) in runs.items():
    losses.plot([row["loss"] for row in result.history], label=name)
    plain.plot(seen[:, 0], seen[:, 1], "o-", label=name)
    moved.plot(seen[:, 0], seen[:, 2], "o-", label=name)
losses.legend()
losses.set(title="training loss", xlabel="step", yscale="log")
for axis, which in ((plain, "as they are"), (moved, "moved by up to a pixel")):
    axis.set(title=f"share right, scans {which}", xlabel="step")
# %%
for name, (result, seen) in runs.items():
    print(
        f"{name:21} {100 * seen[-1, 1]:5.1f} % right, moved {100 * seen[-1, 2]:5.1f} %, "
        f"{result.total('skipped'):.0f} skipped, {result.total('recompiled'):.0f} recompilations"
    )

# %% [markdown]
# With 20 epochs: augmentation takes a little from the scans that lie as the training's do, and is
# what makes the model useful for those that do not. The trained backbone beats the random one on
# both.
#
# Was freezing needed? Not for a model as small as this one: all layers trained on the 50 scans come
# out a little better. What freezing saves is above, in the lines about memory, and with a backbone
# of a hundred million weights those lines decide.

# %%
everything, seen = fine_tune(with_trained_backbone(), freeze=None)
print(f"all layers trained: {100 * seen[-1, 1]:.1f} % right, moved {100 * seen[-1, 2]:.1f} %")

# %% [markdown]
# ## Which digits does it confuse?

# %%
model.eval()
predictions = np.asarray(predict(model, test_images))
confusion = np.zeros((5, 5), int)
np.add.at(confusion, (test_labels, predictions), 1)
figure, axis = plt.subplots(figsize=(3.6, 3.6))
axis.imshow(confusion, cmap="Blues")
axis.set(xlabel="read as", ylabel="digit", xticks=range(5), yticks=range(5))
axis.set_xticklabels(range(5, 10))
axis.set_yticklabels(range(5, 10))
for row, column in np.argwhere(confusion):
    dark = confusion[row, column] > confusion.max() / 2
    color = "white" if dark else "black"
    axis.text(column, row, confusion[row, column], ha="center", va="center", color=color)

# %% [markdown]
# ## Export
#
# `jax.export` writes the model's program with its weights into one file, for `ane` and for `cpu`,
# and for any number of images. Whoever loads it needs JAX, and neither Flax nor this notebook.

# %%
graph, weights = nnx.split(model)


def read_digits(images):
    return nnx.merge(graph, weights)(images).argmax(-1) + 5


(count,) = jax.export.symbolic_shape("count")
any_images = jax.ShapeDtypeStruct((count, 8, 8, 1), jnp.float32)
exported = jax.export.export(jax.jit(read_digits), platforms=["ane", "cpu"])(any_images)
file = Path(tempfile.mkdtemp()) / "digits.jaxexport"
file.write_bytes(exported.serialize())
print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB")

# %% [markdown]
# ## Predict
#
# As if in another process: read the file, put the images on a device, call.

# %%
loaded = jax.jit(jax.export.deserialize(bytearray(file.read_bytes())).call)
on_ane = np.asarray(loaded(jax.device_put(test_images, ane)))
on_cpu = np.asarray(loaded(jax.device_put(test_images, cpu)))
print(f"{(on_ane == predictions + 5).mean():.1%} as the model itself says on ane")
print(f"{(on_ane == on_cpu).mean():.1%} the same on ane, in fp16, and on cpu, in float32")

# %%
figure, axes = plt.subplots(2, 8, figsize=(9, 2.8))
for axis, image, digit in zip(axes.flat, moved_images, loaded(moved_images), strict=False):
    axis.imshow(image[..., 0], cmap="gray_r")
    axis.set_title(int(digit))
    axis.axis("off")
