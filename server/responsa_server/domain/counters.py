"""The counters of this process; they start at zero when the process starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Count:
    """The value of a counter. labels: values from small fixed sets, never text from a user."""

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
