# SPDX-License-Identifier: Apache-2.0
"""Protocol-buffer messages, as much as it takes to wrap one message in another.

The wire format: a varint tag (field number * 8 + wire type), then the value; bytes and messages
(wire type 2) have their length before them.
"""

from __future__ import annotations

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
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        wire_type = tag & 7
        if wire_type == _VARINT:
            _, at = read_varint(data, at)
        elif wire_type == _BYTES:
            length, at = read_varint(data, at)
            if tag >> 3 == number:
                return data[at : at + length]
            at += length
        elif wire_type in _LENGTHS:
            at += _LENGTHS[wire_type]
        else:
            raise ValueError(f"no protocol-buffer message: wire type {wire_type} at byte {at}")
    raise ValueError(f"the message of {len(data)} bytes has no field {number}")


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
