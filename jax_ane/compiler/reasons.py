# SPDX-License-Identifier: Apache-2.0
"""Why an op is where it is."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Reason:
    """Why an op is where it is: a stable code, a sentence, and what the user can do."""

    code: str
    text: str
    remedy: str = ""
