"""Mutated requests to every door behind HTTP: REST, Connect, MCP, A2A, OpenAI's API, the original paths, uploads, originals and
WebSockets. Each gets an answer or a typed error, never INTERNAL, and no 5xx but 503.

The requests come from the descriptors and from the shapes of the doors (tests/rpc/doors.py). `make fuzz COUNT=100000`
makes another 100,000 of them; `python -m tests.faults.sums` sums the counts of all runs. If a request fails, the
message names its seed and its number; RESPONSA_SOAK_SEED with that seed makes the same ones again.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import pytest
from google.protobuf import json_format, message_factory
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from responsa_server.calls.methods import METHODS
from tests.callers import Credential, Registry
from tests.faults.forms import Form, Report, forms
from tests.instance import Instance
from tests.rpc.doors import elsewhere
from tests.rpc.sweeping import resource_names, tries
from tests.security.test_fuzzing import mutated
from tests.transports import rest_form

AT_ONCE: Final = 4
PORTION: Final = 500
"""After so many requests, the caller is another tenant's administrator, because a request may have deleted the last one."""
SECONDS: Final = 60.0
INTERNAL: Final = 1011
"""The code with which a server closes a WebSocket after an error of its own."""
VALUES: Final[Sequence[object]] = (
    *(None, True, -1, 0, 1.5, 1e308, 2**31, 2**63, 2**64, "", " ", "0", "\x00", "\ud800", "é" * 300, "a" * 5000),
    *([], {}, [[]], [None], {"a": None}, {"@type": "type.googleapis.com/google.protobuf.Any"}, [{}] * 200),
    *("users/me", "../../x", "%00", "*", "-", "1e999", "NaN", "9999-12-31T23:59:59Z", "-1s", "a.b.c", "state = ("),
)  # fmt: skip
"""What takes the place of a value of JSON."""
HEADERS: Final[Mapping[bytes, Sequence[bytes]]] = {
    b"content-type": (b"", b"text/plain", b"application/json; charset=utf-16", b"multipart/form-data", b"application/grpc",
                      b"application/connect+json", b"application/proto"),
    b"content-encoding": (b"gzip", b"deflate", b"br", b"nonsense"),
    b"accept": (b"", b"text/event-stream", b"*/*;q=x", b"image/*"),
    b"accept-encoding": (b"gzip;q=9", b"gzip", b"identity;q=0"),
    b"accept-language": (b"de-x-\xff", b"*"),
    b"authorization": (b"", b"Basic YTpi", b"Bearer ", b"Bearer \xff", b"Bearer a.b.c", b"Bearer " + b"e" * 5000),
    b"cookie": (b"responsa_session=\xff", b"=;=;", b"a" * 4000),
    b"connect-timeout-ms": (b"0", b"99999999999", b"-1", b"x"),
    b"grpc-timeout": (b"0n", b"99999999H", b"-1S", b"x"),
    b"last-event-id": (b"-1", b"9" * 30, b"\xff"),
    b"if-none-match": (b"*", b'W/"', b"\xff"),
    b"range": (b"bytes=-1", b"bytes=9-1"),
    b"idempotency-key": (b"", b"\xff", b"x" * 300),
    b"a2a-version": (b"", b"0.3", b"9.9", b"\xff"),
    b"mcp-protocol-version": (b"", b"2024-11-05", b"2025-06-18", b"9999-99-99"),
    b"mcp-session-id": (b"x", b"\xff"),
    b"responsa-on-behalf-of": (b"users/me", b"\xff"),
    b"responsa-user": (b"users/me", b"\xff"),
    b"responsa-conversation": (b"x", b"\xff"),
    b"traceparent": (b"00-0-0-0", b"\xff"),
    b"x-request-id": (b"\xff", b"x" * 3000),
    b"origin": (b"null", b"https://x"),
    b"expect": (b"100-continue", b"x"),
}  # fmt: skip
"""Values of headers that the server or a proxy reads."""
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True)
class Sent:
    """A request. verb: "" for messages on a WebSocket."""

    verb: str
    path: bytes
    headers: Mapping[bytes, bytes]
    body: bytes

    def bytes(self, host: str, key: str) -> bytes:
        """The request as bytes of HTTP/1.1."""
        headers = {
            b"host": host.encode(),
            b"authorization": b"Bearer " + key.encode(),
            b"content-type": b"application/json",
            b"accept": b"application/json, text/event-stream",
            **self.headers,
            b"content-length": str(len(self.body)).encode(),
            b"connection": b"close",
        }
        lines = [b"%s %s HTTP/1.1" % (self.verb.encode(), self.path)]
        lines += [name + b": " + value for name, value in headers.items()]
        return b"\r\n".join([*lines, b"", self.body])


def originals() -> Sequence[Sent]:
    """Valid requests of all doors. They name what does not exist."""
    names = resource_names()
    requests: dict[tuple[str, bytes, bytes], Sent] = {}

    def add(verb: str, path: str, body: object) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        requests[verb, path.encode(), content] = Sent(verb, path.encode(), {}, content)

    for call in tries(names):
        method = METHODS[call.method]
        # A stream of uploads has another form over HTTP, and a wait would only take time.
        if not (method.client_streaming or call.method.endswith("/WaitOperation")):
            request = message_factory.GetMessageClass(method.input_type).FromString(call.request)
            verb, path, params, body = rest_form(method, request)
            add(verb, path + (f"?{urlencode(params)}" if params else ""), body)
            add("POST", call.method, json_format.MessageToDict(request))  # Connect
    for call in elsewhere(names):
        add(*json.loads(call.request))
    return [*requests.values()]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a value of JSON."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def changed_json(body: bytes, dice: random.Random) -> bytes:
    """The body with one to three of its values replaced, removed, named otherwise, doubled or put deep inside."""
    value = [json.loads(body or b"{}")]
    for _ in range(dice.randint(1, 3)):
        *outer, last = dice.choice([path for path in places(value) if path])
        holder: Any = value
        for key in outer:
            holder = holder[key]
        match dice.randrange(6):
            case 0 if isinstance(holder, dict):
                holder[f"{last}X"] = holder.pop(last)
            case 1 if isinstance(holder, dict):
                del holder[last]
            case 2:
                holder[last] = [holder[last]] * dice.choice((1, 2, 30))
            case 3:
                for _ in range(dice.choice((2, 90, 250))):
                    holder[last] = {"a": holder[last]} if dice.random() < 0.5 else [holder[last]]
            case _:
                holder[last] = deepcopy(dice.choice(VALUES))
    return json.dumps(value[0]).encode()


def changed_path(path: bytes, dice: random.Random) -> bytes:
    """The path with one segment or one value of its query replaced or mutated."""
    parts = re.split(rb"([/?&=:])", path)
    place = dice.randrange(len(parts))
    hostile = json.dumps(dice.choice(VALUES)).strip('"').encode()
    parts[place] = quote(hostile if dice.random() < 0.5 else mutated(parts[place], dice)[:2000]).encode()
    return b"".join(parts) if parts[0] == b"" else b"/" + b"".join(parts)


def fuzzed(sent: Sent, dice: random.Random) -> Sent:
    """The request with changes of its body, path or headers."""
    path, body, headers = sent.path, sent.body, dict(sent.headers)
    for kind in dice.sample(("body", "json", "json", "path", "header"), dice.choice((1, 1, 2))):
        match kind:
            case "body":
                body = mutated(body, dice)
            case "json":
                body = changed_json(sent.body, dice)
            case "path" if sent.verb:
                path = changed_path(path, dice)
            case _:
                name = dice.choice([*HEADERS])
                headers[name] = dice.choice(HEADERS[name])
    return Sent(sent.verb, path, headers, body)


async def over_http(target: str, data: bytes) -> tuple[str, bytes]:
    """Send bytes, and return the status of the response, and its content."""
    host, port = target.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with closing(writer):
        writer.write(data)
        # The server may refuse a request before it has read all of it.
        try:
            content = await reader.read(-1)
        except ConnectionError:
            return "cut", b""
    found = _STATUS.findall(content)
    return (found[-1].decode() if found else "no response"), content


async def over_ws(url: str, key: str, message: bytes, dice: random.Random) -> tuple[str, bytes]:
    """Send a message on a new WebSocket, and then a ping. Returns how the socket ended, and what came before that."""
    offered = [Subprotocol("responsa.v1"), Subprotocol(f"bearer.{key}")]
    frames: list[str | bytes] = []
    address = f"ws://{urlsplit(url).netloc}/ws/chat"
    try:
        async with connect(address, subprotocols=offered, proxy=None, max_size=None, close_timeout=0.1) as socket:  # fmt: skip
            await socket.send(message if dice.random() < 0.2 else message.decode(errors="replace"))
            await socket.send('{"type": "ping"}')
            async for frame in socket:
                frames.append(frame)
                if json.loads(frame)["type"] == "pong":
                    return "pong", b"".join(str(one).encode() for one in frames)
    except ConnectionClosed:
        pass
    code = socket.close_code
    return f"closed {code}", b"".join(str(one).encode() for one in frames)


async def try_one(instance: Instance, key: str, sent: Sent, dice: random.Random) -> str:
    """The outcome of a request. Raises AssertionError for a failure of the server."""
    async with asyncio.timeout(SECONDS):
        if sent.verb:
            outcome, content = await over_http(instance.target, sent.bytes(instance.target, key))
        else:
            outcome, content = await over_ws(instance.url, key, sent.body, dice)
    # A caller's own deadline passes.
    allowed = ("503", "504") if b"grpc-timeout" in sent.headers else ("503",)
    assert outcome[0] != "5" or outcome in allowed, content[:2000]
    assert outcome != f"closed {INTERNAL}", content[:2000]
    assert b'"INTERNAL"' not in content, content[:2000]
    return outcome


@forms(long=5_000)
async def test_a_mutated_request_gets_an_answer_or_a_typed_error(
    instance: Instance, registry: Registry, form: Form, request: pytest.FixtureRequest
) -> None:
    known = originals()
    server = instance.processes()["server"]
    failures: list[str] = []

    async def work(numbers: Iterator[int], key: str, report: Report) -> None:
        for number in numbers:
            dice = form.dice(str(number))
            sent = fuzzed(dice.choice(known), dice)
            try:
                report.count(await try_one(instance, key, sent, dice))
            except Exception as error:  # all of them are told at the end
                failures.append(f"seed {form.seed}, request {number}: {sent}\n{error!r}")
            report.count("requests")

    for start in range(0, form.count, PORTION):
        report = Report("fuzzed_doors", form)
        key = await asyncio.to_thread(lambda: registry.new_tenant().key(Credential.ADMIN))
        numbers = iter(range(start, min(start + PORTION, form.count)))
        await asyncio.gather(*(work(numbers, key, report) for _ in range(AT_ONCE)))
        report.count("failures", len(failures))
        report.tell(request)
        assert not failures, "\n\n".join(failures[:20])
    assert instance.processes()["server"] == server
