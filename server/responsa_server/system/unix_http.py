"""Asks HTTP servers on unix sockets whether they are well."""

from __future__ import annotations

import contextlib
import socket
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

PROBE: Final = 0.5
"""The number of seconds that a probe waits for an answer."""


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket, for probes."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("embedded", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(str(self._path))


def http_get(server: Path, path: str) -> bytes | None:
    """The body that the HTTP server on a unix socket sends; None if the server does not answer with 200 within PROBE seconds."""
    status, body = answer_of(server, path, PROBE)
    return body if status == HTTPStatus.OK else None


def answer_of(server: Path, path: str, seconds: float) -> tuple[int | None, bytes]:
    """The status and the body; None and nothing if the server sends nothing for `seconds`."""
    with contextlib.closing(_UnixConnection(server, seconds)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return None, b""
