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

from jax_ane._errors import four_parts

COMMANDS = {
    "doctor": "examine the installation; exit 1 if it is unusable",
    "info": "versions, engine, chip, instruction set, flags",
    "ops": "where JAX's operations run, and how far the engine's numbers can be trusted",
    "cache": "the compiled programs that later processes load: list or clear them",
    "explain": "what of a program goes on the ANE, and why the rest does not",
    "demo": "train a CNN on scanned digits on the ane device, next to the cpu",
}


class UsageError(Exception):
    """The command line asks for something that cannot be; exit code 2.

    Its text has four parts: what failed, where, why, and what to do.
    """

    def __init__(self, what: str, where: str, why: str, remedy: str) -> None:
        super().__init__(four_parts(what, where, why, remedy))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command != "doctor":  # which reports wrong flags itself
            _check_flags()
        return arguments.run(arguments)
    except UsageError as error:
        print(f"jax-ane {arguments.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `jax-ane explain ... | head`
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
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
    return parser


def _check_flags() -> None:
    from jax_ane import config

    try:
        config.validate()
    except ValueError as error:
        raise UsageError(
            "a flag has a wrong value", "the environment", str(error), "correct it, or unset it"
        ) from None
