# SPDX-License-Identifier: Apache-2.0
"""`jax-ane info`."""

from __future__ import annotations

import argparse
import json

EXAMPLE = "example: jax-ane info --json"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the values as JSON")


def run(arguments: argparse.Namespace) -> int:
    from jax_ane import info

    answer = info()
    print(json.dumps(answer.to_dict()) if arguments.json else repr(answer))
    return 0
