"""Counts of what happened in this process since its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened. labels: a few values each, never a user's text."""

    name: str
    labels: Mapping[str, str]
    value: int


class Counters(Protocol):
    """Where counts are kept. Safe to use from any thread."""

    def add(self, name: str, labels: Mapping[str, str], value: int = 1) -> None:
        """Count."""
        ...

    def read(self) -> Sequence[Count]:
        """All of them, by name and labels."""
        ...
