"""uvicorn's WebSocket protocol, with limits on the memory that a client can make the server use."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

MOST_FRAGMENTS: Final = 1024
"""The maximum number of fragments of a message. The limit is needed because empty fragments do not count towards a message's size."""
_VERSION: Final = "13"
QUIET_SECONDS: Final = 1.0
"""After a close frame, the connection ends once the client has been silent for this long."""
READ_ON_SECONDS: Final = 10.0
"""After a close frame, the server reads and discards input from the client for at most this long."""


class BoundedProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that stops answering pings while the client does not read the pongs, refuses a message with too many
    fragments (1009), and lets clients read the close reason."""

    _read_on_until: float | None = None
    """When discarding of input ends, by the loop's clock; None if no input is being discarded."""

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake. The client learns which version of the protocol it must speak (RFC 6455, 4.4)."""
        if event.headers.get_all("Sec-WebSocket-Version") == [_VERSION]:
            super().handle_connect(event)
            return
        response = self.conn.reject(HTTPStatus.UPGRADE_REQUIRED, f"Send Sec-WebSocket-Version: {_VERSION}.\n")
        response.headers["Sec-WebSocket-Version"] = _VERSION
        response.headers["Upgrade"] = "websocket"
        self.conn.send_response(response)
        self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client. While input is discarded, drop the bytes and wait again for silence."""
        if self._read_on_until is None:
            super().data_received(data)
        else:
            self._read_on(self._read_on_until)

    def handle_parser_exception(self) -> None:
        """Close the connection because the client's input is not acceptable. Closing a connection with unread bytes
        would reset it and lose the close frame, so the rest of the input is read and discarded first.
        """
        sent = self.conn.close_sent
        assert sent is not None, "the library has closed"
        self.frames = []
        self.queue.put_nowait({"type": "websocket.disconnect", "code": sent.code, "reason": sent.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._read_on_until = self.loop.time() + READ_ON_SECONDS
        self._read_on(self._read_on_until)
        if self.writable.is_set():
            self.transport.resume_reading()

    async def send(self, message: Any) -> None:
        """Send a frame. Raises ClientDisconnected when the client was already sent a close frame."""
        if self._read_on_until is not None:
            raise ClientDisconnected
        await super().send(message)

    def _read_on(self, until: float) -> None:
        """End the connection after a period without input, but not later than `until`."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        end = min(self.loop.time() + QUIET_SECONDS, until)
        self.close_timer = self.loop.call_at(end, self.transport.close)

    def pause_writing(self) -> None:
        """Pause writing, and also reading, until the written bytes have been sent."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading, unless a message waits to be received."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """The next event."""
        event = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()  # taking the message resumed reading
        return event

    def handle_cont(self, event: Frame) -> None:
        """Process a continuation frame."""
        if self.close_sent:
            return
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {MOST_FRAGMENTS} fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)
