# SPDX-License-Identifier: Apache-2.0
"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_python_examples_run_in_order(python, tmp_path):
    assert len(CODE) == 5
    script = tmp_path / "readme.py"
    script.write_text("\n".join(CODE))
    done = python(str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[AneDevice(id=0)]\n")
    assert "ANE 99." in done.stdout
    assert "array([[2., 4., 6., 8.]], dtype=float16)" in done.stdout
    assert " 0\n" in done.stdout  # compilations after the first training step
    assert done.stdout.endswith("[]\n")
