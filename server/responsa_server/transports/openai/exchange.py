"""One HTTP request of OpenAI's API: its body, its calls of the contract, and its response. Errors have the shape
`{"message", "type", "param", "code"}`; the `code` is the reason of the contract's error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import uuid4

from google.protobuf.message import Message
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Send

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Read, abandon, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import SAFE, json_body, json_object
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.violations import rename_fields, within
from responsa_server.domain.addresses import own_address
from responsa_server.domain.errors import FieldViolation, Reason, ResponsaError
from responsa_server.transports.openai.settings import OpenAiApiSettings

MAX_BODY: Final = 1_048_576
"""The largest body, in bytes: clients send a chat's earlier messages again with each question."""
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

Json = Mapping[str, Any]
Response = TypeVar("Response", bound=Message)


def dump(content: object) -> str:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def error_of(error: ResponsaError) -> Json:
    """The value of `error`. `param` is the first field that breaks a rule, or null."""
    code = status.http_status(status.of(error))
    kind = _TYPES.get(code, "server_error" if code >= 500 else "invalid_request_error")
    if error.reason is Reason.QUOTA_EXHAUSTED:
        kind = "insufficient_quota"
    param = error.violations[0].field if error.violations else None
    return {"message": error.message, "type": kind, "param": param, "code": error.reason.value}


class ApiExchange:
    """Serves one request. The body is read when a call asks for its message, so after the credential was checked:
    strangers cannot send a MiB each."""

    def __init__(
        self,
        calls: Calls,
        request: Request,
        send: Send,
        fields: Mapping[str, str],
        settings: OpenAiApiSettings,
        page: str = "",
    ) -> None:
        """fields: the names of fields in this API by those of the contract. page: the address of the page, "" for that
        of this server as clients call it."""
        self.settings = settings
        self._page = page
        self.calls = calls
        self.request = request
        self._send = send
        self.fields = dict(fields)
        self._metadata = {CALL_ID: [uuid4().hex], **metadata_of_headers(request.headers.items())}
        self.headers = {"cache-control": "no-store", CALL_ID: self._metadata[CALL_ID][0]}
        self.begun = False
        self.last_event: Callable[[Json], str] = lambda error: f"data: {dump({'error': error})}\n\n"
        """Makes the last event of a stream that cannot go on."""

    @property
    def page(self) -> str:
        """The address of the page: that of the settings, or else this server's as the client called it. Without a slash at the end."""
        headers = self.request.headers
        return own_address(headers.get("host", ""), self._page, headers.get("x-forwarded-proto", "http"))

    def call(self, method: str) -> Call:
        """A call of this request's caller. All have one id."""
        peer = f"openai {peer_of(self.request.scope.get('client'))}"
        return Call(method, self._metadata, peer, safe=self.request.method in SAFE)

    async def answer(self, method: str, message: Message | Read, kind: type[Response]) -> Response:
        """Make a call with one response. Raises ResponsaError."""
        return await self.calls.answer(self.call(method), message, kind)

    async def body(self) -> Json:
        """The body. Cancels the running task when the client is gone. Raises InvalidRequest (MALFORMED_MESSAGE)."""
        request = self.request
        try:
            body = await json_body(
                request.headers, request.stream(), MAX_BODY, "; leave out the oldest messages"
            )
        except ClientDisconnect:
            await abandon()
        return json_object(body)

    async def json(self, content: object, code: int = 200) -> None:
        """Send the response."""
        self.begun = True
        await JSONResponse(content, code, self.headers)(self.request.scope, self.request.receive, self._send)

    async def write(self, text: str, *, ends: bool = False) -> None:
        """Send a part of an event stream, which begins with the first one. ends: whether this is the last part."""
        if not self.begun:
            self.begun = True
            # nginx would otherwise collect the stream and deliver it at its end.
            self.headers |= {"content-type": "text/event-stream", "x-accel-buffering": "no"}
            headers = Headers(self.headers).raw
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if text or ends:
            await self._send({"type": "http.response.body", "body": text.encode(), "more_body": not ends})

    def _explain(self, error: ResponsaError) -> ResponsaError:
        """The same error; with the field as a violation if it is about what a field names."""
        metadata, field = error.metadata, ""
        if error.reason is Reason.RESOURCE_NOT_FOUND and metadata.get("resource_type") in self.fields:
            field, remedy = metadata["resource_type"], error.message
        elif error.reason is Reason.REQUEST_ID_REUSED and "idempotency-key" in self.request.headers:
            field = "request_id"
            part = within(self.fields)(metadata["difference"])
            remedy = f"was already used for a request with a different value of {part}; send a new key"
        else:
            return error
        violation = FieldViolation(field, "openai", remedy)
        return replace(error, message=f"{field}: {remedy}", violations=(violation,))

    async def fail(self, error: ResponsaError) -> None:
        """Send an error in the names of this API, as the response or as the last event of the stream."""
        reported = error_of(rename_fields(self._explain(error), within(self.fields)))
        if self.begun:
            await self.write(self.last_event(reported), ends=True)
            return
        code = status.http_status(status.of(error))
        # OpenAI's clients would repeat each 409 and 429.
        if (wait := status.retry_after(error)) is not None:
            self.headers["retry-after"] = wait
        elif code in (409, 429):
            self.headers["x-should-retry"] = "false"
        await self.json({"error": reported}, code)
