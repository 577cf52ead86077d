# SPDX-License-Identifier: Apache-2.0
"""Reads the DeviceAssignmentProto that JAX sends: two levels of length-delimited varints."""

from __future__ import annotations

from typing import Any


def assigned_ids(assignment: Any) -> list[list[int]]:
    """Returns device ids by [replica][partition] from the assignment's protobuf bytes."""
    columns: list[list[int]] = []
    data = assignment.serialize()
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        if key & 7 == 0:  # replica and computation counts, which the columns repeat
            _, position = _varint(data, position)
            continue
        size, position = _varint(data, position)
        columns.append(_column(data[position : position + size]))
        position += size
    return [list(row) for row in zip(*columns, strict=True)]


def _column(data: bytes) -> list[int]:
    ids = []
    key, position = _varint(data, 0)
    if key & 7 == 2:
        _, position = _varint(data, position)
        while position < len(data):
            value, position = _varint(data, position)
            ids.append(value)
    return ids


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
