"""One HTTP request of OpenAI's API: its body, its calls of the contract, and its response."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from starlette.requests import ClientDisconnect, Request
from starlette.types import Send

from responsa_server.calls import status, violations
from responsa_server.calls.call import CALL_ID, Call, abandon, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError
from responsa_server.transports.openai import errors

CHAT: Final = "/responsa.chat.v1.ChatService/"
MAX_BODY: Final = 1_048_576
"""The largest body, in bytes: clients send a chat's earlier messages again with each question."""

Response = TypeVar("Response", bound=Message)


def dumped(content: object) -> str:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


class Exchange:
    """Serves one request. The body is read when a call asks for its message, so after the credential was checked: strangers cannot send a MiB each."""

    def __init__(self, calls: Calls, request: Request, send: Send, fields: Mapping[str, str]) -> None:
        """fields: the names of fields in this API by those of the contract."""
        self.calls = calls
        self.request = request
        self._send = send
        self._fields = fields
        metadata = metadata_of_headers(request.headers.items())
        self._metadata = {
            "user-agent": [request.headers.get("user-agent", "")],
            CALL_ID: [uuid4().hex],
            **metadata,
        }
        self.headers: dict[str, str] = {"cache-control": "no-store"}
        self.begun = False
        self.last_event: Callable[[errors.Told], str] = lambda error: f"data: {dumped({'error': error})}\n\n"
        """Makes the last event of a stream that cannot go on."""

    @property
    def base(self) -> str:
        """The address of this server, as the client called it."""
        scheme = self.request.headers.get("x-forwarded-proto", "http")
        return f"{scheme}://{self.request.headers.get('host', '')}"

    def call(self, method: str) -> Call:
        """A call of this request's caller. All have one id."""
        return Call(method, self._metadata, f"openai {peer_of(self.request.scope.get('client'))}")

    async def answer(self, method: str, message: Message, kind: type[Response]) -> Response:
        """Make a call with one response. Raises ResponsaError."""
        return await self.calls.answer(self.call(method), message, kind)

    async def body(self) -> Mapping[str, Any]:
        """The body. Cancels the running task when the client is gone. Raises InvalidRequest (MALFORMED_MESSAGE)."""
        if self.request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise _malformed("send the body without a content-encoding")
        # A form on another site can send text, but cannot set this content type.
        if (
            self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
            != "application/json"
        ):
            raise _malformed("the content-type must be application/json")
        found = bytearray()
        try:
            async for piece in self.request.stream():
                found += piece
                if len(found) > MAX_BODY:
                    raise _malformed(
                        f"its body has more than {MAX_BODY >> 10} KiB; leave out the oldest messages"
                    )
        except ClientDisconnect:
            await abandon()
        try:
            content = cast("object", json.loads(found))
        except (ValueError, RecursionError):
            raise _malformed("its body is not JSON in UTF-8") from None
        if not isinstance(content, dict):
            raise _malformed("its body must be a JSON object")
        return cast("Mapping[str, Any]", content)

    async def json(self, content: object, code: int = 200) -> None:
        """Send the response."""
        body = dumped(content).encode()
        self.headers["content-length"] = str(len(body))
        await self._start(code, "application/json")
        await self._send({"type": "http.response.body", "body": body})

    async def write(self, text: str) -> None:
        """Send a part of an event stream, which begins with the first one."""
        if not self.begun:
            # nginx would otherwise collect the stream and deliver it at its end.
            self.headers["x-accel-buffering"] = "no"
            await self._start(200, "text/event-stream")
        if text:
            await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def end(self) -> None:
        """End the event stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: ResponsaError) -> None:
        """Send an error, in the names of this API."""
        await self.refuse(status.of(violations.renamed(error, self._fields)))

    async def refuse(self, found: Status) -> None:
        """Send an error, as the response or as the last event of the stream."""
        error = errors.error_of(found)
        if self.begun:
            await self.write(self.last_event(error))
            await self.end()
            return
        self.headers |= errors.headers_of(found)
        await self.json({"error": error}, status.http_status(found))

    async def _start(self, code: int, media_type: str) -> None:
        self.begun = True
        self.headers |= {"content-type": media_type, CALL_ID: self._metadata[CALL_ID][0]}
        pairs = [(name.encode(), text.encode("latin-1")) for name, text in self.headers.items()]
        await self._send({"type": "http.response.start", "status": code, "headers": pairs})


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(
        Reason.MALFORMED_MESSAGE,
        f"This server cannot read the request: {why}.",
        {"message_type": "application/json"},
    )
