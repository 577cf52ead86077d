# SPDX-License-Identifier: Apache-2.0
"""Protocol-buffer messages, as much as it takes to wrap one in another and to compare two.

The wire format: a varint tag (field number * 8 + wire type), then the value; bytes and messages
(wire type 2) have their length before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_LENGTHS = {1: 8, 5: 4}  # bytes of the fixed-size wire types
_VARINT, _BYTES = 0, 2


def message(*fields: tuple[int, bytes]) -> bytes:
    """Returns a message of byte or message fields, each a number and its content."""
    return b"".join(
        _varint(number << 3 | _BYTES) + _varint(len(content)) + content
        for number, content in fields
    )


def field(data: bytes, number: int) -> bytes:
    """Returns the content of the first byte or message field with that number.

    Raises:
        ValueError: the message has no such field, or is none.
    """
    found = fields(data, number)
    if not found:
        raise ValueError(f"the message of {len(data)} bytes has no field {number}")
    return found[0]


def fields(data: bytes, number: int) -> list[bytes]:
    """Returns the contents of all byte or message fields with that number."""
    return [f.content for f in _fields(data) if f.number == number and f.content is not None]


class _Field(NamedTuple):
    number: int
    whole: bytes  # with the tag
    content: bytes | None  # of a byte or message field


def _fields(data: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(data):
        start = at
        content = None
        tag, at = read_varint(data, at)
        wire_type = tag & 7
        if wire_type == _VARINT:
            _, at = read_varint(data, at)
        elif wire_type == _BYTES:
            length, at = read_varint(data, at)
            content = data[at : at + length]
            at += length
        elif wire_type in _LENGTHS:
            at += _LENGTHS[wire_type]
        else:
            raise ValueError(f"no protocol-buffer message: wire type {wire_type} at byte {at}")
        yield _Field(tag >> 3, data[start:at], content)


def with_sorted_maps(data: bytes, path: Sequence[int] = ()) -> bytes:
    """Returns a message with the entries of its maps in a fixed order.

    Equal messages are written with theirs in another order by each process.

    Args:
        path: the field that also has maps, by its number, the one in it that has, and so on.

    Raises:
        ValueError: it is no message.
    """
    out: list[bytes] = []
    entries: list[bytes] = []
    last = 0
    for found in _fields(data):
        if found.number != last or not _is_map_entry(found.content):
            out += sorted(entries)
            entries, last = [], found.number
        if path and found.number == path[0] and found.content is not None:
            out.append(message((found.number, with_sorted_maps(found.content, path[1:]))))
        elif _is_map_entry(found.content):
            entries.append(found.whole)
        else:
            out.append(found.whole)
    return b"".join([*out, *sorted(entries)])


def _is_map_entry(content: bytes | None) -> bool:
    """Whether it looks like one: a message of field 1, the key, and field 2, the value."""
    try:
        return content is not None and [f.number for f in _fields(content)] == [1, 2]
    except ValueError:
        return False


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number at a byte, and where it ends.

    Raises:
        ValueError: the data end inside it.
    """
    number = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
    raise ValueError("no protocol-buffer message: it ends inside a number")
