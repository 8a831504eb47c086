"""The disks of an instance: whether they are full, for its status and for the errors of calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from responsa_server.domain.parts import Health, PartReport
from responsa_server.embedded.files import free_space
from responsa_server.embedded.part import NO_ROOM

_KNOWN_SECONDS: Final = 1.0


class Disks:
    """The disks that receive an instance's data; implements `domain.parts.ReportedPart`."""

    name = "disk"

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._full: Sequence[Path] = ()
        self._looked = -_KNOWN_SECONDS

    def full(self) -> Sequence[Path]:
        """The folders whose disks have less than 16 MiB left, as they were at most a second ago."""
        now = time.monotonic()
        if now >= self._looked + _KNOWN_SECONDS:
            self._looked = now
            self._full = [folder for folder in self._folders if free_space(folder) < NO_ROOM]
        return self._full

    def holds_full(self, folder: Path) -> bool:
        """Whether the disk of this one of the folders is full."""
        return folder in self.full()

    async def check(self) -> PartReport:
        """Report full disks as DOWN: nothing can be stored there."""
        folders = self.full()
        if not folders:
            return PartReport(Health.OK)
        return PartReport(
            Health.DOWN,
            detail=f"full: the disk of {', '.join(map(str, folders))}; free at least 200 MB there",
        )
