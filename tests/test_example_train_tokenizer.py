# SPDX-License-Identifier: Apache-2.0
"""`examples/train_tokenizer.py`: what it writes decodes to the text, and is made once."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from jax_ane.data import TokenFile

tokenizers = pytest.importorskip("tokenizers", reason="the example needs tokenizers")
EXAMPLES = Path(__file__).parents[1] / "examples"
TEXT = "".join(
    f"  The {noun} of   the {verb}ing sea,\r\nnaïve → {number}\n\n"
    for number in range(40)
    for noun, verb in (("ship", "sail"), ("shore", "shin"), ("wave", "wav"))
)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop("train_tokenizer", None)
    import train_tokenizer

    return train_tokenizer


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, newline="")
    return path


def decoded(folder: Path) -> str:
    """Returns the text of a folder's tokens, without the one that begins a text."""
    ids = TokenFile(folder / "tokens.bin")[:].tolist()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.id_to_token(ids[0]) == "<|endoftext|>" and ids[0] == 0
    return tokenizer.decode(ids[1:])


@pytest.mark.parametrize("chunk", [100, 1 << 18])
def test_tokens_decode_to_the_text(example, text, tmp_path, monkeypatch, chunk):
    """Whatever the pieces that are encoded at a time: not a character is lost or added."""
    monkeypatch.setattr(example, "_CHUNK", chunk)
    done = example.tokenise(text, tmp_path / "out", words=300)
    assert decoded(tmp_path / "out") == TEXT
    file = TokenFile(done.path, vocab_size=done.words)
    assert (len(file), done.words) == (done.tokens, 300)
    assert done.tokens < len(TEXT.encode())


def test_gzip_is_read_whatever_its_name(example, text, tmp_path):
    """dictd's `.dict.dz` is gzip with a field more in its head."""
    packed = tmp_path / "text.dict.dz"
    packed.write_bytes(gzip.compress(TEXT.encode()))
    done = example.tokenise(packed, tmp_path / "packed", words=300)
    plain = example.tokenise(text, tmp_path / "plain", words=300)
    assert done.path.read_bytes() == plain.path.read_bytes()


def test_bytes_that_are_no_utf8_are_replaced(example, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"caf\xe9 \x92quoted\x92\n")
    example.tokenise(path, tmp_path / "out", words=260)
    assert decoded(tmp_path / "out") == "caf� �quoted�\n"


def test_the_text_is_tokenised_once(example, text, tmp_path, monkeypatch):
    done = example.tokenise(text, tmp_path / "out", words=300)
    trained = []
    train = example.train
    monkeypatch.setattr(example, "train", lambda *a: trained.append(a) or train(*a))
    assert example.tokenise(text, tmp_path / "out", words=300) == done
    assert trained == []
    other = example.tokenise(text, tmp_path / "out", words=280)
    assert other.words == 280 and len(trained) == 1
    text.write_text("An other text.\n")
    changed = example.tokenise(text, tmp_path / "out", words=280)
    assert decoded(tmp_path / "out") == "An other text.\n"
    assert changed.words < 280  # a short text gives fewer words than are wanted


def test_what_was_stopped_is_not_taken_for_finished(example, text, tmp_path, monkeypatch):
    example.tokenise(text, tmp_path / "out", words=300)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(example, "encoded", stopped)
        example.tokenise(text, tmp_path / "out", words=280)
    assert example.tokenise(text, tmp_path / "out", words=300).words == 300
    assert decoded(tmp_path / "out") == TEXT


def run(python, *arguments):
    return python(str(EXAMPLES / "train_tokenizer.py"), *map(str, arguments))


def test_the_command_tells_what_it_made(python, text, tmp_path):
    done = run(python, text, "--out", tmp_path / "out", "--words", 300)
    assert (done.returncode, done.stderr) == (0, "")
    count = json.loads((tmp_path / "out" / "tokens.json").read_text())["tokens"]
    assert done.stdout.endswith(f"tokens.bin: {count} tokens of 300 different ones\n")


@pytest.mark.parametrize(
    ("content", "words", "why"),
    [(None, 300, "No such file"), ("", 300, "is empty"), ("text", 256, "at least 257")],
)
def test_what_cannot_be_tokenised_is_not_written(python, tmp_path, content, words, why):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_text(content)
    done = run(python, path, "--out", tmp_path / "out", "--words", words)
    assert done.returncode == 2 and done.stderr.startswith("train_tokenizer: ")
    assert why in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "tokens.bin").exists()
