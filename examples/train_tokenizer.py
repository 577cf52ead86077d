# SPDX-License-Identifier: Apache-2.0
"""Trains a byte-level BPE on a text and writes the text as packed tokens.

`python train_tokenizer.py TEXT --out FOLDER [--words 32000]` writes `tokenizer.json` and
`tokens.bin`. TEXT is UTF-8, plain or gzip (which the `.dict.dz` of dictd is). Needs the package
`tokenizers`: pip install "jax-ane[examples]".
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jax_ane.data import TokenFile, write_tokens

END = "<|endoftext|>"  # id 0; stands between texts, so here only at the start
_CHUNK = 1 << 18  # characters that are encoded at a time; the text is cut only after a line


@dataclasses.dataclass(frozen=True)
class Tokenised:
    """What `tokenise` made.

    Attributes:
        path: of the packed tokens, uint16 (uint32 above 65,536 words).
        tokens: how many they are.
        words: tokens of the vocabulary that the text gave; no id is larger.
    """

    path: Path
    tokens: int
    words: int

    def open(self, words: int) -> TokenFile:
        """Returns the tokens for a model of so many words.

        Raises:
            ValueError: an id is beyond them.
        """
        return TokenFile(self.path, words, _dtype(self.words))


def _dtype(words: int) -> str:
    return "uint16" if words <= 2**16 else "uint32"


def tokenise(
    text: Path, folder: Path, words: int = 32000, tokenizer: Path | None = None
) -> Tokenised:
    """Trains a tokenizer on `text`, unless `folder` has what came of it before.

    Args:
        text: a UTF-8 file, plain or gzip; bytes that are no UTF-8 become U+FFFD.
        folder: gets `tokens.bin`, `tokenizer.json` and `tokens.json`, which tells what text they
            were made of; other contents there are kept.
        words: tokens of the vocabulary, at least 257: all bytes and the end of a text.
        tokenizer: a `tokenizer.json` to take instead of training one; `words` is then its own.

    Raises:
        FileNotFoundError: there is no such text, or tokenizer.
        ValueError: the text is empty, `words` is below 257, or the tokenizer cannot be used.
    """
    if words < 257:
        raise ValueError(f"words must be at least 257 (256 bytes and {END}), not {words}")
    source = {**_identity(text), "words_wanted": words}
    if tokenizer is not None:
        source = {**_identity(text), "tokenizer": _identity(tokenizer)}
    about, path = folder / "tokens.json", folder / "tokens.bin"
    if about.exists() and path.exists():
        last = json.loads(about.read_text())
        if last["source"] == source:
            return Tokenised(path, last["tokens"], last["words"])
    folder.mkdir(parents=True, exist_ok=True)
    about.unlink(missing_ok=True)  # what is stopped half-way is not taken for finished
    made = train(text, words) if tokenizer is None else load(tokenizer)
    made.save(str(folder / "tokenizer.json"))
    count = write_tokens(path, encoded(made, text), _dtype(made.get_vocab_size()))
    done = Tokenised(path, count, made.get_vocab_size())
    about.write_text(
        json.dumps({"source": source, "tokens": done.tokens, "words": done.words}) + "\n"
    )
    return done


def train(text: Path, words: int) -> Any:
    """Returns a `tokenizers.Tokenizer`: byte-level BPE, so that it can spell any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words, special_tokens=[END], initial_alphabet=level.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(chunks(text), trainer)
    return tokenizer


def load(file: Path) -> Any:
    """Returns the `tokenizers.Tokenizer` of a `tokenizer.json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no tokenizer, or has no token that ends a text.
    """
    from tokenizers import Tokenizer

    content = file.read_bytes()
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # of no type of its own
        raise ValueError(f"{file} is no tokenizer.json: {error}") from error
    if tokenizer.token_to_id(END) is None:
        raise ValueError(f"{file} has no token {END}, with which a text begins")
    return tokenizer


def encoded(tokenizer: Any, text: Path) -> Iterator[list[int]]:
    """Yields the ids of a text, chunk by chunk, after the one that begins a text."""
    yield [tokenizer.token_to_id(END)]
    for chunk in chunks(text):
        yield tokenizer.encode(chunk, add_special_tokens=False).ids


def chunks(text: Path) -> Iterator[str]:
    """Yields a text in pieces of about 256 K characters that end with a line.

    Raises:
        ValueError: the text is empty.
    """
    with text.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    opened = gzip.open if is_gzip else open
    empty = True
    with opened(text, "rt", encoding="utf-8", errors="replace", newline="") as lines:
        while chunk := lines.read(_CHUNK):
            empty = False
            yield chunk + lines.readline()
    if empty:
        raise ValueError(f"{text} is empty: there is nothing to train a tokenizer on")


def _identity(file: Path) -> dict[str, Any]:
    """Returns what tells a file from its later contents."""
    status = file.stat()
    return {"name": file.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="the text to learn from and to write as tokens")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--words", type=int, default=32000, help="tokens of the vocabulary")
    options = parser.parse_args()
    try:
        done = tokenise(options.text, options.out, options.words)
    except (OSError, ValueError) as error:
        print(f"train_tokenizer: {error}", file=sys.stderr)
        return 2
    print(f"{done.path}: {done.tokens} tokens of {done.words} different ones")
    return 0


if __name__ == "__main__":
    sys.exit(main())
