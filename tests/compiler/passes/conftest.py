# SPDX-License-Identifier: Apache-2.0
"""Lets tests of passes import the tools that stand next to them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
