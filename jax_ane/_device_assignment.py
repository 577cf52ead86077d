# SPDX-License-Identifier: Apache-2.0
"""Reads the DeviceAssignmentProto that JAX sends: two levels of length-delimited varints."""

from __future__ import annotations

from typing import Any

from jax_ane._protobuf import read_varint


def assigned_ids(assignment: Any) -> list[list[int]]:
    """Returns device ids by [replica][partition] from the assignment's protobuf bytes."""
    columns: list[list[int]] = []
    data = assignment.serialize()
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        if key & 7 == 0:  # replica and computation counts, which the columns repeat
            _, position = read_varint(data, position)
            continue
        size, position = read_varint(data, position)
        columns.append(_column(data[position : position + size]))
        position += size
    return [list(row) for row in zip(*columns, strict=True)]


def _column(data: bytes) -> list[int]:
    ids = []
    key, position = read_varint(data, 0)
    if key & 7 == 2:
        _, position = read_varint(data, position)
        while position < len(data):
            value, position = read_varint(data, position)
            ids.append(value)
    return ids
