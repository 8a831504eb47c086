"""The doors of a server through which strangers try: gRPC, REST, and those that have shapes of their own (MCP, A2A,
OpenAI's API, the original paths, downloads, uploads, WebSockets)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import httpx2
from google.protobuf import message_factory
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from responsa_server.app.gateway import GatewayServer
from responsa_server.calls.methods import CHAT, METHODS
from responsa_server.domain.addresses import UnixAddress
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.http.guard import AllowedCallers
from responsa_server.transports.http.original_paths.serving import ROWS
from tests.rpc.served import Served, failure
from tests.rpc.sweeping import ANY, PUBLIC_TYPES, Try, missing_twin, named_in
from tests.transports import rest_form

_HOST: Final = "responsa"
_KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
SECONDS: Final = 60.0
"""How long a reply may take on a busy machine."""
UUIDS: Final = re.compile(r"(?:[A-Za-z]+/)?(?:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|…)")
_REASON: Final = re.compile(r'"(?:reason|code)":\s*"([A-Z_]{3,})"')
_CALL: Final = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller gets. text: the error as the caller reads it, without the name that the request gave. data: the responses."""

    reason: str
    text: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """A request of a door with a shape of its own. call: the call of the contract behind it. resource_type: what it
    names. path, body: with `{name}` or `{id}` for the name or the id of the resource. verb: "" for a message on a
    WebSocket."""

    call: str
    resource_type: str
    verb: str
    path: str
    body: object = None

    def filled(self, name: str) -> bytes:
        """The request with this name, as JSON."""
        text = json.dumps([self.verb, self.path, self.body])
        return text.replace("{name}", name).replace("{id}", name.partition("/")[2]).encode()


def _tool(call: str, resource_type: str, tool: str, **arguments: object) -> Shape:
    params = {"name": tool, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return Shape(call, resource_type, "POST", "/mcp", body)


def _task(call: str, resource_type: str, method: str, **params: object) -> Shape:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return Shape(call, resource_type, "POST", "/a2a/other", body)


def _message(**place: str) -> Mapping[str, object]:
    return {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Which canary sings?"}], **place}


_ASKED: Final = {"model": "other", "input": "Which canary sings?"}
SHAPES: Final[Sequence[Shape]] = (
    Shape(_KNOWLEDGE + "GetDocumentOriginal", "responsa.example.org/Document", "GET", "/v1/documents/{id}/original"),
    Shape(_KNOWLEDGE + "UploadDocument", "responsa.example.org/Collection", "PUT", "/v1/uploads?source_key=a.md&collection={name}", "text"),
    Shape(CHAT + "GetTurn", "responsa.example.org/Turn", "GET", "/v1/responses/resp_{id}"),
    Shape(CHAT + "CancelTurn", "responsa.example.org/Turn", "POST", "/v1/responses/resp_{id}/cancel"),
    Shape(CHAT + "Ask", "responsa.example.org/Turn", "POST", "/v1/responses", {**_ASKED, "previous_response_id": "resp_{id}"}),
    Shape(CHAT + "Ask", "responsa.example.org/Conversation", "POST", "/v1/responses", {**_ASKED, "conversation": "{id}"}),
    _tool(_KNOWLEDGE + "GetDocument", "responsa.example.org/Document", "documents", names=["{name}"]),
    _tool(_KNOWLEDGE + "GetDocument", "responsa.example.org/DocumentVersion", "documents", names=["{name}"]),
    _tool(_KNOWLEDGE + "GetPassage", "responsa.example.org/Passage", "documents", names=["{name}"]),
    _tool(_KNOWLEDGE + "Search", "responsa.example.org/Collection", "search", query="canary", collections=["{id}"]),
    _tool(CHAT + "Ask", "responsa.example.org/Conversation", "ask", question="Which canary sings?", conversation="{name}"),
    _tool(CHAT + "Ask", "responsa.example.org/Collection", "ask", question="Which canary sings?", collections=["{id}"]),
    _task(CHAT + "GetTurn", "responsa.example.org/Turn", "GetTask", id="{id}"),
    _task(CHAT + "CancelTurn", "responsa.example.org/Turn", "CancelTask", id="{id}"),
    _task(CHAT + "ResumeTurn", "responsa.example.org/Turn", "SubscribeToTask", id="{id}"),
    _task(CHAT + "Answer", "responsa.example.org/Turn", "SendMessage", message=_message(taskId="{id}")),
    _task(CHAT + "Answer", "responsa.example.org/Conversation", "SendMessage", message=_message(contextId="{id}")),
    Shape(CHAT + "ResumeTurn", "responsa.example.org/Turn", "", "", {"type": "resume", "turn": "{name}"}),
    Shape(CHAT + "CancelTurn", "responsa.example.org/Turn", "", "", {"type": "cancel", "turn": "{name}"}),
    Shape(
        CHAT + "Ask",
        "responsa.example.org/Conversation",
        "",
        "",
        {"type": "ask", "agent": "other", "content": "Which canary sings?", "conversation_id": "{name}"},
    ),
)  # fmt: skip
"""The requests that name something in a shape of their own. Those of the original paths come from their table."""
_GIVEN: Final[Mapping[str, object]] = {
    "agent": "other",
    "title": "Swept",
    "content": "Which canary sings?",
    "source_key": "swept.md",
    "query": "canary",
    "question": "Which canary sings?",
    "input": "Which canary sings?",
    "rating": 5,
    "name": "Swept",
}
"""Valid values of the other fields of an original path."""


def _original_paths(victim: Mapping[str, Sequence[str]]) -> Iterator[Shape]:
    """A request for each field of an original path that names something: of the types that its call names, or else of all."""
    for row in ROWS:
        called = {kind for _, kind in named_in(METHODS[row.call].input_type)} - {ANY}
        named = {field for field in row.fields if field.endswith("_id") or field == "collection"} - {
            "request_id"
        }
        for verb in row.methods:
            for field in {*re.findall(r"\{(\w+)\}", row.path), *named}:
                values = {name: value for name, value in _GIVEN.items() if name in row.fields}
                path = row.path
                if field in row.fields and verb == "GET":
                    path += f"?{field}={{id}}"
                elif field in row.fields:
                    values[field] = "{id}"
                else:
                    path = path.replace(f"{{{field}}}", "{id}")
                for kind in called & victim.keys() or victim.keys() - PUBLIC_TYPES:
                    yield Shape(row.call, kind, verb, path, values if verb != "GET" and row.fields else None)


def elsewhere(victim: Mapping[str, Sequence[str]]) -> Iterator[Try]:
    """All requests of the doors with shapes of their own."""
    for shape in (*SHAPES, *_original_paths(victim)):
        for name in victim[shape.resource_type]:
            if "{id}" in shape.path and name.count("/") > 1:
                continue  # a segment of a path has no slash
            missing = missing_twin(name)
            sent, twin = shape.filled(name), shape.filled(missing)
            field = f"{shape.verb or 'ws'} {shape.path or shape.body}"
            door = "http" if shape.verb else "ws"
            yield Try(
                shape.call, field, shape.resource_type, name, missing, sent, twin, fits=False, door=door
            )


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors of one server. socket: where its gateway listens."""

    channel: grpc.aio.Channel
    http: httpx2.AsyncClient
    socket: Path

    async def reply(
        self, door: str, headers: Mapping[str, Sequence[str]], method: str, request: bytes, resource: str
    ) -> Reply:
        """Make a call through a door. given: the name that the request gives."""
        flat = [(name, value) for name, values in headers.items() for value in values]
        send = {"grpc": self._grpc, "rest": self._rest, "http": self._http, "ws": self._ws}[door]
        async with asyncio.timeout(SECONDS):
            reason, text, data = await send(flat, method, request)
        # A message may give the name, or only its id.
        for part in (resource, resource.partition("/")[2], *resource.split("/")[1:2]):
            text = text.replace(part, "…") if part else text
        # A request may name the victim in several fields.
        return Reply(reason, _CALL.sub("…", UUIDS.sub("…", text)), data)

    async def _grpc(
        self, headers: Sequence[tuple[str, str]], method: str, request: bytes
    ) -> tuple[str, str, bytes]:
        contract, sent = METHODS[method], list[bytes]()
        # There is no type information for the generic calls of a channel.
        channel: Any = self.channel
        kind = f"{'stream' if contract.client_streaming else 'unary'}_{'stream' if contract.server_streaming else 'unary'}"
        one = iter([request]) if contract.client_streaming else request
        call = getattr(channel, kind)(method)(one, metadata=headers)
        try:
            if contract.server_streaming:
                sent += [message async for message in call]
            else:
                sent.append(await call)
        except grpc.aio.AioRpcError as error:
            found = failure(error)
            text = f"{found.message} {sorted(found.metadata.items())} {found.retry_after}"
            return found.reason, text, b"".join(sent)
        return "", "", b"".join(sent)

    async def _rest(
        self, headers: Sequence[tuple[str, str]], method: str, request: bytes
    ) -> tuple[str, str, bytes]:
        contract = METHODS[method]
        message = message_factory.GetMessageClass(contract.input_type).FromString(request)
        verb, path, params, body = rest_form(contract, message)
        return await self._sent(headers, verb, path, body, params)

    async def _http(
        self, headers: Sequence[tuple[str, str]], method: str, request: bytes
    ) -> tuple[str, str, bytes]:
        return await self._sent(headers, *json.loads(request))

    async def _sent(
        self,
        headers: Sequence[tuple[str, str]],
        verb: str,
        path: str,
        body: object,
        params: tuple[tuple[str, str], ...] = (),
    ) -> tuple[str, str, bytes]:
        # A browser says so with each request of the server's own page.
        own = [("sec-fetch-site", "same-origin"), ("accept", "application/json, text/event-stream")]
        own.append(("a2a-version", "1.0"))
        url = httpx2.URL(path).copy_merge_params(params) if params else path
        found = await self.http.request(verb, url, json=body, headers=[*headers, *own])
        text = found.text
        if found.status_code < 400 and '"error":' not in text and '"isError":true' not in text:
            return "", "", found.content
        (reason, *_) = _REASON.findall(text) or [f"HTTP {found.status_code}"]
        return reason, text, b""

    async def _ws(
        self, headers: Sequence[tuple[str, str]], method: str, request: bytes
    ) -> tuple[str, str, bytes]:
        _, _, message = json.loads(request)
        frames: list[str] = []
        try:
            async with unix_connect(
                str(self.socket), f"ws://{_HOST}/ws/chat", additional_headers=headers, open_timeout=None
            ) as socket:
                await socket.send(json.dumps(message))
                async for frame in socket:
                    frames.append(str(frame))
                    if json.loads(frame)["type"] in ("message", "error", "cancelled"):
                        break
        except ConnectionClosed as closed:
            frames.append(f"closed {closed.rcvd.code if closed.rcvd else 1006}")
        except InvalidStatus as refused:
            return f"HTTP {refused.response.status_code}", "", b""
        reasons = _REASON.findall(frames[-1])
        return (reasons[0], frames[-1], b"") if reasons else ("", "", "".join(frames).encode())


@asynccontextmanager
async def doors(served: Served, folder: Path, origins: Sequence[str]) -> AsyncGenerator[Doors]:
    """The doors of a server. folder: gets the gateway's socket. origins: those of widgets."""
    address = UnixAddress(folder / "doors")
    settings = GatewaySettings(folder / "web", AllowedCallers({_HOST}, {*origins}), secure_cookie=False)
    gateway = GatewayServer(
        build_app(settings, served.calls, served.identity, accounts=served.accounts), address
    )
    await gateway.start()
    try:
        transport = httpx2.AsyncHTTPTransport(uds=str(address.path))
        async with httpx2.AsyncClient(
            transport=transport, base_url=f"http://{_HOST}", timeout=SECONDS, trust_env=False
        ) as http:
            yield Doors(served.channel, http, address.path)
    finally:
        await gateway.stop()
