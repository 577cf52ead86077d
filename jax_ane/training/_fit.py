# SPDX-License-Identifier: Apache-2.0
"""The loop around a training step: data, progress, evaluation, checkpoints, and a clean end.

A step's metrics are read while the next step runs, so the loop does not wait for the device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jax_ane._errors import AneError, AneWarning, four_parts
from jax_ane._tree_paths import describe, path_of
from jax_ane.training._checkpoints import CheckpointError, Checkpoints
from jax_ane.training._step import Metrics, TrainState, TrainStep

Batches = Iterable[Any] | Callable[[int], Iterable[Any]]
# Steps in a row without a gradient that are worth a word: with the same loss, and with any.
_FLAT_STEPS, _IDLE_STEPS = 5, 20
Callback = Callable[[int, dict[str, float], TrainState], object]


class TrainingDiverged(AneError):
    """The loss is not finite and does not come back.

    Attributes:
        state: the last good state: steps that were not finite were left out of it.
        step: steps taken, those that were left out included.
        history: one dict a step of this call, as in `FitResult`.
        evaluations: one dict an evaluation, as in `FitResult`.
        checkpoint: the folder of the newest complete checkpoint, which holds `state` unless the run
            gave up at its first step; None without a checkpoint folder, or when there is none.
    """

    def __init__(
        self,
        message: str,
        state: TrainState,
        step: int,
        history: Sequence[dict[str, float]] = (),
        evaluations: Sequence[dict[str, float]] = (),
        checkpoint: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.state = state
        self.step = step
        self.history = list(history)
        self.evaluations = list(evaluations)
        self.checkpoint = checkpoint


class ZeroGradientWarning(AneWarning):
    """Every gradient of several steps in a row is zero: the run learns nothing."""


@dataclasses.dataclass
class FitResult:
    """What a run did.

    Attributes:
        state: the last state.
        steps: steps taken since the start of the run, with those before it was resumed.
        history: one dict a step of this call: step, loss, grad_norm, loss_scale, skipped, clamped,
            nonfinite, recompiled.
        evaluations: one dict an evaluation: step and what `eval_fn` returned.
        best: the evaluation (or step) with the lowest loss, or None.
        resumed_from: the checkpoint's step, or None.
        stopped_by: name of the signal that ended it, or "data" when the batches ran out, or None.
        seconds: of this call.
        peak_memory_bytes: largest resident size of the process.
    """

    state: TrainState
    steps: int
    history: list[dict[str, float]]
    evaluations: list[dict[str, float]]
    best: dict[str, float] | None
    resumed_from: int | None
    stopped_by: str | None
    seconds: float
    peak_memory_bytes: int

    def total(self, name: str) -> float:
        """Returns the sum of a metric over the steps, such as `skipped`."""
        return sum(row[name] for row in self.history)

    def plot(self, axes: Any = None) -> Any:
        """Draws the loss of steps and evaluations; returns matplotlib's axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if axes is None else axes
        for rows, style, label in ((self.history, "-", "training"),
                                   (self.evaluations, "o-", "evaluation")):  # fmt: skip
            if rows:
                axes.plot([r["step"] for r in rows], [r["loss"] for r in rows], style, label=label)
        axes.set(xlabel="step", ylabel="loss")
        axes.legend()
        return axes


def fit(
    step: TrainStep,
    state: TrainState,
    batches: Batches,
    *,
    steps: int,
    eval_fn: Callable[..., Any] | None = None,
    eval_every: int | None = None,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = 100,
    keep: int = 3,
    resume: bool = True,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    patience: int = 20,
) -> FitResult:
    """Trains until `steps` steps are taken.

    With a checkpoint folder the run goes on where it stood: state and position in the data are
    restored, and what follows is bit for bit what an uninterrupted run does. SIGINT and SIGTERM
    end it after the step at hand, with a checkpoint, and so do errors in data, evaluation and
    callbacks. Killed at any moment it loses what came after the last checkpoint.

    Args:
        step: from `train_step`.
        state: from `step.init`; its memory is taken over.
        batches: what gives batches: an iterable that is gone through again when it ends (an
            iterator only once), or a function of a step number that returns an iterable from that
            step on (how a large data set is resumed without reading up to the place). Labels and
            ids that are out of range may be no error; `jax_ane.data.checked` finds them.
        steps: of the whole run, those before a resumption included.
        eval_fn: `eval_fn(params)`, or `eval_fn(params, model_state)` for a model with statistics
            of batches or random streams, returns a loss, or a dict of numbers with `"loss"`. It
            gets `model_state` (None where the step has none) if it has two positional parameters
            without defaults. A Flax model's is `step.eval_fn(fn)` of the adapters.
        eval_every: steps between evaluations; None means 10 in the run. The last step has one.
        checkpoint_dir: folder of checkpoints, or None.
        checkpoint_every: steps between checkpoints. The last step has one.
        keep: checkpoints that stay, beside the one with the best evaluation.
        resume: go on from the newest checkpoint in the folder, if there is one.
        callbacks: each is called as `callback(step, metrics, state)` after each step, with floats;
            one that returns True ends the run. `state` is only valid during the call.
        progress: show a bar.
        patience: steps in a row with a loss that is not finite after which the run gives up; at
            the first step of a run it gives up at once.

    Returns:
        The last state and the run's history.

    Warns:
        ZeroGradientWarning: all gradients are 0, in 5 steps in a row whose loss does not change or
            in 20 of any loss; once a run, and not of a loss that came down to 0.

    Raises:
        TrainingDiverged: the loss is not finite; the message says what the inputs look like.
        CheckpointError: a checkpoint cannot be written; older ones are intact.
        CheckpointMismatchError: the folder holds checkpoints of another model.
        ValueError: there are no batches, or a number cannot work.
        TypeError: `eval_fn` can be called neither with one argument nor with two.
        KeyboardInterrupt: after a SIGINT, when the checkpoint is written.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jax_ane import training
        >>> step = training.train_step(lambda w, x: jnp.mean((x @ w - 1) ** 2), optax.sgd(0.1))
        >>> data = [jnp.eye(4), 2 * jnp.eye(4)]
        >>> result = training.fit(step, step.init(jnp.zeros(4)), data, steps=50, progress=False)
        >>> result.steps, result.history[-1]["loss"] < 0.4
        (50, True)
    """
    for name, value in {"steps": steps, "checkpoint_every": checkpoint_every, "keep": keep,
                        "patience": patience, "eval_every": eval_every}.items():  # fmt: skip
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    with contextlib.ExitStack() as stack:
        saved = None
        if checkpoint_dir is not None:
            saved = stack.enter_context(Checkpoints(checkpoint_dir, keep))
        run = _Run(step, state, saved, eval_fn, eval_every or max(1, steps // 10), patience)
        if resume:
            run.resume()
        stop = stack.enter_context(_Signals())
        bar = stack.enter_context(_bar(run.taken, steps, progress))
        return run.go(batches, steps, checkpoint_every, callbacks, stop, bar)


class _Run:
    """The state of one call of `fit`."""

    def __init__(
        self,
        step: TrainStep,
        state: TrainState,
        saved: Checkpoints | None,
        eval_fn: Callable[..., Any] | None,
        eval_every: int,
        patience: int,
    ) -> None:
        self.step = step
        self.state = state
        self.saved = saved
        self.eval_fn = eval_fn
        self.eval_takes_state = eval_fn is not None and _takes_model_state(eval_fn)
        self.eval_every = eval_every
        self.patience = patience
        self.taken = 0
        self.resumed_from: int | None = None
        self.history: list[dict[str, float]] = []
        self.evaluations: list[dict[str, float]] = []
        self.saved_at: int | None = None
        self.bad = 0  # steps in a row whose loss was not finite
        self.flat: list[float] = []  # losses of steps in a row without a gradient
        self.had_gradient = False
        self.told_flat = False

    def resume(self) -> None:
        """Takes the newest checkpoint."""
        found = self.saved.restore(self.state) if self.saved is not None else None
        if found is not None:
            self.state, self.taken = found.state, found.position
            self.resumed_from = self.saved_at = found.position
            self.evaluations = found.notes.get("evaluations", [])

    def go(
        self,
        batches: Batches,
        steps: int,
        checkpoint_every: int,
        callbacks: Sequence[Callback],
        stop: _Signals,
        bar: Any,
    ) -> FitResult:
        """Runs the loop to its end; what breaks it off leaves a checkpoint."""
        began = time.perf_counter()
        try:
            stopped_by = self._loop(batches, steps, checkpoint_every, callbacks, stop, bar)
        except (CheckpointError, TrainingDiverged):
            raise
        except Exception as error:
            self._keep(error)
            raise
        if self.saved is not None:
            self.saved.wait()
        stop.reraise()
        return FitResult(
            state=self.state,
            steps=self.taken,
            history=self.history,
            evaluations=self.evaluations,
            best=self._best(),
            resumed_from=self.resumed_from,
            stopped_by=stopped_by,
            seconds=time.perf_counter() - began,
            peak_memory_bytes=_peak_memory_bytes(),
        )

    def _loop(
        self,
        batches: Batches,
        steps: int,
        checkpoint_every: int,
        callbacks: Sequence[Callback],
        stop: _Signals,
        bar: Any,
    ) -> str | None:
        """Takes the steps; returns what ended them early, or None."""
        stopped_by: str | None = None
        data = _stream(batches, self.taken)
        pending: tuple[int, Metrics, Any] | None = None  # measured, and not yet looked at
        while self.taken < steps and stopped_by is None:
            batch = next(data, None)
            if batch is None:
                stopped_by = "data"
                break
            self.state, metrics = self.step(self.state, batch)
            self.taken += 1
            if pending is not None:
                self._look(*pending, bar)
            pending = (self.taken, metrics, batch)
            evaluates = self.eval_fn is not None and self.taken % self.eval_every == 0
            saves = self.saved is not None and self.taken % checkpoint_every == 0
            # The first step too: a loss that is NaN from the start is said now.
            if callbacks or evaluates or saves or not self.history:
                self._look(*pending, bar)
                pending = None
            if callbacks and any([c(self.taken, self.history[-1], self.state) for c in callbacks]):
                stopped_by = "callback"
            if evaluates:
                self._evaluate(bar)
            if saves:
                self._save()
            stopped_by = stop.name or stopped_by
        if pending is not None:
            self._look(*pending, bar)
        if self.history:
            self._evaluate(bar)
            self._save()
        return stopped_by

    def _keep(self, error: Exception) -> None:
        """Saves the state that an error of data, loss, evaluation or callback leaves; notes where.

        Nothing is said where there is nothing to keep: no folder, no step, or the step that broke
        off had taken the state's memory already.
        """
        leaves = [leaf for leaf in jax.tree.leaves(self.state) if isinstance(leaf, jax.Array)]
        if self.saved is None or not self.taken or any(leaf.is_deleted() for leaf in leaves):
            return
        try:
            self._save()
            self.saved.wait()
        except Exception as second:  # the state may be what the device could not compute
            error.add_note(f"step {self.taken} cannot be saved: {second}")
        else:
            error.add_note(f"the state after step {self.taken} is in {self.saved.newest}")

    def _look(self, number: int, metrics: Metrics, batch: Any, bar: Any) -> None:
        """Reads a step's metrics, which waits for it, and judges them."""
        row: dict[str, float] = {"step": number}
        for name in metrics:
            if name != "aux":
                value = np.asarray(metrics[name])
                row[name] = float(value) if value.dtype.kind == "f" else int(value)
        self.history.append(row)
        bar.set_postfix_str(f"loss {row['loss']:.4g}", refresh=False)
        bar.update(1)
        self.bad = 0 if math.isfinite(row["loss"]) else self.bad + 1
        if self.bad and (number == 1 or self.bad >= self.patience):
            raise self._diverged(row, batch)
        self._watch_gradient(row)

    def _watch_gradient(self, row: dict[str, float]) -> None:
        """Warns, once, of gradients that stay zero."""
        if row["grad_norm"] != 0:
            self.flat, self.had_gradient = [], True
            return
        self.flat.append(row["loss"])
        recent = self.flat[-_FLAT_STEPS:]
        stands = len(recent) == _FLAT_STEPS and min(recent) == max(recent)
        is_solved = row["loss"] == 0 and self.had_gradient
        if self.told_flat or is_solved or not (stands or len(self.flat) >= _IDLE_STEPS):
            return
        self.told_flat = True
        count = len(self.flat)
        loss = f"{row['loss']:.6g}, unchanged" if stands else f"{row['loss']:.6g}"
        text = four_parts(
            f"no gradient in {count} steps in a row: the run learns nothing",
            f"steps {row['step'] - count + 1:g} to {row['step']:g}, loss {loss}, the norm over all "
            "gradients exactly 0",
            "often an fp16 overflow inside a norm: from 256 on a value's square is infinite, its "
            "rsqrt 0, and what is multiplied by it too; else relus that are all negative, a "
            "stop_gradient or a frozen part between loss and parameters, or a loss that does not "
            "depend on them",
            "look at jax_ane.explain(step, state, batch).hazards; wrap the norm in "
            "jax_ane.full_precision, or scale its input down; compare with "
            "jax_ane.config(placement='host')",
        )
        warnings.warn(text, ZeroGradientWarning, stacklevel=6)

    def _diverged(self, row: dict[str, float], batch: Any) -> TrainingDiverged:
        """Saves the last good state and returns the error that has it."""
        why = self._why(row, batch)
        newest = None
        if self.saved is not None:
            try:
                if row["step"] > 1:
                    self._save()
                self.saved.wait()
            except CheckpointError as error:
                why += f"\nand {error}"
            newest = self.saved.newest
        return TrainingDiverged(why, self.state, self.taken, self.history, self.evaluations, newest)

    def _why(self, row: dict[str, float], batch: Any) -> str:
        when = "at the first step" if row["step"] == 1 else f"for {self.bad} steps in a row"
        lines = [f"the loss is {row['loss']} {when} (step {row['step']:g})"]
        for name, tree in (("parameter", self.state.params), ("batch", batch)):
            for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
                values = np.asarray(leaf)
                label = f"  {name} {path_of(keys)} {describe(values)}"
                if values.dtype.kind in "iu" and values.size:
                    lines.append(f"{label} lies in {values.min()} to {values.max()}")
                elif values.dtype.kind == "f" and not np.isfinite(values).all():
                    count = int((~np.isfinite(values)).sum())
                    lines.append(f"{label} holds {count} values that are not finite")
        lines.append(
            "do: look for labels outside the number of classes (jax_ane.data.checked finds the "
            "first) and inputs that are not finite, which make any loss NaN; else clamp=True, a "
            "DynamicLossScale, a smaller learning rate"
        )
        return "\n".join(lines)

    def _evaluate(self, bar: Any) -> None:
        if self.eval_fn is None or self._last(self.evaluations) == self.taken:
            return
        extra = (self.state.model_state,) if self.eval_takes_state else ()
        found = self.eval_fn(self.state.params, *extra)
        numbers = found if isinstance(found, dict) else {"loss": found}
        if "loss" not in numbers:
            raise ValueError(f"eval_fn returned {sorted(numbers)}, without a `loss`")
        self.evaluations.append({"step": self.taken, **{k: float(v) for k, v in numbers.items()}})
        bar.write(f"step {self.taken}: " + ", ".join(f"{k} {float(v):.4g}"
                                                     for k, v in numbers.items()))  # fmt: skip

    def _save(self) -> None:
        if self.saved is None or self.saved_at == self.taken:
            return
        self.saved_at = self.taken
        now = self._last(self.evaluations) == self.taken
        score = self.evaluations[-1]["loss"] if now else None
        self.saved.save(self.state, self.taken, score, {"evaluations": self.evaluations})

    @staticmethod
    def _last(rows: list[dict[str, float]]) -> float | None:
        return rows[-1]["step"] if rows else None

    def _best(self) -> dict[str, float] | None:
        rows = [row for row in self.evaluations or self.history if math.isfinite(row["loss"])]
        return min(rows, key=lambda row: row["loss"]) if rows else None


def _takes_model_state(eval_fn: Callable[..., Any]) -> bool:
    """Returns whether `eval_fn` is called with parameters and model state, or parameters alone.

    Raises:
        TypeError: it can be called with neither.
    """
    try:
        signature = inspect.signature(eval_fn)
    except (TypeError, ValueError):  # some builtins tell nothing
        return False
    for count in (1, 2):
        with contextlib.suppress(TypeError):
            signature.bind(*[None] * count)
            return count == 2
    raise TypeError(
        f"eval_fn{signature} can be called neither as eval_fn(params) nor as "
        "eval_fn(params, model_state)"
    )


def _stream(batches: Batches, start: int) -> Iterator[Any]:
    """Gives the batches from step `start` on."""
    if callable(batches):
        yield from _nonempty(iter(batches(start)), start)
        return
    if iter(batches) is batches:
        yield from _nonempty(itertools.islice(batches, start, None), start)
        return
    skip = start
    while True:
        count = 0
        for batch in batches:
            count += 1
            if skip:
                skip -= 1
            else:
                yield batch
        if not count:
            raise ValueError("there are no batches: the data set is empty, or smaller than a batch")


def _nonempty(batches: Iterator[Any], start: int) -> Iterator[Any]:
    count = 0
    for batch in batches:
        count += 1
        yield batch
    if not count:
        raise ValueError(
            f"there are no batches from step {start} on: the data set is empty, or smaller than "
            "a batch, or its iterator was used up before"
        )


class _Signals:
    """Catches SIGINT and SIGTERM until the step at hand is done."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old.clear()

    def _caught(self, number: int, frame: Any) -> None:
        del frame
        if self.name is not None and number == signal.SIGINT:  # asked for twice: now
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name

    def reraise(self) -> None:
        """Does what the signal would have done."""
        self.__exit__()
        if self.name == "SIGINT":
            raise KeyboardInterrupt
        if self.name == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)


class _NoBar:
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None: ...

    def set_postfix_str(self, text: str, refresh: bool = True) -> None: ...

    def update(self, count: int) -> None: ...

    def write(self, text: str) -> None: ...


def _bar(taken: int, steps: int, progress: bool) -> Any:
    if not progress:
        return _NoBar()
    from tqdm.auto import tqdm

    return tqdm(initial=taken, total=steps, unit="step", dynamic_ncols=True)


def _peak_memory_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
