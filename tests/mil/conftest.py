# SPDX-License-Identifier: Apache-2.0
"""Makes the helpers of this folder importable and the published figures a fixture."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def data() -> dict:
    """The published figures and probes."""
    path = Path(__file__).parents[1] / "data" / "numerics-data.json"
    return json.loads(path.read_text())
