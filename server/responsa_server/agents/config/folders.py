"""The folders of agents: which agents exist, and which of their files have changed since they were last read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.content import Content, ContentBroken, Defaults, content_of, new_version
from responsa_server.agents.config.problems import AGENT_FILE, Problem
from responsa_server.agents.config.reading import (
    EXAMPLES,
    PROMPTS,
    SHARED,
    SHIPPED,
    PromptFiles,
    agents_in,
    checked,
    read,
    read_shared,
)
from responsa_server.domain.agents import NewVersion

# A file that was just written may be written again without a new time stamp.
_STILL_NS: Final = 100_000_000

Fingerprint = Sequence[tuple[str, int, int, int, int]]
"""For each file that counts: its path in the folder, mtime and ctime in nanoseconds, size in bytes, and inode."""


@dataclass(frozen=True, slots=True)
class AgentLocation:
    """An agent's folder. shipped: whether it comes with the server."""

    identity: str
    folder: Path
    shipped: bool


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that hold agents: the server's own and the user's. A user's agent replaces a shipped one of the same id entirely."""

    users: Path | None = None
    shipped: Path = SHIPPED

    @property
    def shared(self) -> Path:
        """The folder of the prompts that all agents share."""
        return self.shipped / SHARED

    @property
    def roots(self) -> Sequence[Path]:
        """Those of the folders that exist."""
        return [one for one in (self.shipped, self.users) if one is not None and one.is_dir()]

    def locations(self) -> Mapping[str, AgentLocation]:
        """All agents by id. Raises OSError."""
        found = {path.name: AgentLocation(path.name, path, True) for path in agents_in(self.shipped)}
        if self.users is not None:
            found |= {path.name: AgentLocation(path.name, path, False) for path in agents_in(self.users)}
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class ScannedAgent:
    """What an agent's files contain: content and version, or problems."""

    identity: str
    shipped: bool
    content: Content | None = None
    version: NewVersion | None = None
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class _Scan:
    location: AgentLocation
    fingerprint: Fingerprint | None
    agent: ScannedAgent


class AgentScanner:
    """Reads the agents whose files have changed. Its methods block. One for a process, used by one thread at a time."""

    def __init__(self, folders: Folders, surroundings: Surroundings, defaults: Defaults) -> None:
        self._folders = folders
        self._surroundings = surroundings
        self._defaults = defaults
        self._scans: Mapping[str, _Scan] = {}
        self._shared: tuple[Fingerprint | None, PromptFiles] | None = None

    def scan(self) -> Sequence[ScannedAgent]:
        """All agents, by id. Only those whose own or shared files have changed are read. Raises OSError if a folder of agents cannot be listed."""
        shared, changed = self._read_shared()
        found: dict[str, _Scan] = {}
        for identity, location in self._folders.locations().items():
            scan = self._scans.get(identity)
            try:
                # Taken before the files are read, so that a change in between is found by the next scan.
                now = fingerprint(location.folder)
                unchanged = scan is not None and (scan.location, scan.fingerprint) == (location, now)
                if scan is None or changed or now is None or not unchanged:
                    scan = _Scan(location, now, self._read(location, shared))
            except OSError as error:
                problem = Problem(AGENT_FILE, f"cannot be read: {error.strerror or error}")
                scan = _Scan(location, None, ScannedAgent(identity, location.shipped, problems=[problem]))
            found[identity] = scan
        self._scans = found
        return [one.agent for one in found.values()]

    def shipped(self, identity: str) -> Content | None:
        """The content of a shipped agent, even if a user's agent replaces it; None if there is none without problems. Raises OSError."""
        location = AgentLocation(identity, self._folders.shipped / identity, True)
        if not location.folder.is_dir():
            return None
        return self._read(location, self._read_shared()[0]).content

    def _read_shared(self) -> tuple[PromptFiles, bool]:
        """The shared prompts, and whether they have changed."""
        folder = self._folders.shared
        now = fingerprint(folder) if folder.is_dir() else ()
        if self._shared is not None and now is not None and self._shared[0] == now:
            return self._shared[1], False
        self._shared = (now, read_shared(folder))
        return self._shared[1], True

    def _read(self, location: AgentLocation, shared: PromptFiles) -> ScannedAgent:
        folder = read(location.folder, shared, location.identity)
        config, problems = checked(folder, self._surroundings)
        if config is None or folder.config is None:
            return ScannedAgent(location.identity, location.shipped, problems=problems)
        content = content_of(folder.config, config, folder.files, self._defaults, self._surroundings.kinds)
        try:
            version = new_version(content)
        except ContentBroken as error:
            problem = Problem(AGENT_FILE, str(error))
            return ScannedAgent(location.identity, location.shipped, problems=[problem])
        return ScannedAgent(location.identity, location.shipped, content, version)


def fingerprint(folder: Path) -> Fingerprint | None:
    """A value that differs after any change of the folder's files.

    None while a file was changed less than 100 ms ago: the folder must then be read, and read again next time. Raises OSError.
    """
    recent = time.time_ns() - _STILL_NS
    found: list[tuple[str, int, int, int, int]] = []
    for name, entry in _files(folder):
        try:
            of = entry.stat()
        except FileNotFoundError:  # a temporary file of an editor
            continue
        if max(of.st_mtime_ns, of.st_ctime_ns) > recent:
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
