# SPDX-License-Identifier: Apache-2.0
"""The conformance suite: what JAX does on `cpu` it does on `ane`.

`python -m tests.conformance --summary` runs it and prints a table; pytest collects the same cases
(`test_cases.py`), a sample by default and all of them with `-m slow`.
"""

import sys
from pathlib import Path

# `python -m` looks for modules where it is called first: in the source tree, which holds jax_ane
# without its native library. The installed one is meant.
_ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _ROOT]
