# SPDX-License-Identifier: Apache-2.0
"""Packed token files, and the batches drawn from them."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest

from jax_ane import data
from jax_ane.data import tokens as tokens_module
from jax_ane.data._permutation import permuted


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.bin"


def four_parts(error) -> list[str]:
    """Returns the lines of an error's text, once it has what, where, why and what to do."""
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["where", "why", "do"]
    return lines


def test_examples_in_docstrings():
    assert doctest.testmod(tokens_module) == (0, 8)


# ---------------------------------------------------------------------------- files


@pytest.mark.parametrize(("dtype", "most"), [("uint16", 2**16 - 1), ("uint32", 2**32 - 1)])
def test_file_is_flat_little_endian(path, dtype, most):
    ids = [0, 1, 258, most]
    assert data.write_tokens(path, [ids[:2], np.array(ids[2:])], dtype) == 4
    size = np.dtype(dtype).itemsize
    assert path.read_bytes() == b"".join(i.to_bytes(size, "little") for i in ids)
    file = data.TokenFile(path, dtype=dtype)
    assert (len(file), file[:].tolist(), file[1:3].tolist()) == (4, ids, [1, 258])
    assert f"4 tokens of {dtype}" in repr(file)


def test_slices_are_not_copies(path):
    data.write_tokens(path, [range(1000)])
    part = data.TokenFile(path)[100:900]
    assert type(part) is np.ndarray
    assert not part.flags.owndata and not part.flags.writeable


def test_missing_file_is_not_opened(path):
    with pytest.raises(FileNotFoundError) as error:
        data.TokenFile(path)
    assert str(path) in four_parts(error)[1]


@pytest.mark.parametrize(
    ("content", "dtype", "why"),
    [
        (b"", "uint16", "it is empty"),
        (b"\0" * 7, "uint16", "7 bytes are no whole number of uint16 tokens: it is cut off"),
        (b"\0" * 6, "uint32", "6 bytes are no whole number of uint32 tokens: it is cut off"),
    ],
)
def test_damaged_file_is_not_opened(path, content, dtype, why):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a packed token file") as error:
        data.TokenFile(path, dtype=dtype)
    assert why in four_parts(error)[2]


def test_other_dtype_is_not_taken(path):
    with pytest.raises(ValueError, match="'uint16' or 'uint32', not 'int32'"):
        data.TokenFile(path, dtype="int32")


@pytest.mark.parametrize("position", [0, 9, 10, 24])
def test_id_at_the_vocabulary_is_not_accepted(path, position, monkeypatch):
    """The first one is told, whichever chunk it lies in."""
    monkeypatch.setattr(tokens_module, "_CHUNK", 10)
    ids = np.full(25, 99)
    ids[position], ids[position + 1 :: 3] = 100, 103
    data.write_tokens(path, [ids])
    data.TokenFile(path, vocab_size=104)
    with pytest.raises(ValueError, match="the vocabulary lacks") as error:
        data.TokenFile(path, vocab_size=100)
    _, where, why, _ = four_parts(error)
    assert where.endswith(f"token {position} of 25")
    assert "id 100 is not below vocab_size 100" in why


@pytest.mark.parametrize(
    ("wrong", "dtype", "remedy"),
    [(2**16, "uint16", "write uint32"), (2**32, "uint32", "write uint32"),
     (-1, "uint16", "not negative")],
)  # fmt: skip
def test_id_beyond_the_dtype_is_not_written(path, wrong, dtype, remedy):
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="does not fit") as error:
        data.write_tokens(path, [[1, 2], [3, wrong, 4]], dtype)
    lines = four_parts(error)
    assert "token 3" in lines[1] and str(wrong) in lines[2] and remedy in lines[3]
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]  # nothing half written is left


def test_a_writer_that_fails_leaves_nothing(path):
    def chunks():
        yield [1]
        raise RuntimeError("the text broke off")

    with pytest.raises(RuntimeError):
        data.write_tokens(path, chunks())
    assert list(path.parent.iterdir()) == []


# ---------------------------------------------------------------------------- permutation


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000, 4096, 4097])
def test_permutation_hits_everything_once(size):
    orders = {tuple(permuted(np.arange(size), size, 3, epoch)) for epoch in range(4)}
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert len(orders) == 4 if size >= 16 else len(orders) >= 1


def test_permutation_is_element_by_element_and_large():
    size = 10**15 + 7
    indices = np.array([0, 1, 12345, size - 1])
    whole = permuted(indices, size, 1, 0)
    assert [int(permuted(indices[i : i + 1], size, 1, 0)[0]) for i in range(4)] == whole.tolist()
    assert whole.min() >= 0 and whole.max() < size


def test_permutation_is_like_a_random_one():
    """Neighbours part, and displacements average as those of uniform places do: size / 3."""
    size = 20_000
    order = permuted(np.arange(size), size, 0, 0)
    assert abs(np.abs(order - np.arange(size)).mean() / size - 1 / 3) < 0.01
    assert abs(np.abs(np.diff(order)).mean() / size - 1 / 3) < 0.01
    assert (np.diff(order) == 1).sum() < 10


def test_permutation_does_not_change_between_versions():
    """Checkpoints rely on it: a run that is taken up again must see the same order."""
    assert permuted(np.arange(10), 10, 42, 1).tolist() == [
        2, 6, 8, 5, 3, 7, 1, 4, 9, 0,
    ]  # fmt: skip


# ---------------------------------------------------------------------------- batches


def drawn(batches, count):
    return [batch["tokens"] for batch in itertools.islice(batches, count)]


def test_an_epoch_has_each_window_once():
    """103 tokens are 14 windows of 7 and their next tokens; batches of 4 straddle the epochs."""
    ids = np.arange(103)
    batches = data.token_batches(ids, 4, 7, seed=5)
    assert (batches.windows, batches.steps_per_epoch) == (14, 4)
    rows = np.concatenate(drawn(batches, 7))
    assert rows.dtype == np.int32 and rows.shape == (28, 8)
    assert (np.diff(rows) == 1).all()  # windows of consecutive tokens
    first, second = rows[:14, 0].tolist(), rows[14:, 0].tolist()
    assert sorted(first) == sorted(second) == list(range(0, 98, 7))
    assert first != second
    assert first != sorted(first)


def test_a_batch_may_be_larger_than_an_epoch():
    (batch,) = drawn(data.token_batches(np.arange(7), 9, 2), 1)
    assert sorted(batch[:, 0].tolist()) == sorted([0, 2, 4] * 3)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 10, 1000])
def test_start_goes_on_where_an_iterator_left_off(start):
    ids = np.random.default_rng(0).integers(0, 500, 103)
    batches = data.token_batches(ids, 4, 7, seed=5)
    drawn(batches, start)
    assert batches.position == start
    again = data.token_batches(ids, 4, 7, seed=5, start=batches.position)
    other = data.token_batches(ids, 4, 7, seed=5)
    other.seek(start)
    want = drawn(batches, 5)
    assert np.array_equal(want, drawn(again, 5))
    assert np.array_equal(want, drawn(other, 5))
    assert batches.position == again.position == start + 5


def test_seeds_differ_and_repeat():
    one, same, other = (
        drawn(data.token_batches(np.arange(999), 4, 7, seed=s), 3) for s in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_file_and_array_give_the_same(path):
    data.write_tokens(path, [range(500, 900)])
    file = data.TokenFile(path, vocab_size=900)
    from_file, from_part = (drawn(data.token_batches(t, 3, 16), 4) for t in (file, file[:]))
    assert np.array_equal(from_file, from_part)
    assert from_file[0].min() >= 500


def test_text_shorter_than_a_window_is_not_taken(path):
    data.write_tokens(path, [range(16)])
    file = data.TokenFile(path)
    with pytest.raises(ValueError, match="too short") as error:
        data.token_batches(file, 1, 16)
    _, where, why, _ = four_parts(error)
    assert str(path) in where and "16 tokens are fewer than the 17 of one window" in why
    with pytest.raises(ValueError, match="where: the tokens given"):
        data.token_batches(np.arange(3), 1, 3)
    assert data.token_batches(file, 1, 15).windows == 1


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"length": 0}, {"seed": -1}, {"start": -1}], ids=str
)
def test_numbers_out_of_range_are_not_taken(wrong):
    ((name, value),) = wrong.items()
    arguments = {"batch_size": 1, "length": 2, **wrong}
    with pytest.raises(ValueError, match=f"{name} must be at least [01], not {value}"):
        data.token_batches(np.arange(9), **arguments)


def test_negative_position_is_not_sought():
    with pytest.raises(ValueError, match="position must be at least 0, not -1"):
        data.token_batches(np.arange(9), 1, 2).seek(-1)
