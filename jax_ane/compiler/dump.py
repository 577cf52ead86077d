# SPDX-License-Identifier: Apache-2.0
"""Writes what a compilation saw and made into `dump_dir/<fingerprint>/`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from jaxlib.mlir import ir

from jax_ane.compiler import passes
from jax_ane.compiler.placement import Placement
from jax_ane.compiler.programs import AneProgram
from jax_ane.compiler.settings import Settings

_README = """Dump of one jax-ane compilation.

00_program.mlirbc  the program as PJRT handed it over
50_host.mlir       the host module, with a custom call per ANE program
90_<name>/         each ANE program: model.mil and weights/; passes.txt: what each pass did
report.json        every op's placement and reason

Reproduce: jax-ane explain 00_program.mlirbc   (JAX_ANE_CHIP={chip} JAX_ANE_NUMERICS={numerics})
"""


def write(
    folder: str, program: bytes | str, module: ir.Module, placement: Placement, settings: Settings
) -> Path:
    """Writes the dump and returns its folder."""
    data = program.encode() if isinstance(program, str) else program
    target = Path(folder) / hashlib.sha256(data).hexdigest()[:16]
    target.mkdir(parents=True, exist_ok=True)
    (target / "00_program.mlirbc").write_bytes(data)
    (target / "50_host.mlir").write_text(str(module))
    for ane_program in placement.programs:
        folder_of_program = target / f"90_{ane_program.name}"
        save_program(ane_program, folder_of_program)
        (folder_of_program / "passes.txt").write_text(_statistics(ane_program))
    (target / "report.json").write_text(json.dumps(placement.to_dict(), indent=1))
    readme = _README.format(chip=settings.chip, numerics=settings.numerics)
    (target / "README").write_text(readme)
    return target


def _statistics(program: AneProgram) -> str:
    """Returns a line a pass, in order: its changes and what it is for."""
    lines = [f"{program.lowered_op_count} ops lowered, {program.op_count} after the passes", ""]
    for row in passes.PIPELINE:
        count = program.pass_statistics.get(row.name)
        changes = "disabled" if count is None else f"{count} changes"
        lines.append(f"{row.name:22}{changes:>15}  {row.purpose}")
    return "\n".join(lines) + "\n"


def save_program(program: AneProgram, folder: Path) -> None:
    """Writes a program as the Mac's compiler would find it: model.mil and weights/."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.mil").write_text(program.text)
    for path, content in program.blobs.items():
        file = folder / path.removeprefix("@model_path/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
