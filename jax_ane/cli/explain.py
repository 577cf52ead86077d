# SPDX-License-Identifier: Apache-2.0
"""`jax-ane explain FILE`: placement and reasons for a program."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_ane.cli import UsageError

if TYPE_CHECKING:
    from jax_ane.report import Report

EXAMPLE = """FILE is StableHLO (text or bytecode), a jax.export artifact, or module.py:function.
A function needs example arguments: `<function>_args()` beside it, or `example_args()`, returns
them as a tuple (arrays or jax.ShapeDtypeStructs). `demo` stands for the demo's train step.

example: jax-ane explain train.py:train_step"""
_SAVE = (
    "save one with open(path, 'w').write(jax.jit(f).lower(x).as_text(debug_info=True)), or "
    "name a function: module.py:function"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a program, module.py:function, or demo")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", metavar="PATH", help="write the report as an HTML page")


def run(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    report = _report(arguments.file)
    if arguments.html:
        try:
            Path(arguments.html).write_text(report.to_html(arguments.file))
        except OSError as error:
            raise UsageError(
                "cannot write the page", arguments.html, str(error.strerror),
                "name a file in a folder that exists",
            ) from None  # fmt: skip
    print(json.dumps(report.to_dict()) if arguments.json else report.to_text())
    return 0


def _report(file: str) -> Report:
    from jax_ane.report import explain

    path, _, name = file.rpartition(":")
    if file == "demo":
        try:
            from jax_ane.demo import explain_arguments
        except ImportError as error:
            raise UsageError(
                "cannot explain the demo", "jax_ane.demo", str(error), "pip install 'jax-ane[demo]'"
            ) from None
        function, args = explain_arguments()
    elif path and name.isidentifier():
        function, args = _load_function(Path(path), name)
    else:
        return _explain_file(Path(file))
    return explain(function, *args)


def _explain_file(path: Path) -> Report:
    from jax_ane.report import explain_program

    if path.suffix == ".py" and path.is_file():
        raise UsageError(
            "cannot explain a whole Python file", str(path), "a report is about one function",
            f"name it: {path}:function",
        )  # fmt: skip
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError("cannot read the program", str(path), str(error.strerror), _SAVE) from None
    try:
        return explain_program(data)
    except ValueError as error:
        raise UsageError("cannot explain the program", str(path), str(error), _SAVE) from None


def _package_of(path: Path) -> tuple[Path, str]:
    """Returns the folder to import from, and the module's name there with its packages."""
    folder, names = path.resolve().parent, [path.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def _load_function(path: Path, name: str) -> tuple[Any, tuple[Any, ...]]:
    """Imports the file and returns the function and its example arguments."""
    what = f"cannot explain {name}"
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(what, str(path), "this is not a Python file", "check the path")
    root, dotted = _package_of(path)
    spec = importlib.util.spec_from_file_location(dotted, path)
    assert spec is not None and spec.loader is not None  # for .py files there are
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))
    try:
        if "." in dotted:
            importlib.import_module(dotted.rpartition(".")[0])
        sys.modules[dotted] = module
        spec.loader.exec_module(module)
    except Exception as error:
        why = f"importing it raises {type(error).__name__}: {error}"
        raise UsageError(what, str(path), why, f"make python {path} work first") from error
    function = getattr(module, name, None)
    if not callable(function):
        near = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise UsageError(
            what, str(path), "the file has no such function",
            f"name one of its functions: {', '.join(near) or 'it has none'}",
        )  # fmt: skip
    for candidate in (f"{name}_args", "example_args"):
        if hasattr(module, candidate):
            return function, tuple(getattr(module, candidate)())
    raise UsageError(
        what, str(path), f"the file has neither {name}_args() nor example_args()",
        f"add a function {name}_args() that returns a tuple of example arguments",
    )  # fmt: skip
