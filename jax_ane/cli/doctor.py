# SPDX-License-Identifier: Apache-2.0
"""`jax-ane doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json

EXAMPLE = "example: jax-ane doctor --json"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints the findings, worst first; returns 1 if one is fatal."""
    from jax_ane import doctor

    findings = doctor()
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        print("\n".join(map(str, findings)))
    return int(any(finding.level == "fatal" for finding in findings))
