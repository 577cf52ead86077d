# SPDX-License-Identifier: Apache-2.0
"""Notebooks are stored without outputs, beside a script of the same cells."""

from __future__ import annotations

from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks_and_the_readme_names_each():
    assert NOTEBOOKS
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if path.name not in readme] == []


def test_each_script_has_a_notebook():
    scripts = sorted(path.with_suffix("") for path in NOTEBOOKS[0].parent.glob("*.py"))
    assert scripts == [path.with_suffix("") for path in NOTEBOOKS]


def test_numbers_are_given_once():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{n:02}_" for n in range(len(NOTEBOOKS))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_script_has_the_same_cells(path):
    notebook, script = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    cells = [[(cell.cell_type, cell.source) for cell in nb.cells] for nb in (notebook, script)]
    assert cells[0] == cells[1], f"run: jupytext --to ipynb {path.with_suffix('.py').name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped_and_the_cost_comes_first(path):
    cells = jupytext.read(path).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "**Cost: " in cells[0].source
