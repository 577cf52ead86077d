# SPDX-License-Identifier: Apache-2.0
"""`jax-ane info`."""

from __future__ import annotations

import argparse
import json

EXAMPLE = "example: jax-ane info --json"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print the values as JSON")
    parser.add_argument("--flags", action="store_true", help="print every flag, in Markdown")


def run(arguments: argparse.Namespace) -> int:
    """Prints the values, or the table of flags."""
    from jax_ane import info
    from jax_ane._config import flags_table

    if arguments.flags:
        print(flags_table())
        return 0
    answer = info()
    print(json.dumps(answer.to_dict()) if arguments.json else repr(answer))
    return 0
