# SPDX-License-Identifier: Apache-2.0
"""Training any JAX model with float32 masters: one compilation, no step that is not finite.

Needs the extra `train` (`pip install "jax-ane[train]"`): optax, orbax-checkpoint, tqdm.
"""

from __future__ import annotations

try:
    import optax as _optax  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f'jax_ane.training needs {_error.name}: pip install "jax-ane[train]"'
    ) from _error

from jax_ane.training._checkpoints import CheckpointError as CheckpointError
from jax_ane.training._checkpoints import CheckpointMismatchError as CheckpointMismatchError
from jax_ane.training._checkpoints import Checkpoints as Checkpoints
from jax_ane.training._checkpoints import CheckpointWarning as CheckpointWarning
from jax_ane.training._fit import FitResult as FitResult
from jax_ane.training._fit import TrainingDiverged as TrainingDiverged
from jax_ane.training._fit import ZeroGradientWarning as ZeroGradientWarning
from jax_ane.training._fit import fit as fit
from jax_ane.training._memory import MemoryEstimate as MemoryEstimate
from jax_ane.training._memory import estimate_memory as estimate_memory
from jax_ane.training._step import Metrics as Metrics
from jax_ane.training._step import TrainState as TrainState
from jax_ane.training._step import TrainStep as TrainStep
from jax_ane.training._step import train_step as train_step
