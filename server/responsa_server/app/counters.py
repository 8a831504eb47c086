"""Counts of what happened in this process, kept in memory. Implements `Counters`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final

from responsa_server.domain.counters import Count

MOST: Final = 2000
"""Combinations of a name and labels. Further combinations are counted together under the name alone, so that unbounded labels cannot exhaust the memory."""


class MemoryCounters:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}

    def add(self, name: str, labels: Mapping[str, str], value: int = 1) -> None:
        """See `Counters.add`."""
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            if key not in self._values and len(self._values) >= MOST:
                key = (name, ())
            self._values[key] = self._values.get(key, 0) + value

    def read(self) -> Sequence[Count]:
        """See `Counters.read`."""
        with self._lock:
            found = sorted(self._values.items())
        return [Count(name, dict(labels), value) for (name, labels), value in found]
