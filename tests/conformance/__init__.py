# SPDX-License-Identifier: Apache-2.0
"""The conformance suite: what JAX does on `cpu` it does on `ane`.

`python -m tests.conformance --summary` runs it and prints a table; pytest collects the same cases
(`test_cases.py`), a sample by default and all of them with `-m slow`.
"""
