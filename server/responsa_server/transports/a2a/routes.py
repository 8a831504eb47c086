"""The paths of A2A: JSON-RPC, and the agent cards. No server keeps anything of a task, so each request may reach another server."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import formatdate
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Complete, peer_of, wait_disconnect
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.http import is_json
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.json_rpc import (
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

if TYPE_CHECKING:
    from responsa_server.transports.a2a.operations import A2aOperation

SERVICE: Final = "lf.a2a.v1.A2AService"
_PATHS: Final = ("/a2a", "/a2a/{agent}")
_CARD: Final = "/.well-known/agent-card.json"
_GET_CARD: Final = f"/{SERVICE}/GetExtendedAgentCard"
_CONTENT_TYPE: Final = -32005, ("a2a-protocol.org", "CONTENT_TYPE_NOT_SUPPORTED")
"""The code and the reason of a body that is no JSON."""
_CARD_SECONDS: Final = 60
"""How long a card may be kept."""


def add_service(calls: Calls, public_url: str, *, secure: bool) -> None:
    """Serve A2A's service over gRPC. The SDK is imported with its first call. public_url: see `own_address`. secure:
    whether callers from elsewhere use TLS."""

    def load() -> Iterable[Method]:
        from responsa_server.transports.a2a.service import methods

        return methods(calls, public_url, secure=secure)

    calls.add_service(SERVICE, load)


def a2a_routes(calls: Calls, public_url: str = "", *, secure: bool) -> Iterator[BaseRoute]:
    """The routes of JSON-RPC and of the cards. calls: has the service. public_url: see `own_address`. secure: whether
    callers from elsewhere use TLS."""
    cards = _Cards(calls, public_url, secure=secure)
    yield Route(_CARD, cards.public, methods=["GET"])
    yield Route(f"{_PATHS[1]}{_CARD}", cards.of_agent, methods=["GET"])
    for path in _PATHS:
        for address in (path, f"{path}/"):
            yield Route(address, _Door(calls, public_url))


async def _operations() -> Any:
    # In a thread, because the server would stand still meanwhile.
    return await asyncio.to_thread(importlib.import_module, f"{__package__}.operations")


def _metadata(request: Request) -> Mapping[str, Sequence[str]]:
    headers = request.headers
    return {
        CALL_ID: [uuid4().hex],
        "host": [headers["host"]],
        "x-forwarded-proto": [headers.get("x-forwarded-proto", "http")],
        **metadata_of_headers(item for item in headers.items() if item[0] != "cookie"),
    }


def _peer(request: Request) -> str:
    return f"a2a {peer_of(request.scope.get('client'))}"


class _Cards:
    """The agent cards: that of the default agent for everyone, and those of all agents for those who may ask them."""

    def __init__(self, calls: Calls, public_url: str, *, secure: bool) -> None:
        self._calls = calls
        self._public_url = public_url
        self._secure = secure
        # A card changes with the server's settings, so at the earliest with its start.
        self._began = formatdate(usegmt=True)

    async def public(self, request: Request) -> Response:
        operations = await _operations()
        from responsa_server.transports.a2a.cards import base_of, public_card

        base = base_of(_metadata(request), self._public_url, secure=self._secure)
        resource = resource_of(request.headers, self._public_url, _PATHS[0])
        return self._response(request, operations.card_json(public_card(base, resource)), "public")

    async def of_agent(self, request: Request) -> Response:
        """Raises ResponsaError."""
        operations = await _operations()
        from a2a.types.a2a_pb2 import AgentCard, GetExtendedAgentCardRequest

        resource = resource_of(request.headers, self._public_url, _PATHS[0])
        call = Call(_GET_CARD, _metadata(request), _peer(request), resource=resource)
        wanted = GetExtendedAgentCardRequest(tenant=request.path_params["agent"])
        card = operations.card_json(await self._calls.answer(call, wanted, AgentCard))
        return self._response(request, card, "private")

    def _response(self, request: Request, card: object, readers: str) -> Response:
        """A card that may be kept for a while. readers: who may keep it, as in Cache-Control."""
        body = json.dumps(card, ensure_ascii=False, sort_keys=True).encode()
        headers = {
            "cache-control": f"{readers}, max-age={_CARD_SECONDS}",
            "etag": f'"{sha256(body).hexdigest()[:32]}"',
            "last-modified": self._began,
            "vary": "host, authorization",
        }
        if request.headers.get("if-none-match", "") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")


class _Door:
    """Serves JSON-RPC. As an object, it gets the requests of all HTTP methods from Starlette."""

    def __init__(self, calls: Calls, public_url: str) -> None:
        self._calls = calls
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        resource = resource_of(request.headers, self._public_url, _PATHS[0])
        reply = _Reply(_metadata(request), _peer(request), resource, send)
        reply.challenged += "/" * scope["path"].endswith("/")
        try:
            me = reply.call(GET_ME)
            body = await body_of(self._calls, me, request.method, request.headers, request.stream())
            method, params = reply.read(body)
            await self._serve(request, reply, method, params)
        except RequestRefused as fault:
            if request.method == "POST" and not is_json(request.headers):
                fault.code, fault.error.alias = _CONTENT_TYPE
            await reply.refuse(fault)
        except ResponsaError as error:
            await reply.fail(error, SERVER_ERROR)
        except ClientDisconnect:
            pass
        except Exception as error:  # the caller gets JSON-RPC's shape of INTERNAL
            await reply.fail(self._calls.unforeseen(reply.call(scope["path"]), error), SERVER_ERROR)

    async def _serve(self, request: Request, reply: _Reply, method: str, params: object) -> None:
        operations = await _operations()
        from responsa_server.transports.a2a.errors import check_version, rpc_code, to_a2a_error

        operation: A2aOperation | None = operations.operation(method)
        try:
            check_version(request.headers.get("a2a-version", ""))
            if operation is None:
                raise status.no_route()
            message = operation.request(params)
            if not message.tenant:
                message.tenant = request.path_params.get("agent", "")
            left, call = wait_disconnect(request.receive), reply.call(operation.path)
            write = reply.event if operation.streams else reply.result

            async def send(response: Message | bytes) -> None:
                assert isinstance(response, operation.response)
                await write(operation.result(response))

            if await self._calls.serve_until(left, call, Complete(message), send) and operation.streams:
                await reply.end()
        except ResponsaError as error:
            told = to_a2a_error(error)
            await reply.fail(told, rpc_code(told))


class _Reply:
    """Writes the response to one request: a message of JSON-RPC, or an event stream of them."""

    def __init__(self, metadata: Mapping[str, Sequence[str]], peer: str, resource: str, send: Send) -> None:
        self._resource = resource
        self._metadata = metadata
        self.challenged = resource
        """The address of the resource as the client writes it."""
        self._peer = peer
        self._send = send
        self._id: object = None
        self._begun = False

    def call(self, method: str) -> Call:
        """A call of the request's caller."""
        return Call(method, self._metadata, self._peer, resource=self._resource)

    def read(self, body: bytes) -> tuple[str, object]:
        """The method and the params of a message. Raises Refused."""
        content = json_of(body)
        message = cast("Mapping[str, object]", content if isinstance(content, dict) else {})
        request_id, method = message.get("id"), message.get("method")
        if not isinstance(request_id, bool) and isinstance(request_id, (str, int)):
            self._id = request_id
        if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or self._id != request_id:
            raise refuse_unreadable("its body must be one message of JSON-RPC 2.0, and not a batch")
        return method, message.get("params") or {}

    async def result(self, result: object) -> None:
        """Send the whole response."""
        await self._whole(200, {}, self._message(result))

    async def event(self, result: object) -> None:
        """Send an event of the stream, which begins with the first one."""
        if not self._begun:
            self._begun = True
            # nginx would otherwise collect the stream and deliver it at its end.
            await self._start(200, {"x-accel-buffering": "no"}, "text/event-stream")
        await self._event(self._message(result))

    async def end(self) -> None:
        """End the stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, refused: RequestRefused) -> None:
        """Send the error of a request that reaches no method."""
        await self._error(refused.error, refused.code, {"allow": refused.allow} if refused.allow else {})

    async def fail(self, error: ResponsaError, code: int) -> None:
        """Send an error, as the response or as the last event of the stream."""
        await self._error(error, code, {})

    async def _error(self, error: ResponsaError, code: int, more: Mapping[str, str]) -> None:
        rpc_status = status.of(error)
        details = json.loads(status.as_json(rpc_status)).get("details", [])
        body = error_body(error, code, details, self._id)
        if self._begun:
            await self._event(body)
            await self.end()
            return
        # Clients look for A2A's errors in successful responses alone.
        http = 405 if more else 200 if error.alias is not None else status.http_status(rpc_status)
        authorised = "authorization" in self._metadata
        headers = headers_of(error, authorised=authorised, resource=self.challenged)
        await self._whole(http, {**headers, **more}, body)

    def _message(self, result: object) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": self._id, "result": result}, ensure_ascii=False).encode()

    async def _event(self, body: bytes) -> None:
        await self._send(
            {"type": "http.response.body", "body": b"data: " + body + b"\n\n", "more_body": True}
        )

    async def _whole(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        await self._start(code, {**headers, "content-length": str(len(body))}, "application/json")
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, code: int, headers: Mapping[str, str], media_type: str) -> None:
        whole = {
            "cache-control": "no-store",
            CALL_ID: self._metadata[CALL_ID][0],
            "content-type": media_type,
            **headers,
        }
        pairs = [(name.encode(), text.encode("latin-1")) for name, text in whole.items()]
        await self._send({"type": "http.response.start", "status": code, "headers": pairs})
