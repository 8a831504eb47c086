"""The path of MCP over Streamable HTTP. No server keeps a session: each request stands alone, so the next one may reach another server."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.json_rpc import (
    MAX_BODY,
    SERVER_ERROR,
    Refused,
    body_of,
    error_body,
    headers_of,
    json_of,
    malformed,
)
from responsa_server.domain.errors import ResponsaError
from responsa_server.transports.mcp.backend import InProcess, told

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp_types import JSONRPCMessage, JSONRPCNotification

    from responsa_server.transports.mcp.serving import Serving

PATH: Final = "/mcp"
_SESSION: Final = "mcp-session-id"


class Mcp:
    """Serves the path. The SDK is imported with the first request that has a good credential."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._loaded: tuple[Serving, StreamableHTTPSessionManager] | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        headers = (item for item in request.headers.items() if item[0] != "cookie")
        metadata = {CALL_ID: [uuid4().hex], **metadata_of_headers(headers)}
        backend = InProcess(self._calls, metadata, f"mcp {peer_of(scope.get('client'))}")
        begun = False

        async def watched(part: Message) -> None:
            nonlocal begun
            begun = True
            await send(part)

        try:
            body = await body_of(self._calls, backend.call, request.method, request.headers, request.stream())
            await self._serve(request, body, backend, watched)
        except Refused as refused:
            await _refuse(refused, metadata)(scope, receive, send)
        except ResponsaError as error:
            await _refuse(Refused(error, SERVER_ERROR), metadata)(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:  # the caller gets JSON-RPC's shape of INTERNAL
            if begun:
                raise
            unexpected = self._calls.unforeseen(backend.call(PATH), error)
            await _refuse(Refused(unexpected, SERVER_ERROR), metadata)(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """End the SDK's tasks when the application ends."""
        yield
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _serve(self, request: Request, body: bytes, backend: InProcess, send: Send) -> None:
        serving, manager = await self._load()
        message = _message(body)
        session = request.headers.get(_SESSION, "")
        method = getattr(message, "method", "")
        if method == "notifications/cancelled" and session:
            wanted = (cast("JSONRPCNotification", message).params or {}).get("requestId")
            if isinstance(wanted, (str, int)):
                await serving.cancel(backend, session, wanted)
            await Response(status_code=202)(request.scope, request.receive, send)
            return
        request.scope["responsa"] = backend
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return pending.pop() if pending else await request.receive()

        async def send_on(part: MutableMapping[str, Any]) -> None:
            if part["type"] == "http.response.start":
                part["headers"] = [*part["headers"], (CALL_ID.encode(), backend.call_id.encode())]
                # The session only makes a host's numbers of requests unique. No server remembers it.
                if method == "initialize":
                    part["headers"] += [(_SESSION.encode(), uuid4().hex.encode())]
            await send(part)

        await manager.handle_request(request.scope, receive, send_on)

    async def _load(self) -> tuple[Serving, StreamableHTTPSessionManager]:
        async with self._lock:
            if self._loaded is None:
                # In a thread, because the server would stand still for a second.
                await asyncio.to_thread(importlib.import_module, f"{__package__}.serving")
                from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

                from responsa_server.transports.mcp.serving import Serving

                serving = Serving(
                    lambda context: cast("Request", context.request).scope["responsa"],
                    lambda context: cast("Request", context.request).headers.get(_SESSION, ""),
                )
                manager = StreamableHTTPSessionManager(
                    serving.server, stateless=True, max_request_body_size=MAX_BODY
                )
                ready = asyncio.Event()
                self._running = asyncio.create_task(self._run(manager, ready), name="mcp")
                await ready.wait()
                self._loaded = serving, manager
            return self._loaded

    async def _run(self, manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
        async with manager.run():
            ready.set()
            await self._stop.wait()


def _message(body: bytes) -> JSONRPCMessage:
    from mcp_types import JSONRPCNotification, jsonrpc_message_adapter

    content = json_of(body)
    try:
        message = jsonrpc_message_adapter.validate_python(content, by_name=False)
    except ValidationError:
        given = cast("Mapping[str, object]", content if isinstance(content, dict) else {})
        if isinstance(given.get("params", {}), dict):
            raise malformed("its body must be one message of JSON-RPC 2.0, and not a batch") from None
        refused = malformed("its params must be an object")
        if type(request_id := given.get("id")) in (str, int):
            refused.request_id = request_id
        raise refused from None
    # The SDK reads a request whose id has another type as a notification, which nobody answers.
    if isinstance(message, JSONRPCNotification) and isinstance(content, dict) and "id" in content:
        raise malformed("its id must be a text or a whole number")
    return message


def _refuse(refused: Refused, metadata: Mapping[str, Sequence[str]]) -> Response:
    """The response to a request that ended before the SDK saw it: an error of JSON-RPC."""
    error = refused.error
    headers = headers_of(error, authorised="authorization" in metadata) | {CALL_ID: metadata[CALL_ID][0]}
    http = status.http_status(status.of(error))
    if refused.allow:
        http, headers["allow"] = 405, refused.allow
    return Response(
        error_body(error, refused.code, told(error, {}), refused.request_id),
        http,
        headers,
        "application/json",
    )
