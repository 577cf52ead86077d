# SPDX-License-Identifier: Apache-2.0
"""Training in fp16 without infinities: clamping, loss scaling, sanitised gradients.

All of it works on every JAX device; on `ane` it keeps fp16's range from being left, on others it
changes nothing that is in range.
"""

from __future__ import annotations

from jax_ane.precision._clamp import CONTRACTION_LIMIT as CONTRACTION_LIMIT
from jax_ane.precision._clamp import JOIN_LIMIT as JOIN_LIMIT
from jax_ane.precision._clamp import clamp_activations as clamp_activations
from jax_ane.precision._gradients import SanitizeState as SanitizeState
from jax_ane.precision._gradients import all_finite as all_finite
from jax_ane.precision._gradients import count_nonfinite as count_nonfinite
from jax_ane.precision._gradients import sanitize_gradients as sanitize_gradients
from jax_ane.precision._loss_scale import DynamicLossScale as DynamicLossScale
from jax_ane.precision._loss_scale import LossScale as LossScale
from jax_ane.precision._loss_scale import StaticLossScale as StaticLossScale
