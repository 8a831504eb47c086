"""Looks at the folders of agents again and again, and reads what has changed. All of it blocks; it is run in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from responsa_server.agents.config.check import AGENT_FILE, Problem, Surroundings
from responsa_server.agents.config.content import Content, ContentBroken, Defaults, content_of, new_version
from responsa_server.agents.config.folders import Fingerprint, Folders, Place, fingerprint
from responsa_server.agents.config.reading import Prompts, judged, read, read_shared
from responsa_server.domain.ports.agent_versions import NewVersion


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent's files say: content, and the version that it makes, or what is wrong. shipped: whether they came with the server."""

    identity: str
    shipped: bool
    content: Content | None = None
    version: NewVersion | None = None
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    place: Place
    fingerprint: Fingerprint | None
    seen: Seen


class Looking:
    """One for a process, used by one thread at a time."""

    def __init__(self, folders: Folders, surroundings: Surroundings, defaults: Defaults) -> None:
        self._folders = folders
        self._surroundings = surroundings
        self._defaults = defaults
        self._known: Mapping[str, _Known] = {}
        self._shared: tuple[Fingerprint | None, Prompts] | None = None

    def look(self) -> Sequence[Seen]:
        """All agents, by id; those alone are read whose files, or the shared ones, have changed. Raises OSError where the folders cannot be listed."""
        shared, fresh = self._read_shared()
        found: dict[str, _Known] = {}
        for identity, place in self._folders.places().items():
            known = self._known.get(identity)
            try:
                # Looked at before it is read: what changes between is read again the next time.
                now = fingerprint(place.folder)
                if known is None or fresh or now is None or (known.place, known.fingerprint) != (place, now):
                    known = _Known(place, now, self._read(place, shared))
            except OSError as error:
                problem = Problem(AGENT_FILE, f"cannot be read: {error.strerror or error}")
                known = _Known(place, None, Seen(identity, place.shipped, problems=[problem]))
            found[identity] = known
        self._known = found
        return [one.seen for one in found.values()]

    def shipped(self, identity: str) -> Content | None:
        """What comes with the server under this id, whatever stands in its place; None for nothing sound. Raises OSError."""
        place = Place(identity, self._folders.shipped / identity, True)
        if not place.folder.is_dir():
            return None
        return self._read(place, self._read_shared()[0]).content

    def _read_shared(self) -> tuple[Prompts, bool]:
        folder: Path = self._folders.shared
        now = fingerprint(folder) if folder.is_dir() else ()
        if self._shared is not None and now is not None and self._shared[0] == now:
            return self._shared[1], False
        self._shared = (now, read_shared(folder))
        return self._shared[1], True

    def _read(self, place: Place, shared: Prompts) -> Seen:
        folder = read(place.folder, shared, place.identity)
        config, problems = judged(folder, self._surroundings)
        if config is None or folder.config is None:
            return Seen(place.identity, place.shipped, problems=problems)
        content = content_of(folder.config, config, folder.files, self._defaults, self._surroundings.kinds)
        try:
            version = new_version(content)
        except ContentBroken as error:
            return Seen(place.identity, place.shipped, problems=[Problem(AGENT_FILE, str(error))])
        return Seen(place.identity, place.shipped, content, version)
