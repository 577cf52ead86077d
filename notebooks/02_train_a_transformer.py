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
# # Training a transformer in fp16
#
# **Cost: two to four minutes on two cores with 300 steps (`JAX_ANE_DEMO_STEPS` sets the number),
# less than 2 GB of memory, no download.** Install with `pip install
# "jax-ane[demo,train,notebook]"`.
#
# The Neural Engine computes in fp16. Its numbers end at 65,504, and they get coarse below a
# ten-thousandth and vanish below a ten-millionth. A training run has both kinds of trouble:
# gradients are small, activations can be large. In this notebook a small Llama-style transformer
# learns to continue a text, first as it should be done, beside the same run in float32. Then we
# take the protection away, piece by piece, and look at what breaks, what does not, and what helps.

# %%
import os
from pydoc_data import topics

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

import jax_ane
from jax_ane import precision, training
from jax_ane.adapters import nnx as ane_nnx

STEPS = int(os.environ.get("JAX_ANE_DEMO_STEPS", "300"))
SHORT = max(STEPS // 5, 2)  # steps of the experiments
fp16 = jnp.finfo(jnp.float16)
print(f"fp16: largest {fp16.max}, smallest {fp16.smallest_subnormal:.2g}")
print(jax.devices("ane")[0].device_kind, "- numerics:", jax_ane.config.numerics)

# %% [markdown]
# ## The text
#
# Python ships with a handbook: it is what `help("assert")` shows. Its characters are the tokens.

# %%
text = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
tokens = np.frombuffer(text.encode("ascii", "ignore"), np.uint8).astype(np.int32)
LENGTH = 64
print(f"{len(tokens):,} characters, such as:\n\n{text[:300]}")


# %%
def batches(size=16):
    """Yields pieces of the text for ever, int32 [size, LENGTH + 1]; the same in each run."""
    random = np.random.default_rng(0)
    while True:
        starts = random.integers(0, len(tokens) - LENGTH - 1, size)
        yield np.stack([tokens[start : start + LENGTH + 1] for start in starts])


# %% [markdown]
# ## The model
#
# Two blocks as in Llama: attention with rotary positions, a gated feed-forward layer, RMS norms, no
# biases. The norm is a function that we can exchange, which will be of use.

# %%
WIDTH, HEADS, HIDDEN, WORDS = 64, 2, 192, 128
DEPTH = 2 if STEPS >= 100 else 1  # a trial of a few steps mostly compiles


def rms_norm(x):
    return x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)


def rotate(x):
    """Turns the halves of each head by angles that grow with the position."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[2])[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def split_heads(x):
    return x.reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)


# %%
class Norm(nnx.Module):
    def __init__(self, function):
        self.function = function
        self.gain = nnx.Param(jnp.ones(WIDTH))

    def __call__(self, x):
        return self.function(x) * self.gain[...]


class Block(nnx.Module):
    def __init__(self, norm, rngs):
        def matrix(inputs, outputs, scale=0.02):
            start = nnx.initializers.normal(scale)
            return nnx.Linear(inputs, outputs, use_bias=False, kernel_init=start, rngs=rngs)

        to_stream = 0.02 / (2 * DEPTH) ** 0.5  # or the stream would grow with the depth
        self.norm1, self.norm2 = Norm(norm), Norm(norm)
        self.qkv = matrix(WIDTH, 3 * WIDTH)
        self.out = matrix(WIDTH, WIDTH, to_stream)
        self.gate, self.up = matrix(WIDTH, HIDDEN), matrix(WIDTH, HIDDEN)
        self.down = matrix(HIDDEN, WIDTH, to_stream)

    def __call__(self, x):
        q, k, v = map(split_heads, jnp.split(self.qkv(self.norm1(x)), 3, -1))
        scores = rotate(q) @ rotate(k).swapaxes(2, 3) / (WIDTH // HEADS) ** 0.5
        seen = np.tril(np.ones(scores.shape[-2:], bool))
        mixed = jax.nn.softmax(jnp.where(seen, scores, -1e4)) @ v
        x = x + self.out(mixed.transpose(0, 2, 1, 3).reshape(x.shape))
        h = self.norm2(x)
        return x + self.down(jax.nn.silu(self.gate(h)) * self.up(h))


class Transformer(nnx.Module):
    def __init__(self, norm, rngs):
        self.word = nnx.Param(0.02 * jax.random.normal(rngs.params(), (WORDS, WIDTH)))
        self.blocks = nnx.List([Block(norm, rngs) for _ in range(DEPTH)])
        self.norm = Norm(norm)

    def __call__(self, tokens):
        x = self.word[...][tokens]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.word[...].T


def loss_fn(model, tokens):
    logits = model(tokens[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


# %% [markdown]
# ## What runs where, and what it would cost
#
# `explain` plans the gradient without running it: the matrix products and what lies between them go
# to the ANE. The embedding's look-up and the loss stay on the host.

# %%
batch = next(batches())
gradient = nnx.jit(nnx.grad(loss_fn))
report = jax_ane.explain(gradient, Transformer(rms_norm, nnx.Rngs(0)), batch)
print(f"{report.ane_flop_fraction:.2%} of the FLOPs in {len(report.programs)} ANE programs\n")
for hazard in report.hazards:
    print(f"{hazard.code}: {hazard.text}")
report

# %% [markdown]
# The hazard is `silu`, whose `exp` becomes infinite for a large negative input; 1 / (1 + infinity)
# is 0, as it should be, so this one does no harm.
#
# The flag `chip` says whose limits and costs to plan with. The estimate is of the engine's programs
# alone, by a model fitted to published times; nothing here has run on a chip.

# %%
print("chip  estimated ms   of it call, copies, engine   programs")
for chip in ("M1", "M4", "M5"):
    with jax_ane.config(chip=chip):
        planned = jax_ane.explain(gradient, Transformer(rms_norm, nnx.Rngs(0)), batch)
    cost = {part: 1e3 * seconds for part, seconds in planned.to_dict()["estimate"].items()}
    print(
        f"{chip}    {cost['total_s']:8.2f}       {cost['call_s']:8.2f} {cost['copies_s']:8.2f} "
        f"{cost['engine_s']:8.2f}   {len(planned.programs):5}"
    )

# %% [markdown]
# ## A run as it should be, beside float32
#
# The two protections are options of the training step. `clamp` keeps activations inside fp16
# (`precision.clamp_activations`). The loss scale multiplies the loss before the backward pass,
# which lifts small gradients, and divides them by as much before the update; `DynamicLossScale`
# finds the number as it goes, and leaves out a step whose gradients are not finite.
#
# Weights and optimiser are float32 in any case.


# %%
def train(platform, steps, learning_rate=1e-3, norm=rms_norm, progress=False, **options):
    """Returns the trained model and one dict of metrics a step."""
    with jax.default_device(jax.devices(platform)[0]):
        model = Transformer(norm, nnx.Rngs(0))
        step = ane_nnx.train_step(model, optax.adam(learning_rate), loss_fn, **options)
        history = []

        def keep(number, metrics, state):
            history.append(metrics)

        try:
            result = training.fit(
                step.step, step.init(), batches(), steps=steps, callbacks=[keep], progress=progress
            )
            state = result.state
        except training.TrainingDiverged as diverged:
            print(diverged)
            state = diverged.state
        return step.model(state), history


def last(history):
    """Returns the mean loss of the last tenth of a run."""
    return np.mean([row["loss"] for row in history[-max(len(history) // 10, 1) :]])


model, on_ane = train(
    "ane", STEPS, progress=True, clamp=True, loss_scale=precision.DynamicLossScale(1024.0)
)
_, on_cpu = train("cpu", STEPS, progress=True)


# %%
def curves(runs, axis=None):
    """Plots runs; a flat dotted line is what knowing nothing costs."""
    axis = plt.subplots(figsize=(7, 3.5))[1] if axis is None else axis
    for (name, history), style in zip(runs.items(), ("-", "--", "-.", ":"), strict=False):
        axis.plot([row["loss"] for row in history], style, label=name)
    axis.axhline(np.log(WORDS), color="gray", linewidth=0.8, linestyle="dotted")
    axis.set(xlabel="step", ylabel="nats a character")
    axis.legend()


curves({"ane, fp16, protected": on_ane, "cpu, float32": on_cpu})
ane_losses, cpu_losses = (np.array([row["loss"] for row in run]) for run in (on_ane, on_cpu))
distance = np.abs(ane_losses / cpu_losses - 1)
print(f"relative distance: {distance[:10].max():.2%} at most in the first ten steps")
print(f"{distance.mean():.2%} on average; at the end {last(on_ane):.3f} and {last(on_cpu):.3f}")
print(f"clamps reached: {sum(row['clamped'] for row in on_ane)}")
print(f"steps skipped: {sum(row['skipped'] for row in on_ane)}")

# %% [markdown]
# The curves lie on each other. No clamp was needed, for this model and this learning rate, and a
# clamp that is not reached changes no bit. (With a learning rate of 3e-3 the two runs come apart by
# several per cent: larger steps make more of what fp16 rounds off.) So what are these protections
# for?
#
# ## Small numbers: gradients that vanish
#
# A mean over a thousand characters gives each of them a gradient of a thousandth, and it gets
# smaller on the way back through the layers. jax-ane's compiler knows this: a pass called
# `scale_operands` multiplies what enters a backward pass by a power of two, and divides what leaves
# it. Without that pass we see what fp16 does to the plain gradient, and what a loss scale does
# about it.


# %%
def gradients(platform, scale=1.0, without=""):
    with jax.default_device(jax.devices(platform)[0]), jax_ane.config(disable_passes=without):
        scaled = nnx.jit(nnx.grad(lambda model, batch: scale * loss_fn(model, batch)))
        found = scaled(Transformer(rms_norm, nnx.Rngs(0)), batch)
    return [np.asarray(leaf, np.float64) / scale for leaf in jax.tree.leaves(found)]


truth = gradients("cpu")
for name, options in {
    "ane": {},
    "without the pass": {"without": "scale_operands"},
    "without it, loss scale 32768": {"without": "scale_operands", "scale": 2.0**15},
}.items():
    found = gradients("ane", **options)
    errors = [np.linalg.norm(f - t) / np.linalg.norm(t) for f, t in zip(found, truth, strict=True)]
    zeros = sum((f == 0).sum() for f in found) / sum(f.size for f in found)
    print(
        f"{name:29} {np.median(errors):7.2%} wrong (median of the weights), {zeros:6.2%} are zero"
    )

# %% [markdown]
# So on this device the compiler already does what a loss scale is for; either is enough, and both
# do no harm. The loss scale stays worth having, since it also judges each step and skips the bad
# ones, and since a run with it behaves alike on devices that have no such pass.
#
# And would the run without either have failed? It would not: Adam divides each gradient by its
# usual size, and many were still there. It learns, and more slowly.

# %%
with jax_ane.config(disable_passes="scale_operands"):
    _, unscaled = train("ane", SHORT)
curves({"neither": unscaled, "ane": on_ane[:SHORT], "cpu, float32": on_cpu[:SHORT]})
for name, run in (("neither", unscaled), ("ane", on_ane[:SHORT]), ("float32", on_cpu[:SHORT])):
    print(f"after {SHORT} steps, {name:7}: {last(run):.3f}")

# %% [markdown]
# ## Large numbers: a silent end
#
# Now for the other side. Large activations come from large weights, and a learning rate that is
# thirty times too high makes those quickly. float32 suffers it:

# %%
_, fast_cpu = train("cpu", SHORT, learning_rate=3e-2)
lost, fast_ane = train("ane", SHORT, learning_rate=3e-2, clamp=True)
curves({"ane, clamped": fast_ane, "cpu, float32": fast_cpu})
print(f"ane: loss {fast_ane[-1]['loss']:.6f}, gradient {fast_ane[-1]['grad_norm']:.3g}, "
      f"clamps reached {sum(row['clamped'] for row in fast_ane)}, "
      f"not finite {sum(row['nonfinite'] for row in fast_ane)}")  # fmt: skip
print(f"the logarithm of {WORDS} is {np.log(WORDS):.6f}")

# %% [markdown]
# With 300 steps, the run on `ane` ends on a flat line within the first ten. Nothing is infinite, no
# NaN, no clamp was reached; the gradient is exactly 0, and the loss is the logarithm of the number
# of words, which is to say that the model finds all words equally likely. What happened?
#
# Here is the stream between the blocks, computed in float32 from the weights of that run:


# %%
def largest(model):
    """Prints the largest magnitude of the stream after each block."""
    with jax.default_device(jax.devices("cpu")[0]):
        model = jax.device_put(model, jax.devices("cpu")[0])
        x = model.word[...][batch[:, :-1]]
        for number, block in enumerate(model.blocks):
            x = block(x)
            peak = float(jnp.abs(x).max())
            print(f"after block {number}: {peak:10.1f}, squared {peak**2:14.0f}")


largest(lost)

# %% [markdown]
# The stream itself is far from 65,504. Its square is not, and RMS norm squares. The square becomes
# infinite, and x divided by infinity is 0: a norm that gives zeros, logits that are zeros,
# gradients that are zeros. Clamps do not see it. They watch where tensors come together, in
# products of matrices, residual sums and gates, and leave the inside of norms alone.
#
# The remedy belongs into the norm. Its result does not change when a row is divided by a number
# first, so we divide by the row's largest magnitude, and what is squared lies between 0 and 1:


# %%
def safe_rms_norm(x):
    peak = jax.lax.stop_gradient(jnp.abs(x).max(-1, keepdims=True)) + 1e-4
    x = x / peak
    return x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + jnp.square(0.003 / peak))


# %% [markdown]
# (A way without thinking is to keep the norm on the host, in float32, and pay for the way there and
# back: `with jax_ane.place("host"):` around its line.)

# %%
safe, safe_ane = train("ane", SHORT, learning_rate=3e-2, norm=safe_rms_norm, clamp=True)
curves({"ane, clamped": fast_ane, "ane, with the safe norm": safe_ane, "cpu, float32": fast_cpu})
print(f"after {SHORT} steps: {last(fast_ane):.3f}, safe norm {last(safe_ane):.3f}, "
      f"float32 {last(fast_cpu):.3f}")  # fmt: skip
largest(safe)

# %% [markdown]
# ## Large numbers: the stream itself
#
# With a safe norm, what is left to overflow is the stream. Models that were trained in bfloat16,
# which has float32's range, can have such streams. We make one: in the model at hand, `down`, the
# last matrix of each block, is multiplied by a factor. To float32 that hardly matters, since the
# next norm takes it away again.

# %%
graph, _ = nnx.split(safe)
clamped = precision.clamp_activations(
    lambda weights, batch: loss_fn(nnx.merge(graph, weights), batch), with_count=True
)
plain = jax.jit(lambda weights, batch: loss_fn(nnx.merge(graph, weights), batch))
clamped = jax.jit(clamped)

print("factor   cpu     ane     clamped   clamps reached")
for factor in (1, 10, 30, 100):
    larger = nnx.clone(safe)
    for block in larger.blocks:
        block.down.kernel[...] *= factor
    there, here = (
        jax.device_put((nnx.split(larger)[1], batch), jax.devices(platform)[0])
        for platform in ("cpu", "ane")
    )
    loss, reached = clamped(*here)
    print(f"{factor:6}   {plain(*there):.3f}   {plain(*here):.3f}   {loss:.3f}     {reached}")

# %% [markdown]
# After 300 steps (60 for this model) the stream goes up to some thousands, so a factor of 30 takes
# it past the end of fp16, and the model on `ane` knows nothing any more. Clamped it is nearly as
# good as in float32: few of its numbers are that large, and a number that is too small does less
# harm than an infinity. With 100 a clamp does not help either, because too many are.
#
# ## What to take along
#
# * At a sane learning rate the curve in fp16 is that of float32.
# * Small gradients are the compiler's business here; a dynamic loss scale is cheap insurance and
#   skips steps that are not finite.
# * `clamp=True` turns infinities into numbers that are too small. Look at `metrics.clamped`: in a
#   healthy run it is 0.
# * A loss that stands still at the logarithm of the number of classes, with a gradient of exactly
#   0, is fp16's silent failure. Look for a square of something large, in a norm.
#
# And the model of the first run? It has seen a small book for a few minutes; it writes like this:

# %%
written = list(tokens[5000 : 5000 + LENGTH])
with jax.default_device(jax.devices("ane")[0]):
    chances = nnx.jit(lambda model, seen: model(seen)[0, -1])
    random = np.random.default_rng(0)
    for _ in range(min(STEPS, 200)):
        logits = np.asarray(chances(model, np.array([written[-LENGTH:]])), np.float64)
        weights = np.exp(logits - logits.max())
        written.append(random.choice(WORDS, p=weights / weights.sum()))
print(bytes(int(token) for token in written).decode())
