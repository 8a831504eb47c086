"""A proxy in front of PostgreSQL. It parses messages, so that it can cut a connection exactly before or after a commit.

If it cuts before a commit, the server never gets the message that would commit. If it cuts after a commit, the server
has committed, but the client gets no response. (In PostgreSQL's Frontend/Backend Protocol 3.0, a message consists of a
type byte, a length of four bytes that includes these four bytes, and the content. The first message has no type byte.)
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class When(StrEnum):
    """The position of a cut: before or after the commit."""

    BEFORE = "before"
    AFTER = "after"


class Write(StrEnum):
    """The kind of write that is being committed."""

    ACCEPT = "accept"
    APPEND = "append"
    FINISH = "finish"
    CLAIM = "claim"
    OTHER = "other"


Decide = Callable[[Write], When | None]
"""A function that is called at each commit of a writing statement. It returns where to cut; None for no cut."""

_KINDS = (
    (Write.FINISH, re.compile(r"INSERT\s+INTO\s+responsa\.message\b", re.I)),
    (Write.ACCEPT, re.compile(r"INSERT\s+INTO\s+responsa\.turn\s*(AS\s+\w+\s*)?\(", re.I)),
    (Write.CLAIM, re.compile(r"epoch\s*=\s*t\.epoch\s*\+\s*1", re.I)),
    (Write.APPEND, re.compile(r"INSERT\s+INTO\s+responsa\.turn_event\b", re.I)),
    (Write.OTHER, re.compile(r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+responsa\.", re.I)),
)


def kind_of(statements: Sequence[str]) -> Write | None:
    """The kind of write to turns in a transaction of these statements; None if it only reads."""
    text = "\n".join(statements)
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), None)


@dataclass
class _Session:
    """The state of one connection. in_flight: for each unit that was sent but not yet answered, whether to cut at the end of the unit."""

    prepared: dict[bytes, str] = field(default_factory=dict[bytes, str])
    transaction: list[str] = field(default_factory=list[str])
    status: bytes = b"I"
    in_flight: deque[bool] = field(default_factory=deque[bool])


class PostgresProxy:
    """Listens like PostgreSQL, on `.s.PGSQL.5432` in a folder, and calls `decide` at each commit. This is an async context manager."""

    def __init__(self, folder: Path, target: Path, decide: Decide = lambda _: None) -> None:
        """target: the socket of the real server."""
        self.folder = folder
        self.decide = decide
        self.cuts: dict[tuple[Write, When], int] = {}
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> PostgresProxy:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ".s.PGSQL.5432"
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut_all(self) -> None:
        """Cut all open connections."""
        for task in list(self._open):
            task.cancel()

    def cut_so_far(self) -> int:
        """The number of cuts at commits."""
        return sum(self.cuts.values())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            inward, upstream = await asyncio.open_unix_connection(self._target)
            size = await reader.readexactly(4)
            upstream.write(size + await reader.readexactly(struct.unpack(">I", size)[0] - 4))
            session = _Session()
            ways = {
                asyncio.create_task(self._from_client(session, reader, upstream)),
                asyncio.create_task(self._from_server(session, inward, writer)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the server is not running, or this connection was cut on purpose
        finally:
            self._open.discard(task)
            for one in (writer, upstream):
                if one is not None:
                    one.transport.abort()

    async def _from_client(
        self, session: _Session, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        gathered = bytearray()
        statements: list[str] = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)
                gathered += head + body
                statements.extend(_statements(session, head[:1], body))
                if head[:1] not in (b"Q", b"S"):
                    if head[:1] in (
                        b"H",
                        b"p",
                        b"X",
                    ):  # the messages flush, password and terminate are forwarded, but do not end a unit
                        upstream.write(gathered)
                        gathered = bytearray()
                    continue
                when = self._cut(session, statements)
                if when is When.BEFORE:
                    return
                session.in_flight.append(when is When.AFTER)
                upstream.write(gathered)
                await upstream.drain()
                gathered, statements = bytearray(), []

    def _cut(self, session: _Session, statements: Sequence[str]) -> When | None:
        """Where to cut the connection if the next unit commits a transaction; None for no cut."""
        verbs = {word for text in statements for word in _verbs(text)}
        if session.status == b"I" and not session.in_flight:
            session.transaction.clear()
        session.transaction.extend(statements)
        opens = "BEGIN" in verbs or session.status != b"I"
        if opens and "COMMIT" not in verbs:
            return None
        kind = kind_of(session.transaction)
        session.transaction.clear()
        when = None if kind is None else self.decide(kind)
        if kind is not None and when is not None:
            self.cuts[kind, when] = self.cuts.get((kind, when), 0) + 1
        return when

    async def _from_server(
        self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)
                hidden = bool(session.in_flight) and session.in_flight[0]
                if head[:1] == b"Z":
                    session.status = body
                    if session.in_flight:
                        session.in_flight.popleft()
                    if hidden:
                        return
                if not hidden:
                    writer.write(head + body)
                    await writer.drain()


def _statements(session: _Session, kind: bytes, body: bytes) -> Sequence[str]:
    """The SQL that the server runs because of a message."""
    if kind == b"Q":
        return [body.rstrip(b"\0").decode()]
    if kind == b"P":
        name, query = body.split(b"\0", 2)[:2]
        session.prepared[name] = query.decode()
    elif kind == b"B":
        return [session.prepared.get(body.split(b"\0", 2)[1], "")]
    return []


def _verbs(text: str) -> Sequence[str]:
    return (
        [part.split(None, 1)[0].upper() for part in text.split(";") if part.strip()][:1]
        if text.strip()
        else []
    )
