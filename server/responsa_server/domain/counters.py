"""The counters of this process; they start at zero when the process starts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MAX_COUNTERS: Final = 2000
"""The maximum number of combinations of a name and labels. Further combinations are counted under the name without
labels, so that an unlimited number of labels cannot exhaust the memory.
"""


@dataclass(frozen=True, slots=True)
class Count:
    """The value of a counter. labels: values from small fixed sets, never text from a user."""

    name: str
    labels: Mapping[str, str]
    value: int


class Counters:
    """Counters, safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}

    def add(self, name: str, labels: Mapping[str, str], value: int = 1) -> None:
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            if key not in self._values and len(self._values) >= MAX_COUNTERS:
                key = (name, ())
            self._values[key] = self._values.get(key, 0) + value

    def read(self) -> Sequence[Count]:
        """Return all counters, ordered by name and labels."""
        with self._lock:
            counts = sorted(self._values.items())
        return [Count(name, dict(labels), value) for (name, labels), value in counts]
