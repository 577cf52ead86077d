# SPDX-License-Identifier: Apache-2.0
"""`jax-ane demo`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from jax_ane.cli import UsageError

EXAMPLE = "example: jax-ane demo --epochs 5 --numerics fast"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--epochs", type=int, default=40, help="passes over the data (40)")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights, shuffling (0)")
    parser.add_argument("--numerics", choices=("exact", "fast"), help="of the software ANE")
    parser.add_argument("--png", metavar="PATH", default="jax-ane-demo.png",
                        help="where the picture goes (jax-ane-demo.png)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Trains, prints the figures and writes the picture."""
    if arguments.epochs < 1:
        raise UsageError(
            "cannot train", f"--epochs {arguments.epochs}", "the demo needs data to learn from",
            "use --epochs 1 or more",
        )  # fmt: skip
    if not Path(arguments.png).parent.is_dir():
        raise UsageError(
            "cannot write the picture", arguments.png, "there is no such folder",
            "name a file in a folder that exists with --png",
        )  # fmt: skip
    try:
        from jax_ane import config, demo
    except ImportError as error:
        raise UsageError(
            "cannot run the demo", "jax_ane.demo", str(error), "pip install 'jax-ane[demo]'"
        ) from None
    if arguments.numerics:
        config.update("numerics", arguments.numerics)
    result = demo.run(arguments.epochs, arguments.seed)
    demo.plot(result, Path(arguments.png))
    figures = result.to_dict()
    out = sys.stderr if arguments.json else sys.stdout
    print(result.report.to_text(), file=out)
    for name, value in figures.items():
        print(f"{name:36} {value}", file=out)
    print(f"picture: {arguments.png}", file=out)
    if arguments.json:
        print(json.dumps(figures))
    return 0
