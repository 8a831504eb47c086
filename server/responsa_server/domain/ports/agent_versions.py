"""Versions of agents, kept where all servers find them: a worker that never saw an agent's files can take its turns over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NewVersion:
    """All that shapes an agent's answers, as bytes, and their SHA-256 (32). engine: the number of the code that reads them."""

    agent: str
    engine: int
    sha256: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A kept version. number: among those of its agent, from 1; ordinal: among all of the installation, rising in the order in which they can be seen.

    content: empty for what was code, before there were configurations.
    """

    agent: str
    number: int
    ordinal: int
    content: bytes

    @property
    def name(self) -> str:
        """`agents/{id}/versions/{n}`"""
        return f"agents/{self.agent}/versions/{self.number}"


class AgentVersions(Protocol):
    """All versions of all agents. They belong to the installation, not to a tenant."""

    async def register(self, versions: Sequence[NewVersion]) -> Sequence[StoredVersion]:
        """Keep them and give each its number, in the order given, in one transaction; the same bytes keep the number they have. Raises Unavailable."""
        ...

    async def newest(self) -> int:
        """The highest ordinal, 0 where there is none. Raises Unavailable."""
        ...

    async def since(self, ordinal: int, engine: int) -> Sequence[StoredVersion]:
        """Those that were kept after `ordinal` and that code of this number can run, by ordinal. Raises Unavailable."""
        ...

    async def open(self) -> Collection[str]:
        """The names of the versions that turns which have not ended run on, of all tenants. Raises Unavailable."""
        ...

    async def named(self, names: Collection[str], engine: int) -> Sequence[StoredVersion]:
        """Of these names those that code of this number can run, and those that were code before there were configurations. Raises Unavailable."""
        ...
