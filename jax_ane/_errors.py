# SPDX-License-Identifier: Apache-2.0
"""The exceptions of jax-ane."""

from __future__ import annotations


def four_parts(what: str, where: str, why: str, remedy: str) -> str:
    """Returns an error's text: what failed, where, why, and what to do, on lines of their own."""
    return f"{what}\n  where: {where}\n  why: {why}\n  do: {remedy}"


class AneError(Exception):
    """Base of all errors that jax-ane raises on its own account."""


class _MilLocated:
    """The constraint's number and the place in the MIL text."""

    id: str
    line: int
    column: int


class UnsupportedOpError(AneError, _MilLocated):
    """A program has an operation that the engine, or the software model of it, has not.

    Attributes:
        id: constraint number, such as `"ANE007"`; empty when unknown.
        line: line in the MIL text, from 1; 0 when unknown.
        column: column in bytes, from 1; 0 when unknown.
    """

    def __init__(self, message: str, id: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.id, self.line, self.column = id, line, column


class MilError(AneError, ValueError, _MilLocated):
    """A MIL program, its blobs or its inputs are refused.

    Attributes:
        id: constraint number, such as `"ANE017"`; empty when the inputs are at fault.
        line: line in the MIL text, from 1; 0 when unknown.
        column: column in bytes, from 1; 0 when unknown.
    """

    def __init__(self, message: str, id: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.id, self.line, self.column = id, line, column


class AneWarning(UserWarning):
    """What jax-ane warns of, once per cause."""
