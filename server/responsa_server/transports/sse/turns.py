"""Ask and ResumeTurn as event streams on the same REST paths. An `Accept` header of `text/event-stream` selects them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse, ResumeTurnRequest
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Complete, disconnected, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.json_types import REMEDIES, RULE, misfit
from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError

ASK_PATH: Final = "/v1/turns:ask"
RESUME_PATH: Final = "/v1/turns/{turn}/events"
MAX_BODY: Final = 65_536
"""The largest body, in bytes: the same as for other REST calls."""
MEDIA_TYPE: Final = "text/event-stream"

_CHAT: Final = "/responsa.chat.v1.ChatService/"
_SEQ = re.compile(r"[0-9]{1,18}")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_PARAMETERS: Final = {
    "after_seq": "after_seq",
    "afterSeq": "after_seq",
    "include_deltas": "include_deltas",
    "includeDeltas": "include_deltas",
}
"""The query parameters of a resume, in both spellings that REST accepts."""


class TurnEvents:
    """`POST /v1/turns:ask` and `GET /v1/turns/{turn}/events` as event streams.

    Each event is a frame: `data` is an `AskResponse` as proto-JSON, and `id` is the frame's through_seq. A heartbeat is a comment. An error before the first
    event becomes an ordinary REST error response. A later error becomes the last event, of type `error_status`, with a google.rpc.Status. A client that
    disconnects leaves the turn, as with gRPC.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a question. Raises ResponsaError if nothing was sent yet."""
        request = Request(scope, receive)
        call = _call_of(request, "Ask")
        with self._calls.arriving(call):
            question = await _question(request)
        await self._serve(request, send, call, question)

    async def resume(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a turn's events after a seq. The seq comes from `Last-Event-ID`, or else from the query. Raises ResponsaError if nothing was sent yet."""
        request = Request(scope, receive)
        await self._serve(request, send, _call_of(request, "ResumeTurn"), _resumption(request))

    async def _serve(self, request: Request, send: Send, call: Call, message: Message) -> None:
        stream = _Stream(call, send)
        try:
            if await self._calls.serve_until(
                disconnected(request.receive), call, Complete(message), stream.frame
            ):
                await stream.end()
        except ResponsaError as error:
            await stream.end(error)


class _Stream:
    """Writes the events of one response. The response begins when the first event is written. A call that is refused before then gets an
    ordinary error response.
    """

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send
        self._begun = False

    async def frame(self, message: Message | bytes) -> None:
        """Write one frame of a turn."""
        frame = AskResponse.FromString(message if isinstance(message, bytes) else message.SerializeToString())
        await self._write(encoded(frame))

    async def end(self, error: ResponsaError | None = None) -> None:
        """End the response. Raises the error if nothing was sent yet."""
        if error is not None and not self._begun:
            raise error
        if error is not None:
            text = status.as_json(status.of(error)).decode()
            await self._write(f"event: error_status\ndata: {text}\n\n")
        if not self._begun:
            # There are no more events. 204 makes an EventSource stop reconnecting.
            await self._start(204)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, text: str) -> None:
        if not self._begun:
            await self._start(200)
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _start(self, code: int) -> None:
        self._begun = True
        headers = {"cache-control": "no-store", CALL_ID: self._call.id}
        if code == 200:
            headers["content-type"] = MEDIA_TYPE
            # nginx would otherwise collect the stream and deliver it at its end.
            headers["x-accel-buffering"] = "no"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": code, "headers": pairs})


def encoded(frame: AskResponse) -> str:
    """One frame as an SSE event, with the empty line at its end."""
    (only_event,) = frame.events if len(frame.events) == 1 else (None,)
    kind = None if only_event is None else only_event.WhichOneof("event")
    if only_event is not None and kind == "heartbeat":
        return f": heartbeat queue_place={only_event.heartbeat.queue_place}\n\n"
    if only_event is not None and kind == "reconnect":
        # An EventSource reconnects by itself, with the id of the last event.
        return f"retry: {only_event.reconnect.after.ToMilliseconds()}\n\n"
    data = json_format.MessageToJson(frame, indent=None)
    return f"id: {frame.through_seq}\ndata: {data}\n\n"


def _call_of(request: Request, method: str) -> Call:
    peer = f"sse {peer_of(request.scope.get('client'))}"
    return Call(_CHAT + method, metadata_of_headers(request.headers.items()), peer)


async def _question(request: Request) -> AskRequest:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY:
                raise _malformed(f"its body is larger than {MAX_BODY >> 10} KiB")
    except ClientDisconnect:
        # The client is gone, so no client receives this error.
        raise _malformed("its body ended early") from None
    if request.query_params:
        raise _unknown(next(iter(request.query_params)), "this path takes no parameters")
    try:
        # Of a key that occurs twice, the last value counts, as over REST.
        content = cast("object", json.loads(body.decode() or "{}"))
        if not isinstance(content, dict):
            raise _malformed("its body must be a JSON object")
        fields = cast("dict[str, Any]", content)
        # The library leaves out an unknown value of an enum.
        if (wrong := misfit(AskRequest.DESCRIPTOR, fields)) is not None:
            raise InvalidRequest.of_violation(wrong)
        return json_format.ParseDict(fields, AskRequest(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise _malformed("its body must be JSON in UTF-8 that fits an AskRequest") from error


def _resumption(request: Request) -> ResumeTurnRequest:
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in _PARAMETERS:
            raise _unknown(name, "the parameters are afterSeq, includeDeltas")
        values[_PARAMETERS[name]] = value
    last: str | None = request.headers.get("last-event-id")
    given = values.get("after_seq", "0") if last is None else last
    if last is None and not _INTEGER.fullmatch(given):
        raise InvalidRequest.of_field("after_seq", RULE, REMEDIES["TYPE_INT64"])
    if last is not None and not _SEQ.fullmatch(last):
        raise InvalidRequest.of_field(
            "last-event-id", "int64", "must be the seq of an event: a whole number, 0 or more"
        )
    deltas = values.get("include_deltas", "false").lower()
    if deltas not in ("true", "false"):
        raise InvalidRequest.of_field("include_deltas", "bool", "must be true or false")
    parameters = cast("Mapping[str, str]", request.path_params)
    return ResumeTurnRequest(
        turn=f"turns/{parameters['turn']}", after_seq=int(given), include_deltas=deltas == "true"
    )


def _malformed(why: str) -> InvalidRequest:
    message = f"This server cannot read the request: {why}."
    return InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": "application/json"})


def _unknown(name: str, remedy: str) -> InvalidRequest:
    return InvalidRequest.of_field(name[:64], "unknown_parameter", f"there is no such parameter; {remedy}")
