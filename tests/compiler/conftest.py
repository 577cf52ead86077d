# SPDX-License-Identifier: Apache-2.0
"""Helpers for compiler tests: programs from JAX functions or StableHLO text, plans, runs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
