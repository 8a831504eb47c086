"""uvicorn's WebSocket protocol, with bounds where a client could make it keep more and more."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

MOST_FRAGMENTS: Final = 1024
"""Of one message. Empty ones count for nothing in its size."""


class BoundedProtocol(WebSocketsSansIOProtocol):
    """Answers no ping of a client that does not read the pongs, and takes no message that is in a thousand pieces (1009)."""

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
            self.frames = []
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {MOST_FRAGMENTS} fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)
