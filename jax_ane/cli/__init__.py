# SPDX-License-Identifier: Apache-2.0
"""The command line: `jax-ane` and `python -m jax_ane`.

Each command is a module with `add(parser)` and `run(arguments) -> exit code`, a thin layer over a
public function. Results go to stdout, everything else to stderr. Exit codes: 0 good, 1 finding, 2
usage.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "doctor": "examine the installation; exit 1 if it is unusable",
    "info": "versions, engine, chip, instruction set, flags",
    "explain": "what of a program goes on the ANE, and why the rest does not",
    "demo": "train a CNN on scanned digits on the ane device, next to the cpu",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="jax-ane", description="A JAX device for Apple's Neural Engine."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        module = importlib.import_module(f"jax_ane.cli.{name}")
        sub = subparsers.add_parser(
            name, help=text, description=text, epilog=module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add(sub)
        sub.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"jax-ane {arguments.command}: {error}", file=sys.stderr)
        return 2


class UsageError(Exception):
    """The command line asks for something that does not exist; exit code 2."""
