"""The code in an answer: what can be said about its syntax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Syntax(StrEnum):
    """The syntax of the code that a model wrote for an answer. NONE: it wrote none. VALID: all of it was checked, and is right. INVALID: some of it has errors.
    UNCHECKED: no errors were found, but not all of it was checked.
    """

    NONE = "none"
    VALID = "valid"
    INVALID = "invalid"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """An error in the syntax of a text. line: its line, from 1."""

    line: int
    message: str


class SyntaxChecker(Protocol):
    """Finds errors in the syntax of code."""

    async def faults(self, language: str, code: str) -> Sequence[SyntaxFault] | None:
        """The errors of the code, in order; None if the code cannot be checked. language: its name in lower case, such as "cairo"."""
        ...
