"""Mistakes in the files of agents and tools, as administrators see them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A mistake in a file of an agent or a tool, or something that a tool lacks.

    file: the path relative to the agent's folder, or to that of the tools; "" for a tool without a file. line: from 1, or
    0 if unknown. key: the path of the value, or "". suggestion: a possible correction, or "".
    """

    file: str
    line: int
    key: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        """One line: file, line, key, message and suggestion."""
        line = f":{self.line}" if self.line else ""
        key = f" {self.key}:" if self.key else ""
        hint = f" Did you mean “{self.suggestion}”?" if self.suggestion else ""
        return f"{self.file}{line}:{key} {self.message.removesuffix('.')}.{hint}"
