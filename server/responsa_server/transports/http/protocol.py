"""uvicorn's HTTP protocol on httptools, with a limit on the size of a request's head."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 32_768


class BoundedHead(HttpToolsProtocol):
    """A connection that ends when the head of a request is larger than `MAX_HEAD_BYTES`. The library itself has no
    limit; Envoy accepts at most half of this."""

    _in_head = True
    _head = 0

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client."""
        if self._in_head:
            # Behind the head, the same bytes may have a part of the body, so they count only if the head does not end in them.
            if self._head > MAX_HEAD_BYTES:
                self.transport.close()
                return
            self._head += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request. The next bytes belong to the head of the next one."""
        self._in_head, self._head = True, 0
        super().on_message_complete()
