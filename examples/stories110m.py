# SPDX-License-Identifier: Apache-2.0
"""Trains a Stories-110M model, a Llama of 110 million weights, on the ane device.

`python stories110m.py --data FILE --steps 300 [--device cpu] [--log run.jsonl] [--out FOLDER]`

FILE is packed tokens if its name ends with `.bin` (the format of TinyStories and llama2.c); any
other file is a text, plain or gzip, which is tokenised once, into FOLDER/tokens. The model is plain
JAX (`stories_model.py`); what is special to fp16 is in the arguments of `training.train_step`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import stories_model
import train_tokenizer
import training_run

from jax_ane import data

SIZES = {"110m": stories_model.STORIES_110M, "tiny": stories_model.TINY}


def open_tokens(file: Path, folder: Path, words: int) -> data.TokenFile:
    """Returns the tokens of a packed file, or of a text, which is tokenised into `folder`."""
    if file.suffix == ".bin":
        return data.TokenFile(file, words)
    made = train_tokenizer.tokenise(file, folder, words)
    return made.open(words)


def train(options: argparse.Namespace) -> training_run.Summary | None:
    """Trains as the command line says; None if the run was complete before."""
    size = SIZES[options.size]
    tokens = open_tokens(options.data, options.out / "tokens", size.words)
    step = training_run.make_step(stories_model.loss, options, stories_model.decays)
    params = stories_model.init(size, options.seed)
    done, _ = training_run.run(step, params, tokens, options.length or size.length, options)
    return done


def main(argv: Sequence[str] | None = None) -> int:
    return training_run.finish("stories110m", train, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FILE", help="packed tokens (.bin) or a text")
    add("--out", type=Path, default=Path("out"), metavar="FOLDER", help="gets a text's tokens")
    add("--length", type=training_run.count, help="tokens of context, if not 256")
    add("--size", default="110m", choices=tuple(SIZES), help="tiny is for trying the script")
    add("--learning-rate", type=float, default=3e-4, help="the largest")
    add("--seed", type=int, default=0, help="of weights and batches")
    training_run.add_options(parser, batch=4)
    return parser


if __name__ == "__main__":
    sys.exit(main())
