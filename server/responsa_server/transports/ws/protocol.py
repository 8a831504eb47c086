"""uvicorn's WebSocket protocol, with bounds where a client could make it keep more and more."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

MOST_FRAGMENTS: Final = 1024
"""Of one message. Empty ones count for nothing in its size."""
QUIET_SECONDS: Final = 1.0
"""How long nothing may come of a client that was told to close before its connection ends."""
READ_ON_SECONDS: Final = 10.0
"""How long what such a client sends is read, and thrown away, at most."""


class BoundedProtocol(WebSocketsSansIOProtocol):
    """Answers no ping of a client that does not read the pongs, takes no message that is in a thousand pieces (1009), and lets clients read why it closes."""

    _read_on_until: float | None = None
    """By the loop's clock; None as long as what comes counts."""

    def data_received(self, data: bytes) -> None:
        """Bytes of a client; of one that was told to close they count no more."""
        if self._read_on_until is None:
            super().data_received(data)
        else:
            self._read_on(self._read_on_until)

    def handle_parser_exception(self) -> None:
        """Close for what a client has sent. A connection that is closed with bytes unread is reset, and the close frame lost with it: the rest of a
        message that is too long is read first, and thrown away.
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
        """Send a frame. Raises ClientDisconnected to an application that does not know yet that the client was told to close."""
        if self._read_on_until is not None:
            raise ClientDisconnected
        await super().send(message)

    def _read_on(self, until: float) -> None:
        """End the connection when nothing has come for a while, at that time at the latest."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        end = min(self.loop.time() + QUIET_SECONDS, until)
        self.close_timer = self.loop.call_at(end, self.transport.close)

    def pause_writing(self) -> None:
        """Nothing more is read, either, until what is written has gone."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on, unless a message waits to be taken."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """The next event."""
        event = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()  # it was resumed for the message that is taken
        return event

    def handle_cont(self, event: Frame) -> None:
        """A further piece of a message."""
        if self.close_sent:
            return
        if len(self.frames) >= MOST_FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {MOST_FRAGMENTS} fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)
