"""WebSocket clients with two libraries behind one interface. Each client is written as a user of its library would write it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, cast

import websocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SECONDS = 60.0
KEY = "rsp_good"

Json = dict[str, Any]


class Closed(Exception):
    """The server closed the socket. code: the close code of RFC 6455; 1006 if the connection ended without a close frame."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Socket(Protocol):
    """One socket of one library."""

    subprotocol: str | None

    def send(self, message: str | bytes) -> None:
        """Send a message unchanged."""
        ...

    def receive(self) -> str:
        """The next message. Raises Closed."""
        ...

    def close(self) -> None:
        """Close the socket."""
        ...


class ByWebsocketClient:
    """websocket-client."""

    def __init__(self, url: str, protocols: Sequence[str], headers: Mapping[str, str]) -> None:
        # The library has type information for only some of its names.
        self._socket: Any = cast("Any", websocket).create_connection(
            url,
            timeout=SECONDS,
            subprotocols=[*protocols] or None,
            header=[f"{name}: {value}" for name, value in headers.items()],
            suppress_origin=True,
        )
        self.subprotocol: str | None = self._socket.getsubprotocol()

    def send(self, message: str | bytes) -> None:
        opcode = websocket.ABNF.OPCODE_TEXT if isinstance(message, str) else websocket.ABNF.OPCODE_BINARY
        self._socket.send(message, opcode=opcode)

    def receive(self) -> str:
        try:
            opcode, data = self._socket.recv_data()
        except (websocket.WebSocketConnectionClosedException, ConnectionError) as error:
            raise Closed(1006) from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(int.from_bytes(data[:2], "big"))
        return data.decode()

    def close(self) -> None:
        self._socket.close(timeout=1)
        self._socket.shutdown()


class ByWebsockets:
    """websockets."""

    def __init__(self, url: str, protocols: Sequence[str], headers: Mapping[str, str]) -> None:
        self._entered = connect(
            url,
            subprotocols=cast("Any", [*protocols]) or None,
            additional_headers=dict(headers),
            open_timeout=SECONDS,
            # Envoy ends the TCP connection a second after the closing handshake; waiting for it tests nothing.
            close_timeout=0.1,
            max_size=None,
            proxy=None,
        )
        self._socket = self._entered.__enter__()
        self.subprotocol = None if self._socket.subprotocol is None else str(self._socket.subprotocol)

    def send(self, message: str | bytes) -> None:
        with contextlib.suppress(ConnectionClosed):  # `receive` says so, after the frames before the end
            self._socket.send(message)

    def receive(self) -> str:
        try:
            found = self._socket.recv(SECONDS)
        except ConnectionClosed as error:
            raise Closed(error.rcvd.code if error.rcvd is not None else 1006) from error
        assert isinstance(found, str)
        return found

    def close(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # the server may have closed it already
            self._entered.__exit__(None, None, None)


LIBRARIES: Mapping[str, type[ByWebsocketClient | ByWebsockets]] = {
    "websocket-client": ByWebsocketClient,
    "websockets": ByWebsockets,
}


class Client:
    """A socket to `/ws/chat`. A context manager. library: one of LIBRARIES."""

    def __init__(
        self,
        target: str,
        library: str = "websockets",
        *,
        key: str | None = KEY,
        protocols: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> None:
        if protocols is None:
            protocols = [] if key is None else ["responsa.v1", f"bearer.{key}"]
        self.socket: Socket = LIBRARIES[library](f"ws://{target}/ws/chat{query}", protocols, headers or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def say(self, **fields: Any) -> Self:
        """Send a message with these fields."""
        self.socket.send(json.dumps(fields))
        return self

    def hear(self) -> Json:
        """The next frame."""
        return cast("Json", json.loads(self.socket.receive()))

    def turn(self) -> list[Json]:
        """All frames up to and including the end of a turn, or an error."""
        found = [self.hear()]
        while found[-1]["type"] not in ("message", "error"):
            found.append(self.hear())
        return found

    def closed(self) -> int:
        """The code with which the server closes the socket. Fails if a frame arrives first."""
        try:
            frame = self.hear()
        except Closed as closed:
            return closed.code
        raise AssertionError(f"the socket is still open, and the server sent {frame}")


def reason_of(frame: Json) -> str:
    """The reason in an error's Status."""
    found = [
        one["reason"] for one in frame["status"]["details"] if one["@type"].endswith("/google.rpc.ErrorInfo")
    ]
    return found[0]
