"""What the parsers of documents share with what stores and shows the parsed documents."""

from __future__ import annotations

from typing import Protocol

from responsa_contract import LeftOutKind as LeftOutKind


class StoredBytes(Protocol):
    """Bytes that are read in pieces, because they may be too many to hold in memory. Reads may take time; use it in one
    thread at a time."""

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> bytes:
        """Their SHA-256."""
        ...

    def read(self, start: int, count: int) -> bytes:
        """Up to `count` bytes from `start` on."""
        ...
