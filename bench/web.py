"""Makes calls over HTTP/1.1 through Envoy, like a browser and like curl."""

from __future__ import annotations

import http.client
import json
import struct
import time
from collections.abc import Iterator
from typing import Final, Protocol

from google.protobuf import json_format
from google.protobuf.message import Message

from bench.calls import answered
from bench.jobs import Call, Job, Transport
from responsa.chat.v1 import chat_service_pb2
from responsa.knowledge.v1 import knowledge_service_pb2

_REST: Final = {
    Call.ASK: ("POST", "/v1/turns:ask"),
    Call.ANSWER: ("POST", "/v1/turns:answer"),
    Call.GET_ME: ("GET", "/v1/users/me"),
    Call.SEARCH: ("POST", "/v1/passages:search"),
}
_OTHER: Final = {
    Transport.SSE: ("POST", "/v1/turns:ask"),
    Transport.OPENAI: ("POST", "/v1/chat/completions"),
    Transport.MCP: ("POST", "/mcp"),
}
_ACCEPT: Final = {
    Transport.SSE: "text/event-stream",
    Transport.MCP: "application/json, text/event-stream",
}
_MESSAGES: Final[dict[Call, type[Message]]] = {
    Call.ASK: chat_service_pb2.AskRequest,
    Call.ANSWER: chat_service_pb2.AnswerRequest,
    Call.SEARCH: knowledge_service_pb2.SearchRequest,
}
_TRAILERS: Final = 0x80


class WebProblem(Exception):
    """A call failed. The message says how."""


class ByteReader(Protocol):
    """The body of a response. `read1` returns at most the given number of bytes as soon as some have arrived, and b"" at the end."""

    def read1(self, n: int = -1, /) -> bytes:
        """Read."""
        ...


class WebCaller:
    """A connection that stays open between calls. Only one thread may use it."""

    def __init__(self, job: Job, method: str) -> None:
        host, _, port = job.target.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self._call = job.call
        self._transport = job.transport
        self._web = job.transport is Transport.GRPC_WEB
        self._past_started = job.past_started
        self._verb, self._path = ("POST", method) if self._web else _OTHER.get(job.transport, _REST[job.call])
        self._headers = {"authorization": f"Bearer {job.key}"} | (
            {
                "content-type": "application/grpc-web+proto",
                "accept": "application/grpc-web+proto",
                "x-grpc-web": "1",
            }
            if self._web
            else {"content-type": "application/json", "accept": _ACCEPT.get(job.transport, "*/*")}
        )

    def call(self, request: bytes) -> tuple[float, int, bool]:
        """Makes the call. Returns the time of the first message (time.perf_counter), the number of messages, and
        whether the response is good."""
        self._connection.request(self._verb, self._path, self._body(request), self._headers)
        response = self._connection.getresponse()
        if response.status != http.client.OK:
            raise WebProblem(f"HTTP {response.status}: {response.read(500)!r}")
        first, messages, last = 0.0, 0, b""
        for message in self._split(response):
            messages, last = messages + 1, message
            if not first and not (self._past_started and _only_started(message)):
                first = time.perf_counter()
        response.read()  # the body has ended, but the connection notices this only at this read
        return first, messages, messages > 0 and self._answered(last)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _split(self, response: ByteReader) -> Iterator[bytes]:
        if self._web:
            return web_messages(response)
        return events(response) if self._transport in _OTHER else lines(response)

    def _body(self, request: bytes) -> bytes | None:
        if self._web:
            return struct.pack(">BI", 0, len(request)) + request
        kind = _MESSAGES.get(self._call)
        if kind is None:
            return None
        message = kind.FromString(request)
        match self._transport:
            case Transport.OPENAI:
                return json.dumps(_completion(message)).encode()
            case Transport.MCP:
                return json.dumps(_tool_call(message)).encode()
            case _:
                return json_format.MessageToJson(message, indent=None).encode()

    def _answered(self, last: bytes) -> bool:
        if self._call not in (Call.ASK, Call.ANSWER):
            return True
        match self._transport:
            case Transport.GRPC_WEB:
                return answered(self._call, last)
            case Transport.OPENAI:
                return last == b"[DONE]"
            case Transport.MCP:
                return json.loads(last)["result"]["structuredContent"].get("outcome") == "answered"
            case _:
                found = json.loads(last)
                event = found["events"][-1] if self._call is Call.ASK else found["terminalEvent"]
                return "answer" in event


def _only_started(message: bytes) -> bool:
    events = chat_service_pb2.AskResponse.FromString(message).events
    return all(event.HasField("started") for event in events)


def _completion(question: chat_service_pb2.AskRequest) -> object:
    scope = {"collections": list(question.options.scope.collections)}
    return {
        "model": "default",
        "stream": question.include_deltas,
        "messages": [{"role": "user", "content": question.text}],
        "responsa": {"options": {"scope": scope}},
    }


def _tool_call(question: chat_service_pb2.AskRequest) -> object:
    collections = list(question.options.scope.collections)
    arguments = {"question": question.text, "collections": collections}
    params = {"name": "ask", "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def events(response: ByteReader) -> Iterator[bytes]:
    """The data of server-sent events as they arrive, each of which has one line of data."""
    return (line[6:].rstrip(b"\r") for line in lines(response) if line.startswith(b"data: "))


def lines(response: ByteReader) -> Iterator[bytes]:
    """The lines of NDJSON as they arrive. A body without line ends is one line."""
    rest = b""
    while data := response.read1(65_536):
        *whole, rest = (rest + data).split(b"\n")
        yield from (one for one in whole if one)
    if rest:
        yield rest


def web_messages(response: ByteReader) -> Iterator[bytes]:
    """The messages of a gRPC-Web body as they arrive. Raises WebProblem if its trailers report an error or are missing."""
    rest = b""
    status: str | None = None
    while data := response.read1(65_536):
        rest += data
        while len(rest) >= 5:
            flags, size = struct.unpack_from(">BI", rest)
            if len(rest) < 5 + size:
                break
            piece, rest = rest[5 : 5 + size], rest[5 + size :]
            if flags & _TRAILERS:
                for line in piece.decode().splitlines():
                    name, _, value = line.partition(":")
                    if name.strip().lower() == "grpc-status":
                        status = value.strip()
            else:
                yield piece
    if status != "0":
        raise WebProblem(f"grpc-status {status or 'missing'}")
