# SPDX-License-Identifier: Apache-2.0
"""The exceptions of jax-ane. Each text has four parts: what, where, why, what to do."""

from __future__ import annotations


class AneError(Exception):
    """Base of every error that jax-ane raises itself."""


class UnsupportedOpError(AneError):
    """An op that cannot run where it was asked to run."""


class MilError(AneError, ValueError):
    """A MIL program that the device refuses.

    Attributes:
        id: the constraint's id, such as "ANE101".
        line, column: where in the text, from 1.
    """

    def __init__(self, message: str, id: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.id = id
        self.line = line
        self.column = column
