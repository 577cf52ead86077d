# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes GPT-2 on the ane device: all weights, or low-rank adapters alone.

`python finetune_gpt2.py --weights model.safetensors --data FILE --steps 200 [--lora 8]`

The weights are a safetensors file with Hugging Face's names; sizes are read off its shapes. FILE is
packed tokens if its name ends with `.bin`; any other file is a text, plain or gzip, which
`--tokenizer tokenizer.json`, the one that the weights were trained with, turns into tokens once.
`OUT/model.safetensors` gets the result under the same names, `OUT/lora.safetensors` the adapters.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpt2_file
import gpt2_model
import jax
import train_tokenizer
import training_run

from jax_ane import data
from jax_ane.adapters import lora

LEARNING_RATE, LORA_RATE = 5e-5, 5e-4


def open_tokens(options: argparse.Namespace, words: int) -> data.TokenFile:
    """Returns the tokens of a packed file, or of a text, which is tokenised first.

    Raises:
        ValueError: an id is beyond the vocabulary, or a text came without a tokenizer.
    """
    if options.data.suffix == ".bin":
        return data.TokenFile(options.data, words, options.ids)
    if options.tokenizer is None:
        raise ValueError(
            f"{options.data} is a text: give --tokenizer, the tokenizer.json that the weights were "
            "trained with, or packed tokens (.bin)"
        )
    made = train_tokenizer.tokenise(
        options.data, options.out / "tokens", tokenizer=options.tokenizer
    )
    return made.open(words)


def train(options: argparse.Namespace) -> training_run.Summary | None:
    """Trains as the command line says; None if the run was complete before."""
    model = gpt2_file.load(options.weights, options.heads)
    length = options.length or min(256, model.positions)
    if length > model.positions:
        raise ValueError(f"--length {length} is above the {model.positions} positions of wpe")
    tokens = open_tokens(options, model.words)
    print(f"{model.depth} blocks of width {model.width}, {model.heads} heads, {model.words} words")
    loss_fn = functools.partial(gpt2_model.loss, heads=model.heads)
    options.learning_rate = options.learning_rate or (LORA_RATE if options.lora else LEARNING_RATE)
    if options.lora is None:
        step = training_run.make_step(loss_fn, options, gpt2_model.decays)
        done, params = training_run.run(step, model.params, tokens, length, options)
    else:
        step = training_run.make_step(
            lambda params, batch: loss_fn(lora.merge_lora(params), batch),
            options, _nothing, freeze=lora.FREEZE,
        )  # fmt: skip
        start = lora.add_lora(model.params, options.lora, options.targets, seed=options.seed)
        done, trained = training_run.run(step, start, tokens, length, options)
        trained = jax.device_get(trained)  # so that NumPy adds the adapters up, in float32
        options.out.mkdir(parents=True, exist_ok=True)
        lora.save_lora(options.out / "lora.safetensors", trained)
        params = lora.merge_lora(trained)
    gpt2_file.save(options.out / "model.safetensors", model, params)
    return done


def main(argv: Sequence[str] | None = None) -> int:
    return training_run.finish("finetune_gpt2", train, _parser().parse_args(argv))


def _nothing(params: Any) -> Any:
    """Adapters start at 0 and stay small; nothing of them decays."""
    return jax.tree.map(lambda _: False, params)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--weights", type=Path, required=True, metavar="FILE", help="safetensors of a GPT-2")
    add("--data", type=Path, required=True, metavar="FILE", help="packed tokens (.bin) or a text")
    add("--tokenizer", type=Path, metavar="FILE", help="tokenizer.json of the weights, for a text")
    add("--ids", default="uint16", choices=("uint16", "uint32"), help="of packed tokens")
    add("--out", type=Path, default=Path("out"), metavar="FOLDER", help="gets the result")
    add("--heads", type=training_run.count, help="of each attention, if not one per 64 columns")
    add("--length", type=training_run.count, help="tokens of context, if not 256")
    add("--lora", type=training_run.count, metavar="RANK", help="train adapters of this rank alone")
    add("--targets", default=r"c_attn/weight$", metavar="REGEX", help="which matrices get adapters")
    add("--learning-rate", type=float,
        help=f"the largest, if not {LEARNING_RATE:g}, or {LORA_RATE:g} of adapters")  # fmt: skip
    add("--seed", type=int, default=0, help="of adapters and batches")
    training_run.add_options(parser, batch=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
