# SPDX-License-Identifier: Apache-2.0
"""`jax-ane explain FILE`: placement and reasons for a program."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_ane.cli import UsageError

if TYPE_CHECKING:
    from jax_ane.report import Report

EXAMPLE = """FILE is StableHLO (text or bytecode), or module.py:function. A function of a module needs
example arguments: a function `<name>_args()` beside it, or `example_args()`, returns them as a tuple.

example: jax-ane explain train.py:train_step"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="StableHLO, or module.py:function; "
                        "'demo' explains the demo's train step")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", metavar="PATH", help="write the report as an HTML page")


def run(arguments: argparse.Namespace) -> int:
    report = _report(arguments.file)
    if arguments.html:
        Path(arguments.html).write_text(report.to_html())
    print(json.dumps(report.to_dict()) if arguments.json else report.to_text())
    return 0


def _report(file: str) -> Report:
    from jax_ane.report import explain, explain_program

    if file == "demo":
        from jax_ane.demo import explain_arguments

        function, args = explain_arguments()
        return explain(function, *args)
    path, _, name = file.partition(":")
    if name:
        function, args = _load_function(Path(path), name)
        return explain(function, *args)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    try:
        return explain_program(data)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _load_function(path: Path, name: str) -> tuple[Any, tuple[Any, ...]]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if function is None:
        raise UsageError(f"{path} has no function {name}")
    for candidate in (f"{name}_args", "example_args"):
        if hasattr(module, candidate):
            return function, tuple(getattr(module, candidate)())
    raise UsageError(f"{path} has neither {name}_args() nor example_args() for its arguments")
