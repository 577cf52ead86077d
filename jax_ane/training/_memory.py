# SPDX-License-Identifier: Apache-2.0
"""What a training step needs in memory, before its first run."""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ane._errors import AneWarning
from jax_ane.training._step import TrainStep


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a step needs.

    Attributes:
        params_bytes: float32 masters.
        optimizer_bytes: the optimiser's state.
        images_bytes: the fp16 form of the parameters that the engine reads; 0 on other devices.
        batch_bytes: one batch.
        work_bytes: what the compiled step needs while it runs: activations, gradients, results
            that cannot take an argument's memory over.
        available_bytes: memory that is free on this machine now.
    """

    params_bytes: int
    optimizer_bytes: int
    images_bytes: int
    batch_bytes: int
    work_bytes: int
    available_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        parts = (self.params_bytes, self.optimizer_bytes, self.images_bytes, self.batch_bytes)
        return sum(parts) + self.work_bytes

    @property
    def fits(self) -> bool:
        """Whether it fits into what is free."""
        return self.total_bytes <= self.available_bytes

    def __str__(self) -> str:
        return (
            f"{_size(self.total_bytes)}: parameters {_size(self.params_bytes)}, optimiser "
            f"{_size(self.optimizer_bytes)}, fp16 images {_size(self.images_bytes)}, step "
            f"{_size(self.work_bytes)}, batch {_size(self.batch_bytes)} "
            f"(free: {_size(self.available_bytes)})"
        )


def estimate_memory(
    step: TrainStep, params: Any, batch: Any, model_state: Any = None
) -> MemoryEstimate:
    """Returns what a step will need, and warns when that is not there.

    The step is compiled for it, on the default device, and stays compiled.

    Args:
        step: from `train_step`.
        params: the parameters, or their shapes (`jax.eval_shape`).
        batch: one batch, or its shapes.
        model_state: as for `TrainStep.init`, or its shapes.

    Warns:
        AneWarning: it needs more memory than is free.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jax_ane import training
        >>> step = training.train_step(lambda p, x: jnp.sum((x @ p) ** 2), optax.adam(1e-3))
        >>> found = training.estimate_memory(step, jnp.zeros((8, 4)), jnp.zeros((2, 8)))
        >>> found.params_bytes, found.fits
        (128, True)
    """
    state = jax.eval_shape(step.init, params, model_state)
    compiled = step.compile(state, batch)
    work = 0
    for program in getattr(compiled, "programs", (compiled,)):
        analysis = program.memory_analysis()
        work += analysis.temp_size_in_bytes
        work += max(0, analysis.output_size_in_bytes - analysis.alias_size_in_bytes)
    device = next(iter(jax.tree.leaves(compiled.input_shardings))).device_set
    on_engine = any(d.platform == "ane" for d in device)
    found = MemoryEstimate(
        params_bytes=_bytes(state.params),
        optimizer_bytes=_bytes(state.opt_state),
        images_bytes=_bytes(state.params) // 2 if on_engine else 0,
        batch_bytes=_bytes(batch),
        work_bytes=int(work),
        available_bytes=_available_bytes(),
    )
    if not found.fits:
        warnings.warn(
            f"this training step will not fit into memory: {found}; take a smaller batch with "
            "accumulate=, fewer trained parameters with freeze=, or jax.checkpoint",
            AneWarning,
            stacklevel=2,
        )
    return found


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"


def _bytes(tree: Any) -> int:
    return sum(
        int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(tree)
        if hasattr(leaf, "dtype") and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    )


def _available_bytes() -> int:
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
