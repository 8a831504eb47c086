"""The path of MCP over Streamable HTTP. No server keeps a session: each request stands alone, so the next one may reach another server."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.user_pb2 import User
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, peer_of, wait_disconnect
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import check_scope, metadata_of_headers
from responsa_server.calls.json_rpc import (
    MAX_BODY,
    SERVER_ERROR,
    RequestRefused,
    body_of,
    error_body,
    headers_of,
    json_of,
    refuse_unreadable,
    resource_of,
)
from responsa_server.calls.methods import GET_ME
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.people import Principal
from responsa_server.transports.mcp.backend import describe_error
from responsa_server.transports.mcp.in_process import InProcess
from responsa_server.transports.mcp.resuming import ResumePoint, place_of

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp_types import JSONRPCMessage, JSONRPCNotification

    from responsa_server.transports.mcp.serving import HostKey, Serving

PATH: Final = "/mcp"
_SESSION: Final = "mcp-session-id"
_VERSION: Final = "mcp-protocol-version"
_LAST_EVENT: Final = "last-event-id"


class Mcp:
    """Serves the path. The SDK is imported with the first request that has a good credential."""

    def __init__(self, calls: Calls, public_url: str = "") -> None:
        """public_url: see `own_address`."""
        self._public_url = public_url
        self._calls = calls
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._loaded: _SdkServers | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        headers = (item for item in request.headers.items() if item[0] != "cookie")
        metadata = {CALL_ID: [uuid4().hex], **metadata_of_headers(headers)}
        resource = resource_of(request.headers, self._public_url, PATH)
        backend = InProcess(self._calls, metadata, f"mcp {peer_of(scope.get('client'))}", resource)
        # Tokens are for the resource, in either form of its address.
        resource += "/" * scope["path"].endswith("/")
        me = backend.call(GET_ME)
        begun = False

        async def watch(part: Message) -> None:
            nonlocal begun
            begun = True
            await send(part)

        try:
            if request.method == "GET" and _LAST_EVENT in request.headers:
                await self._calls.answer(me, GetMeRequest(), User)
                await self._replay(request, backend, watch)
                return
            body = await body_of(self._calls, me, request.method, request.headers, request.stream())
            await self._serve(request, body, backend, me.principal, watch)
        except RequestRefused as refused:
            await _refuse(refused, metadata, resource)(scope, receive, send)
        except ResponsaError as error:
            await _refuse(RequestRefused(error, SERVER_ERROR), metadata, resource)(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:  # the caller gets JSON-RPC's shape of INTERNAL
            if begun:
                raise
            unexpected = self._calls.unforeseen(backend.call(PATH), error)
            await _refuse(RequestRefused(unexpected, SERVER_ERROR), metadata, resource)(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """End the SDK's tasks when the application ends."""
        yield
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _serve(
        self, request: Request, body: bytes, backend: InProcess, caller: Principal | None, send: Send
    ) -> None:
        loaded = await self._load()
        message = _message(body)
        if caller is not None and caller.scopes is not None:
            # The calls check it, too, but by then the response has begun.
            check_scope(caller.scopes, loaded.serving.sufficient(message))
        method = getattr(message, "method", "")
        session = _session(request, caller)
        if method == "notifications/cancelled" and session.id:
            wanted = (cast("JSONRPCNotification", message).params or {}).get("requestId")
            if isinstance(wanted, (str, int)):
                await loaded.serving.cancel(backend, session, wanted)
            await Response(status_code=202)(request.scope, request.receive, send)
            return
        request.state.host = _HostRequest(backend, session)
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return pending.pop() if pending else await request.receive()

        from mcp_types.jsonrpc import UNSUPPORTED_PROTOCOL_VERSION
        from mcp_types.version import KNOWN_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

        version = request.headers.get(_VERSION, "")
        params: Any = getattr(message, "params", None) or {}
        # The SDK names the versions only to a host that states its own in the message, too.
        if version not in ("", *KNOWN_PROTOCOL_VERSIONS) and "_meta" not in params:
            why = f"its mcp-protocol-version must be one of {', '.join(KNOWN_PROTOCOL_VERSIONS)}"
            refused = refuse_unreadable(why, UNSUPPORTED_PROTOCOL_VERSION)
            refused.request_id = getattr(message, "id", None)
            raise refused
        if version in MODERN_PROTOCOL_VERSIONS and (session.id or method == "initialize"):
            # The host has begun with a handshake, so it speaks an earlier version, whatever its header says.
            pairs = [pair for pair in request.scope["headers"] if pair[0] != _VERSION.encode()]
            request.scope["headers"], version = pairs, ""
        marks = _Marks(message, version, send)
        backend.on_progress = marks.note_progress

        async def send_on(part: MutableMapping[str, Any]) -> None:
            if part["type"] == "http.response.start":
                part["headers"] = [*part["headers"], (CALL_ID.encode(), backend.call_id.encode())]
                # The session only makes a host's numbers of requests unique. No server remembers it.
                if method == "initialize":
                    part["headers"] += [(_SESSION.encode(), uuid4().hex.encode())]
            await marks.send(part)

        await loaded.manager(request).handle_request(request.scope, receive, send_on)

    async def _replay(self, request: Request, backend: InProcess, send: Send) -> None:
        """Send what a host has missed of a response. Raises Refused."""
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        point = place_of(request.headers.get(_LAST_EVENT, ""))
        if point is None or request.headers.get(_VERSION, "") in MODERN_PROTOCOL_VERSIONS:
            raise RequestRefused(status.no_route(), allow="POST")
        serving, at = (await self._load()).serving, point
        headers = {"content-type": "text/event-stream", "cache-control": "no-store", CALL_ID: backend.call_id}
        pairs = [(name.encode(), text.encode("latin-1")) for name, text in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})

        async def write(data: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async def note_progress(_: str, seq: int) -> None:
            nonlocal at
            at = replace(at, seq=max(at.seq, seq))
            if not seq:
                await write(b": ping\r\n\r\n")

        async def message(content: Mapping[str, object]) -> None:
            data = json.dumps(content, ensure_ascii=False)
            await write(f"id: {at.event_id()}\r\nevent: message\r\ndata: {data}\r\n\r\n".encode())

        backend.on_progress = note_progress
        work = asyncio.ensure_future(serving.replay(backend, point, message))
        left = asyncio.ensure_future(wait_disconnect(request.receive))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
                await write(b"", more=False)
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.wait((work, left))

    async def _load(self) -> _SdkServers:
        async with self._lock:
            if self._loaded is None:
                # In a thread, because the server would stand still for a second.
                await asyncio.to_thread(importlib.import_module, f"{__package__}.serving")
                from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

                from responsa_server.transports.mcp.serving import Serving

                serving = Serving(
                    lambda context: _host_of(context).backend, lambda context: _host_of(context).session
                )
                streams, wholes = (
                    StreamableHTTPSessionManager(
                        serving.server, stateless=True, json_response=whole, max_request_body_size=MAX_BODY
                    )
                    for whole in (False, True)
                )
                loaded, ready = _SdkServers(serving, streams, wholes), asyncio.Event()
                self._running = asyncio.create_task(self._run(loaded, ready), name="mcp")
                await ready.wait()
                self._loaded = loaded
            return self._loaded

    async def _run(self, loaded: _SdkServers, ready: asyncio.Event) -> None:
        async with loaded.events.run(), loaded.whole.run():
            ready.set()
            await self._stop.wait()


@dataclass(frozen=True, slots=True)
class _SdkServers:
    """What needs the SDK. events, whole: serve responses as event streams, and as one JSON text."""

    serving: Serving
    events: StreamableHTTPSessionManager
    whole: StreamableHTTPSessionManager

    def manager(self, request: Request) -> StreamableHTTPSessionManager:
        """Who serves a request: a host that names only one type in `Accept`, or none, gets what it can read."""
        from mcp.server.streamable_http import check_accept_headers

        has_json, has_events = check_accept_headers(request)
        if not (has_json and has_events):
            headers = [pair for pair in request.scope["headers"] if pair[0] != b"accept"]
            request.scope["headers"] = [*headers, (b"accept", b"application/json, text/event-stream")]
        return self.events if has_events else self.whole


class _Marks:
    """Gives the events of a question's response ids, by which a host gets the rest after a cut: for protocol versions up to 2025-11-25."""

    def __init__(self, message: JSONRPCMessage, version: str, send: Send) -> None:
        from mcp_types import JSONRPCRequest
        from mcp_types.version import LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

        self._send = send
        self._streams = False
        self._place: ResumePoint | None = None
        self._request_id: str | int | None = None
        self._token: str | int | None = None
        # Hosts of earlier versions cannot read an event without data.
        self._begins = version == LATEST_HANDSHAKE_VERSION
        if isinstance(message, JSONRPCRequest) and version not in MODERN_PROTOCOL_VERSIONS:
            self._request_id = message.id
            meta = (message.params or {}).get("_meta")
            if isinstance(meta, dict):
                token = cast("Mapping[str, object]", meta).get("progressToken")
                self._token = token if isinstance(token, (str, int)) else None

    async def note_progress(self, turn: str, seq: int) -> None:
        """Note how far the turn is. Its first event tells the host an id, before there is anything else to send."""
        if self._request_id is None:
            return
        first = self._place is None
        seq = max(seq, 0 if self._place is None else self._place.seq)
        self._place = ResumePoint(turn, seq, self._request_id, self._token)
        if first and self._streams and self._begins:
            await self._send(self._event(b"data: \r\n\r\n"))

    async def send(self, part: MutableMapping[str, Any]) -> None:
        """Send a part of the response."""
        if part["type"] == "http.response.start":
            self._streams = (b"content-type", b"text/event-stream") in [
                (name.lower(), value.partition(b";")[0]) for name, value in part["headers"]
            ]
        elif self._streams and self._place is not None and part.get("body", b"").startswith(b"event:"):
            part = self._event(part["body"])
        await self._send(part)

    def _event(self, body: bytes) -> Message:
        assert self._place is not None
        data = f"id: {self._place.event_id()}\r\n".encode() + body
        return {"type": "http.response.body", "body": data, "more_body": True}


@dataclass(frozen=True, slots=True)
class _HostRequest:
    """Who makes a request of the SDK's."""

    backend: InProcess
    session: HostKey


def _host_of(context: ServerRequestContext[Any]) -> _HostRequest:
    return cast("Request", context.request).state.host


def _session(request: Request, caller: Principal | None) -> HostKey:
    from responsa_server.transports.mcp.serving import HostKey

    return HostKey("" if caller is None else str(caller.user_id), request.headers.get(_SESSION, ""))


def _message(body: bytes) -> JSONRPCMessage:
    from mcp_types import JSONRPCNotification, jsonrpc_message_adapter

    content = json_of(body)
    try:
        message = jsonrpc_message_adapter.validate_python(content, by_name=False)
    except ValidationError:
        fields = cast("Mapping[str, object]", content if isinstance(content, dict) else {})
        if isinstance(fields.get("params", {}), dict):
            raise refuse_unreadable("its body must be one message of JSON-RPC 2.0, and not a batch") from None
        refused = refuse_unreadable("its params must be an object")
        if type(request_id := fields.get("id")) in (str, int):
            refused.request_id = request_id
        raise refused from None
    # The SDK reads a request whose id has another type as a notification, which nobody answers.
    if isinstance(message, JSONRPCNotification) and isinstance(content, dict) and "id" in content:
        raise refuse_unreadable("its id must be a string or a whole number")
    return message


def _refuse(refused: RequestRefused, metadata: Mapping[str, Sequence[str]], resource: str) -> Response:
    """The response to a request that ended before the SDK saw it: an error of JSON-RPC."""
    error = refused.error
    authorised = "authorization" in metadata
    headers = headers_of(error, authorised=authorised, resource=resource) | {CALL_ID: metadata[CALL_ID][0]}
    http = status.http_status(status.of(error))
    if refused.allow:
        http, headers["allow"] = 405, refused.allow
    return Response(
        error_body(error, refused.code, describe_error(error, {}), refused.request_id),
        http,
        headers,
        "application/json",
    )
