# SPDX-License-Identifier: Apache-2.0
"""Data for training: packed token files, batches of windows, a check, a prefetch thread.

Nothing here touches a device: batches are numpy arrays, which the train step puts where it runs.
"""

from __future__ import annotations

from jax_ane.data._checked import checked as checked
from jax_ane.data._prefetch import Prefetched as Prefetched
from jax_ane.data._prefetch import prefetch as prefetch
from jax_ane.data.tokens import TokenBatches as TokenBatches
from jax_ane.data.tokens import TokenFile as TokenFile
from jax_ane.data.tokens import token_batches as token_batches
from jax_ane.data.tokens import write_tokens as write_tokens
