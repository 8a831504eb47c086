"""The open sockets, by user and teacher."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.transports.ws.auth import Owner


class Open(Protocol):
    """The part of a socket that the registry needs."""

    def leave(self) -> None:
        """Ask the client to reconnect elsewhere."""
        ...


class Registry:
    """The sockets of this process. most: how many a user may have open here."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sockets: dict[Owner, dict[Open, str]] = {}
        self._leaving = False

    @property
    def leaving(self) -> bool:
        """Whether all sockets were asked to reconnect elsewhere."""
        return self._leaving

    def enter(self, owner: Owner, socket: Open) -> None:
        """Add a socket. Raises Exhausted (OVERLOADED)."""
        if len(self.of(owner)) >= self._most:
            raise Exhausted(
                Reason.OVERLOADED,
                f"You have {self._most} sockets open here, which is as many as may be; close one, or ask over one of them.",
                {"limit": str(self._most)},
                retry_after=5,
            )
        self._sockets.setdefault(owner, {})[socket] = ""

    def about(self, owner: Owner, socket: Open, teacher: str) -> None:
        """Record the teacher ("" for none) of a socket's last question."""
        sockets = self._sockets.get(owner, {})
        if socket in sockets:
            sockets[socket] = teacher

    def exit(self, owner: Owner, socket: Open) -> None:
        """Remove a socket; no effect if it is not there."""
        sockets = self._sockets.get(owner, {})
        sockets.pop(socket, None)
        if not sockets:
            self._sockets.pop(owner, None)

    def of(self, owner: Owner, teacher: str | None = None) -> Collection[Open]:
        """A user's sockets; with a teacher, those whose last question was for that teacher."""
        found = self._sockets.get(owner, {})
        return [one for one, theirs in found.items() if teacher is None or theirs == teacher]

    def leave(self) -> None:
        """Ask the clients of all sockets, and of those that still open, to reconnect elsewhere."""
        self._leaving = True
        for sockets in [*self._sockets.values()]:
            for socket in [*sockets]:
                socket.leave()
