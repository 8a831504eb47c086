"""The folders of agents: which there are, and which have changed since they were looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from responsa_server.agents.config.check import AGENT_FILE
from responsa_server.agents.config.reading import EXAMPLES, PROMPTS, SHARED, SHIPPED, agents_in

# A file that was written a moment ago may be written again without its time changing.
_STILL_NS: Final = 100_000_000

Fingerprint = Sequence[tuple[str, int, int, int, int]]
"""Path in the folder, times of change, size and inode of each file that counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """An agent's folder. shipped: it comes with the server."""

    identity: str
    folder: Path
    shipped: bool


@dataclass(frozen=True, slots=True)
class Folders:
    """Where agents are looked for: those that come with the server, and the user's, of which one replaces a shipped one of the same id whole."""

    users: Path | None = None
    shipped: Path = SHIPPED

    @property
    def shared(self) -> Path:
        """Whose prompts all agents have."""
        return self.shipped / SHARED

    @property
    def roots(self) -> Sequence[Path]:
        """The folders of folders, those that are there."""
        return [one for one in (self.shipped, self.users) if one is not None and one.is_dir()]

    def places(self) -> Mapping[str, Place]:
        """All agents by id. Raises OSError."""
        found = {path.name: Place(path.name, path, True) for path in agents_in(self.shipped)}
        if self.users is not None:
            found |= {path.name: Place(path.name, path, False) for path in agents_in(self.users)}
        return dict(sorted(found.items()))


def fingerprint(folder: Path) -> Fingerprint | None:
    """What changes when a file of the folder does; None while one is so young that it may change unseen: then it is to be read. Raises OSError."""
    young = time.time_ns() - _STILL_NS
    found: list[tuple[str, int, int, int, int]] = []
    for name, entry in _files(folder):
        try:
            of = entry.stat()
        except FileNotFoundError:  # an editor's, gone already
            continue
        if max(of.st_mtime_ns, of.st_ctime_ns) > young:
            return None
        found.append((name, of.st_mtime_ns, of.st_ctime_ns, of.st_size, of.st_ino))
    return sorted(found)


def _files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == AGENT_FILE:
                yield entry.name, entry
            elif entry.name in (PROMPTS, EXAMPLES) and entry.is_dir():
                yield from _below(entry.path, entry.name)


def _below(path: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(path) as entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.is_dir():
                yield from _below(entry.path, name)
            elif entry.name.endswith((".md", ".jsonl")):
                yield name, entry
