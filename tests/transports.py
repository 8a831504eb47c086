"""Makes a call over each transport (gRPC, gRPC-Web as binary and as text, REST) through the same port. All outcomes have the same form."""

from __future__ import annotations

import base64
import itertools
import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self, cast
from urllib.parse import quote, unquote

import grpc
import httpx2
from google.api import annotations_pb2, http_pb2
from google.longrunning import operations_pb2_grpc, operations_proto_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from responsa.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from responsa.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from responsa.chat.v1 import chat_service_pb2, chat_service_pb2_grpc
from responsa.knowledge.v1 import knowledge_service_pb2, knowledge_service_pb2_grpc

Json = dict[str, Any]
"""A message as proto-JSON."""

SECONDS = 60.0
OPERATIONS = operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"]
SERVICES: Mapping[str, tuple[ServiceDescriptor, Any]] = {
    one.name: (one, stub)
    for one, stub in (
        (chat_service_pb2.DESCRIPTOR.services_by_name["ChatService"], chat_service_pb2_grpc.ChatServiceStub),
        (
            knowledge_service_pb2.DESCRIPTOR.services_by_name["KnowledgeService"],
            knowledge_service_pb2_grpc.KnowledgeServiceStub,
        ),
        (auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"], auth_service_pb2_grpc.AuthServiceStub),
        (
            admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
            admin_service_pb2_grpc.AdminServiceStub,
        ),
        (OPERATIONS, operations_pb2_grpc.OperationsStub),
    )
}
"""The service and the stub for each short name of a service."""

# The HTTP status of each code, as google/rpc/code.proto defines it.
HTTP = {
    0: 200,
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    16: 401,
}
TERMINAL = ("answer", "refused", "failed", "cancelled")
"""The kinds of terminal events: a turn has exactly one of them, at its end."""

assert error_details_pb2.DESCRIPTOR.name, "imported so that the details of errors can be read"


class Way(StrEnum):
    """A transport of a call."""

    GRPC = "grpc"
    WEB = "web"
    WEB_TEXT = "web_text"
    REST = "rest"
    SSE = "sse"
    """Server-sent events; see transports_sse.py."""
    WS = "ws"
    """A WebSocket, whose frames contain less than events do; see transports_ws.py."""


@dataclass(frozen=True)
class Call:
    """A call to make. Either `messages` is given (one message, or several if the client streams), or `raw`, the bytes of one message."""

    method: MethodDescriptor
    messages: Sequence[Message] = ()
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call: the messages as proto-JSON, in order, and the google.rpc.Status at the end, unless the status was OK."""

    messages: Sequence[Json]
    problem: Json | None

    @property
    def message(self) -> Json:
        """The single message of a successful call."""
        assert self.problem is None, self.problem
        (one,) = self.messages
        return one


def stub_of(channel: grpc.Channel, service: str) -> Any:
    """The generated stub of a service on a blocking channel. The stub's calls block; its types are known only for grpc.aio."""
    return SERVICES[service][1](channel)


def method_of(name: str) -> MethodDescriptor:
    """The method called `Service/Method`."""
    service, _, method = name.partition("/")
    return SERVICES[service][0].methods_by_name[method]


def request_of(method: MethodDescriptor, value: Json) -> Message:
    """A request from its proto-JSON."""
    return json_format.ParseDict(value, message_factory.GetMessageClass(method.input_type)())


def _json(method: MethodDescriptor, data: bytes) -> Json:
    message = message_factory.GetMessageClass(method.output_type).FromString(data)
    return json_format.MessageToDict(message)


def _problem(status: Status) -> Json:
    return json_format.MessageToDict(status)


class Transport(Protocol):
    """One transport."""

    def call(self, call: Call) -> Outcome:
        """Make the call and read its whole response."""
        ...


class Ways:
    """All transports of one instance, its HTTP client and its gRPC channel. A context manager."""

    def __init__(self, target: str, more: Mapping[Way, Transport] | None = None) -> None:
        self._http = httpx2.Client(base_url=f"http://{target}", timeout=SECONDS, trust_env=False)
        self._channel = grpc.insecure_channel(target)
        self.by_name: dict[Way, Transport] = {
            Way.GRPC: Grpc(self._channel),
            Way.WEB: Web(self._http, text=False),
            Way.WEB_TEXT: Web(self._http, text=True),
            Way.REST: Rest(self._http),
            **(more or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._http.close()

    def add(self, way: Way, transport: Transport) -> None:
        """Add a transport."""
        self.by_name[way] = transport

    @property
    def http(self) -> httpx2.Client:
        """The HTTP client for REST and gRPC-Web."""
        return self._http

    @property
    def channel(self) -> grpc.Channel:
        """The gRPC channel."""
        return self._channel

    def call(self, name: str, request: Json, headers: Mapping[str, str], way: Way = Way.GRPC) -> Outcome:
        """Make one call with one message."""
        method = method_of(name)
        return self.by_name[way].call(Call(method, [request_of(method, request)], headers=headers))


class Grpc:
    """gRPC through the generated stubs."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, call: Call) -> Outcome:
        messages: list[Json] = []
        try:
            for one in self._answer(call):
                data = one if isinstance(one, bytes) else one.SerializeToString()
                messages.append(_json(call.method, data))
        except grpc.RpcError as error:
            failed: Any = error
            trailers = dict(failed.trailing_metadata())
            assert "grpc-status-details-bin" in trailers, f"no details: {failed.code()} {failed.details()}"
            status = Status.FromString(trailers["grpc-status-details-bin"])
            assert (status.code, status.message) == (failed.code().value[0], failed.details())
            return Outcome(messages, _problem(status))
        return Outcome(messages, None)

    def _answer(self, call: Call) -> Iterable[Message | bytes]:
        method = call.method
        metadata = [*call.headers.items()]
        # There is no type information for the generic calls of a channel, nor for a stub whose class was found by
        # name.
        make: Any
        if call.raw is None:
            make = getattr(SERVICES[method.containing_service.name][1](self._channel), method.name)
        elif method.server_streaming:
            make = cast("Any", self._channel).unary_stream(call.path)
        else:
            make = cast("Any", self._channel).unary_unary(call.path)
        one = call.messages[0] if call.raw is None else call.raw
        answer = make(
            iter(finished(call.messages)) if method.client_streaming else one,
            metadata=metadata,
            timeout=SECONDS,
        )
        return answer if method.server_streaming else (answer,)


def finished(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages of a request, in the order of sending. At the end of an upload, `finish` is added, because cases leave it out."""
    parts = [
        message for message in messages if isinstance(message, knowledge_service_pb2.UploadDocumentRequest)
    ]
    if not parts or any(part.HasField("finish") for part in parts):
        return messages
    end = knowledge_service_pb2.UploadFinish(size_bytes=sum(len(part.chunk) for part in parts))
    return [*messages, knowledge_service_pb2.UploadDocumentRequest(finish=end)]


class Web:
    """gRPC-Web, encoded by hand."""

    def __init__(self, http: httpx2.Client, *, text: bool) -> None:
        self._http = http
        self._text = text

    def call(self, call: Call) -> Outcome:
        pieces = (
            [call.raw]
            if call.raw is not None
            else [one.SerializeToString() for one in finished(call.messages)]
        )
        body = b"".join(struct.pack(">BI", 0, len(piece)) + piece for piece in pieces)
        kind = "application/grpc-web-text+proto" if self._text else "application/grpc-web+proto"
        self._http.cookies.clear()
        response = self._http.post(
            call.path,
            content=base64.b64encode(body) if self._text else body,
            headers={"content-type": kind, "accept": kind, "x-grpc-web": "1", **call.headers},
        )
        assert response.status_code == 200, response.text
        content = response.content
        if self._text and response.headers["content-type"].startswith("application/grpc-web-text"):
            content = b"".join(base64.b64decode(part) for part in re.findall(rb"[^=]+=*", content))
        messages: list[Json] = []
        trailers = {key: value for key, value in response.headers.items() if key.startswith("grpc-")}
        for flag, piece in _frames(content):
            if flag & 0x80:
                lines = (line.partition(":") for line in piece.decode().splitlines())
                trailers |= {key.strip().lower(): value.strip() for key, _, value in lines}
            else:
                messages.append(_json(call.method, piece))
        if trailers["grpc-status"] == "0":
            return Outcome(messages, None)
        assert "grpc-status-details-bin" in trailers, f"no details: {trailers}"
        text = trailers["grpc-status-details-bin"]
        status = Status.FromString(base64.b64decode(text + "=" * (-len(text) % 4)))
        assert (str(status.code), status.message) == (
            trailers["grpc-status"],
            unquote(trailers["grpc-message"]),
        )
        return Outcome(messages, _problem(status))


def _frames(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        flag, size = struct.unpack(">BI", content[:5])
        yield flag, content[5 : 5 + size]
        content = content[5 + size :]


class Rest:
    """REST as the google.api.http options define it, except uploads, which use the gateway's form."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def call(self, call: Call) -> Outcome:
        self._http.cookies.clear()
        if call.method.client_streaming:
            response = self._upload(call)
        elif call.raw is not None:
            verb, path = _verb(rule_of(call.method))
            response = self._http.request(
                verb, path, content=call.raw, headers={"content-type": "application/json", **call.headers}
            )
        else:
            response = self._request(call)
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/json", response.text
            problem = _problem(json_format.ParseDict(response.json(), Status()))
            assert response.status_code == HTTP[problem["code"]]
            return Outcome([], problem)
        streams = call.method.server_streaming
        lines = response.text.splitlines() if streams else [response.text]
        kind = message_factory.GetMessageClass(call.method.output_type)
        failed = None
        if lines and lines[-1].startswith('{"error":') and streams:
            failed = _problem(json_format.ParseDict(json.loads(lines.pop())["error"], Status()))
        # Each line is parsed as its message type. Unknown fields are therefore errors, and the messages of all
        # transports have the same form.
        messages = [json_format.MessageToDict(json_format.Parse(line, kind())) for line in lines if line]
        return Outcome(messages, failed)

    def _request(self, call: Call) -> httpx2.Response:
        verb, path, params, body = rest_form(call.method, call.messages[0])
        return self._http.request(verb, path, params=params, json=body, headers=call.headers)

    def _upload(self, call: Call) -> httpx2.Response:
        start = cast("Any", call.messages[0]).start
        query = [
            (descriptor.name, value)
            for descriptor, value in cast("list[tuple[FieldDescriptor, str]]", start.metadata.ListFields())
        ]
        if start.request_id:
            query.append(("request_id", start.request_id))
        body = b"".join(cast("Any", message).chunk for message in call.messages[1:])
        return self._http.put("/v1/uploads", params=dict(query), content=body, headers=call.headers)


def rest_form(
    method: MethodDescriptor, request: Message
) -> tuple[str, str, tuple[tuple[str, str], ...], Any]:
    """The HTTP method, the path, the query and the JSON of a request; None without a body."""
    rule = rule_of(method)
    sent = json_format.MessageToDict(request)
    verb, template = _verb(rule)
    for field_path, pattern in re.findall(r"\{([a-z_.]+)=([^}]+)\}", template):
        value = _take(sent, field_path)
        template = template.replace(f"{{{field_path}={pattern}}}", quote(value, safe="/:"))
    body: Any = None
    if rule.body == "*":
        body, sent = sent, {}
    elif rule.body:
        body = sent.pop(_camel(rule.body), {})
    return verb, template, (*_query(sent),), body


def rule_of(method: MethodDescriptor) -> http_pb2.HttpRule:
    """The REST call for a method."""
    if method.full_name == "google.longrunning.Operations.WaitOperation":
        return http_pb2.HttpRule(post="/v1/{name=operations/*}:wait", body="*")  # Google declares no path
    options: Any = method.GetOptions()
    return cast("http_pb2.HttpRule", options.Extensions[annotations_pb2.http])


def _verb(rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    assert kind is not None, "this method has no REST form"
    return kind.upper(), getattr(rule, kind)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _take(sent: Json, path: str) -> str:
    *outer, last = [_camel(part) for part in path.split(".")]
    for part in outer:
        sent = sent.get(part, {})
    return str(sent.pop(last, ""))


def _query(sent: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in sent.items():
        if isinstance(value, dict):
            yield from _query(cast("Json", value), f"{prefix}{key}.")
        else:
            for one in cast("list[Any]", value) if isinstance(value, list) else [value]:
                yield f"{prefix}{key}", one if isinstance(one, str) else json.dumps(one)


def events_of(frames: Sequence[Json], after_seq: int = 0) -> list[Json]:
    """The events of a turn's frames from a seq to the turn's end, after a check that frames and events are contiguous.

    Heartbeats are left out, because they are not part of the log.
    """
    events: list[Json] = []
    through = after_seq
    for frame in frames:
        assert int(frame.get("afterSeq", 0)) == through, frames
        kept = [event for event in frame.get("events", []) if "heartbeat" not in event]
        inner = [int(event["seq"]) for event in kept]
        assert all(through < seq for seq in inner)
        assert inner == sorted(set(inner))
        through = int(frame.get("throughSeq", 0))
        assert all(seq <= through for seq in inner)
        events.extend(kept)
    assert len({frame["turn"] for frame in frames}) == 1
    assert after_seq or [int(event["seq"]) for event in events[:1]] == [1]
    terminal = [any(kind in event for kind in TERMINAL) for event in events]
    assert terminal == [False] * (len(events) - 1) + [True]
    return events


def merged(events: Sequence[Json]) -> list[Json]:
    """The same events without their numbers, and with neighbouring deltas joined. The number of deltas in an answer
    varies from run to run."""
    result: list[Json] = []
    for deltas, group in itertools.groupby(events, lambda event: "delta" in event):
        plain = [{key: value for key, value in event.items() if key != "seq"} for event in group]
        if deltas:
            text = "".join(event["delta"].get("text", "") for event in plain)
            plain = [{**plain[0], "delta": {**plain[0]["delta"], "text": text}}]
        result.extend(plain)
    return result
