"""Writes the responses of a streaming call: a line of JSON each, or server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from starlette.types import Send

from responsa.chat.v1.chat_service_pb2 import AskResponse
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call
from responsa_server.calls.json_types import to_json
from responsa_server.domain.errors import ResponsaError


@dataclass(frozen=True, slots=True)
class StreamForm:
    """How a stream is written. message: writes a message of the call. error: writes the status of a call that fails after
    its first message. empty: the HTTP status of a stream without messages. end: the end of a stream without an error; if
    there is one, a call that fails before its first message is such a stream, too.
    """

    media_type: str
    message: Callable[[Any], bytes]
    error: Callable[[Status], bytes]
    empty: int
    end: bytes = b""


def _event(frame: AskResponse) -> bytes:
    """One frame of a turn as an event. Its type is the kind of the frame's last event, so that a terminal event is
    never hidden in another type."""
    last = frame.events[-1] if frame.events else None
    kind = None if last is None else last.WhichOneof("event")
    if last is not None and kind == "heartbeat":
        return b": heartbeat queue_place=%d\n\n" % last.heartbeat.queue_place
    if last is not None and kind == "reconnect":
        # An EventSource reconnects by itself, with the id of the last event.
        return b"retry: %d\n\n" % last.reconnect.after.ToMilliseconds()
    named = b"" if last is None or kind is None else b"event: %s\n" % _TYPES[kind]
    return b"id: %d\n%sdata: %s\n\n" % (frame.through_seq, named, to_json(frame))


_TYPES: Final = {
    field.name: field.json_name.encode() for field in TurnEvent.DESCRIPTOR.oneofs_by_name["event"].fields
}
LINES: Final = StreamForm(
    "application/x-ndjson",
    lambda message: to_json(message) + b"\n",
    lambda failed: b'{"error":' + status.as_json(failed) + b"}\n",
    200,
)
# 204 makes an EventSource stop reconnecting.
EVENTS: Final = StreamForm(
    "text/event-stream",
    _event,
    lambda failed: b"event: error_status\ndata: " + status.as_json(failed) + b"\n\n",
    204,
)


class Stream:
    """Writes one response, which begins with the first message. A call that fails before then gets an ordinary error
    response, unless its form says otherwise."""

    def __init__(self, call: Call, kind: type[Message], written: StreamForm, send: Send) -> None:
        self._call = call
        self._kind = kind
        self._format = written
        self._send = send
        self._begun = False

    async def message(self, message: Message | bytes) -> None:
        """Write one message. Returns once there is room for the next one."""
        # The frames of a turn arrive as bytes.
        content = self._kind.FromString(message) if isinstance(message, bytes) else message
        await self._write(self._format.message(content))

    async def end(self, error: ResponsaError | None = None) -> None:
        """End the response. Raises the error if nothing was sent yet and its response is an ordinary one."""
        if error is not None and not (self._begun or self._format.end):
            raise error
        end = self._format.end if error is None else self._format.error(status.of(error))
        if not self._begun:
            await self._start(self._format.empty)
        await self._send({"type": "http.response.body", "body": end, "more_body": False})

    async def _write(self, data: bytes) -> None:
        if not self._begun:
            await self._start(200)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _start(self, code: int) -> None:
        self._begun = True
        headers = {"cache-control": "no-store", CALL_ID: self._call.id}
        if code == 200:
            headers["content-type"] = self._format.media_type
            # nginx would otherwise collect the stream and deliver it at its end.
            headers["x-accel-buffering"] = "no"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": code, "headers": pairs})
