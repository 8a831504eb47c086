"""Counters of this process, from its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Count:
    """The value of a counter. labels: each has few possible values, never text from a user."""

    name: str
    labels: Mapping[str, str]
    value: int


class Counters(Protocol):
    """Counters, safe to use from any thread."""

    def add(self, name: str, labels: Mapping[str, str], value: int = 1) -> None:
        """Add to a counter."""
        ...

    def read(self) -> Sequence[Count]:
        """Return all counters, ordered by name and labels."""
        ...
