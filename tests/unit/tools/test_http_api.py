"""Declared endpoints, tested with real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from html import unescape
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, unquote

import pytest

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackRequest, LoopbackServer
from responsa_server.agents.engine.calling import check_result, is_direct
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import MAX_RESULT_BYTES, Effect, SecretPlace, Tool, ToolResult, ToolUnfit
from responsa_server.outbound.addresses import IpAddress
from responsa_server.outbound.connector import Connector
from responsa_server.tools.endpoint import LATE_READING, LOST, LOST_READING, UNREACHED
from tests.unit.tools.declaring import SECRET, Handler, made, request, served

BASE: Mapping[str, Any] = {"kind": "http_api", "allow_private": ["127.0.0.1"]}


@asynccontextmanager
async def tool_on(handler: Handler, effect: Effect = Effect.ONCE, **keys: Any) -> AsyncGenerator[Tool]:
    async with served(handler) as url:
        given = {**BASE, "url": f"{url}/note", "method": "POST", "effect": effect.value, **keys}
        if "path" in given:
            given["url"] = url + given.pop("path")
        (tool,) = made(given, read_html=given.pop("read_html", None))
        yield tool


def answering(
    body: bytes,
    media_type: str = "application/json",
    status: int = 200,
    *,
    seen: list[LoopbackRequest] | None = None,
    **headers: str,
) -> Handler:
    """seen: gets the requests."""

    async def handle(exchange: LoopbackExchange) -> None:
        if seen is not None:
            seen.append(exchange.request)
        await exchange.reply(status, body, {"content-type": media_type, **headers})

    return handle


async def test_a_call_carries_its_key_and_arguments_and_brings_back_what_was_said() -> None:
    seen: list[LoopbackRequest] = []
    async with tool_on(answering("fertig – ü".encode(), "text/plain", seen=seen)) as tool:
        assert (tool.card.id, tool.effect) == ("note", Effect.ONCE)
        result = await tool.call(request({"text": "x", "times": 2}, key="t/1"))
    assert (result.outcome, result.content, result.error) == (ToolOutcome.OK, "fertig – ü", None)
    assert result.sources == []  # what was done cannot be read again
    [got] = seen
    assert (got.method, got.path, got.headers["idempotency-key"]) == ("POST", "/note", "t/1")
    assert json.loads(got.body) == {"text": "x", "times": 2}


async def test_arguments_fill_their_places_and_stay_in_them() -> None:
    seen: list[LoopbackRequest] = []
    handle = answering(b'{"items": [{"name": "a"}, {"name": "b\\u0000"}]}', seen=seen)
    declared = {
        "method": "GET",
        "path": "/v1/{city}/days",
        "query": {"q": "{q}", "unit": "metric", "tag": "{tags}", "at": "{q}/{city}"},
        "headers": {"X-Team": "docs"},
        "parameters": {
            "city": {"type": "string"},
            "q": {"type": "string", "optional": True},
            "tags": {"type": "array", "optional": True},
        },
        "pick": "items.*.name",
    }
    async with tool_on(handle, Effect.NONE, **declared) as tool:
        assert tool.card.parameters["required"] == ["city"]
        result = await tool.call(request({"city": "Zürich?&#", "tags": ["x y", "z"]}))
        assert (await tool.call(request({"city": "a", "q": "b&unit=x"}))).outcome is ToolOutcome.OK
        for wrong in ("", ".", "..", "../admin", "a/b", "a\\b", "a\nb"):
            refused = await tool.call(request({"city": wrong}))
            assert (refused.outcome, refused.error) == (ToolOutcome.ERROR, ToolFault.ARGUMENTS)
    assert [one.path for one in seen] == [
        f"/v1/{quote('Zürich?&#')}/days?unit=metric&tag=x+y&tag=z&at=%2FZ%C3%BCrich%3F%26%23",
        "/v1/a/days?q=b%26unit%3Dx&unit=metric&at=b%26unit%3Dx%2Fa",
    ]
    assert seen[0].headers["x-team"] == "docs"
    assert result.data == ["a", "b\0"]
    assert check_result(result, tool).sources[0].uri.endswith("at=%2FZ%C3%BCrich%3F%26%23")


async def test_a_body_takes_arguments_with_their_types() -> None:
    seen: list[LoopbackRequest] = []
    handle = answering(b"{}", status=201, seen=seen)
    body = {"n": "{n}", "text": "Say {text}!", "deep": [{"gone": "{gone}", "fixed": True}]}
    parameters = {name: {"optional": name == "gone"} for name in ("n", "text", "gone")}
    async with tool_on(handle, body=body, parameters=parameters) as tool:
        assert (await tool.call(request({"n": 3, "text": '"hi"'}))).outcome is ToolOutcome.OK
    assert json.loads(seen[0].body) == {"n": 3, "text": 'Say "hi"!', "deep": [{"fixed": True}]}


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"bearer": "key"}, "authorization", f"Bearer {SECRET}"),
        ({"header": "X-Api-Key", "secret": "key"}, "x-api-key", SECRET),
        ({"basic_user": "ann", "basic_password": "key"}, "authorization", None),
    ],
)
async def test_a_secret_goes_to_the_declared_host_and_nowhere_else(
    auth: Mapping[str, str], header: str, value: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The server repeats the secret in every way that it can, and redirects elsewhere."""
    seen: list[str] = []

    async def handle(exchange: LoopbackExchange) -> None:
        given = exchange.request.headers[header]
        seen.append(given)
        said = json.dumps({"a": given, "b": SECRET, "c": quote(SECRET, safe="")}).encode()
        status = 307 if len(seen) == 1 else 500 if len(seen) == 2 else 200
        await exchange.reply(status, said, {"location": "http://127.0.0.2:9/"})

    caplog.set_level(logging.DEBUG)
    async with tool_on(handle, Effect.NONE, auth=auth, secrets={"key": {"env": "KEY"}}) as tool:
        results = [await tool.call(request()) for _ in range(3)]
    assert len(seen) == 3
    assert value is None or set(seen) == {value}
    shown = repr([results, tool.card, tool, caplog.text, [vars(record) for record in caplog.records]])
    encoded = seen[0].removeprefix("Basic ").removeprefix("Bearer ")
    for form in (SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), encoded):
        assert form not in shown
    assert [result.outcome for result in results] == [ToolOutcome.ERROR, ToolOutcome.ERROR, ToolOutcome.OK]


ENCODED: Mapping[str, tuple[str, bytes]] = {
    "escapes of JSON": (
        "application/json",
        ('["' + "".join(f"\\u{ord(letter):04X}" for letter in SECRET) + '"]').encode(),
    ),
    "a key of JSON": ("application/json", json.dumps({SECRET: 1}).encode()),
    "an escaped slash": ("application/json", json.dumps([SECRET]).replace("/", "\\/").encode()),
    "JSON in UTF-16": ("application/json", json.dumps([SECRET]).encode("utf-16")),
    "UTF-16": ("text/plain; charset=utf-16", SECRET.encode("utf-16")),
    "UTF-16 that is not declared": ("text/plain", SECRET.encode("utf-16-le")),
    "a URL": ("text/plain", quote(SECRET, safe="").encode()),
    "Base64": ("text/plain", b64encode(SECRET.encode())),
    "the type": (f"text/{SECRET}", b"ok"),
}


def plainly(result: ToolResult) -> str:
    """What a reader could make of a result: its text, its data and its sources, as letters and digits alone."""
    text = repr((result.content, json.dumps(result.data, ensure_ascii=False), result.sources))
    text = unquote(text)
    return re.sub(r"[^a-z0-9]|x00|ufffd|u200b", "", text.lower())


async def read_html(body: bytes) -> str:
    """The text of a page, without its tags."""
    return unescape(re.sub(r"<[^<>]*>", "", body.decode()))


# What is no result is shown as it came.
AS_IT_CAME = ("a key of JSON", "UTF-16", "a URL", "Base64", "the type")


@pytest.mark.parametrize(
    ("encoding", "status"), [*((name, 200) for name in ENCODED), *((name, 500) for name in AS_IT_CAME)]
)
async def test_a_secret_is_hidden_in_each_encoding(encoding: str, status: int) -> None:
    media_type, body = ENCODED[encoding]
    handle = answering(body, media_type, status)
    auth, secrets = {"bearer": "key"}, {"key": {"env": "KEY"}}
    async with tool_on(handle, Effect.NONE, auth=auth, secrets=secrets, read_html=read_html) as tool:
        result = await tool.call(request())
    assert re.sub(r"[^a-z0-9]", "", SECRET.lower()) not in plainly(result)
    assert "[secret]" in result.content or (encoding, status) == ("the type", 500)


async def test_a_long_secret_is_hidden_as_a_whole() -> None:
    long = "".join(f"{number:x}/" for number in range(1000))

    def secret(_: SecretPlace) -> str:
        return long

    said = json.dumps({"said": f"{quote(long, safe='')} and more"}).encode()
    async with served(answering(said)) as url:
        declared = {**BASE, "url": url, "auth": {"bearer": "key"}, "secrets": {"key": {"env": "KEY"}}}
        (tool,) = made(declared, secret=secret)
        result = await tool.call(request())
    assert result.data == {"said": "[secret] and more"}


BAD_REPLIES: Mapping[str, tuple[Handler, ToolFault]] = {
    "500": (answering(b"later", "text/plain", 500), ToolFault.STATUS),
    "504": (answering(b"late", "text/plain", 504), ToolFault.STATUS),
    "a redirect to the loopback": (answering(b"", status=307), ToolFault.STATUS),
    "invalid JSON": (answering(b"{"), ToolFault.MALFORMED),
    "deep JSON": (answering(b"[" * 100_000), ToolFault.MALFORMED),
    "a number that is not finite": (answering(b"[NaN]"), ToolFault.MALFORMED),
    "half of a surrogate pair": (answering(b'"\\ud800"'), ToolFault.MALFORMED),
    "another part": (answering(b'{"other": 1}'), ToolFault.MALFORMED),
    "a page with nothing to pick": (answering(b"<p>Please sign in.</p>", "text/html"), ToolFault.MALFORMED),
    "an image": (answering(b"\x89PNG", "image/png"), ToolFault.MALFORMED),
    "10 MB": (answering(b"[" + b"1," * 5_000_000 + b"1]"), ToolFault.TOO_LARGE),
}


@pytest.mark.parametrize("case", BAD_REPLIES)
@pytest.mark.parametrize("effect", [Effect.NONE, Effect.ONCE])
async def test_a_response_that_is_not_as_declared_is_a_typed_failure(case: str, effect: Effect) -> None:
    handler, fault = BAD_REPLIES[case]
    async with tool_on(
        handler, effect, pick="part" if case in ("another part", "a page with nothing to pick") else ""
    ) as tool:
        result = await tool.call(request())
    # A gateway gives a 504 when it stops waiting, which says nothing about the act.
    lost = effect is Effect.ONCE and (fault is not ToolFault.STATUS or case == "504")
    assert (result.outcome, result.error) == (ToolOutcome.UNKNOWN if lost else ToolOutcome.ERROR, fault)
    assert result.broken is (case in ("500", "504"))
    assert len(result.content) < 300


@pytest.mark.parametrize(
    ("body", "media_type", "said"),
    [
        (b"<p>Please sign in.</p>", "text/html", "cannot be read: it is a page (HTML) or XML, and the declaration expects JSON; check"),
        (b"\n<!doctype html>", "application/json", "cannot be read: it is a page (HTML) or XML"),
        (b" ", "text/html", "cannot be read: it is empty, and the declaration expects JSON"),
        (b"{tonight: 1}", "application/json", "cannot be read: it is not valid JSON: Expecting property name"),
        (b'{"today": 1}', "application/json", "cannot be read: it has no part 'tonight'"),
    ],
)  # fmt: skip
async def test_a_response_that_is_not_json_is_called_what_it_is(
    body: bytes, media_type: str, said: str
) -> None:
    async with tool_on(answering(body, media_type), Effect.NONE, pick="tonight") as tool:
        result = await tool.call(request())
    assert (result.outcome, result.error) == (ToolOutcome.ERROR, ToolFault.MALFORMED)
    assert said in result.content


@pytest.mark.parametrize("body", [b'{"tonight": null}', b'{"tonight": ""}', b'{"tonight": []}'])
async def test_a_response_without_a_value_is_no_answer(body: bytes) -> None:
    async with tool_on(answering(body), Effect.NONE, pick="tonight") as tool:
        result = await tool.call(request())
    assert (result.outcome, result.sources) == (ToolOutcome.OK, [])
    assert result.content == "The response has no value at “tonight”."
    assert not is_direct(result)
    async with tool_on(answering(b'{"tonight": 0}'), Effect.NONE, pick="tonight") as tool:
        zero = await tool.call(request())
    assert (zero.content, [source.text for source in zero.sources], is_direct(zero)) == ("0", ["0"], True)


@pytest.mark.parametrize(
    ("status", "effect", "outcome"),
    [
        (302, Effect.NONE, ToolOutcome.ERROR),
        (302, Effect.ONCE, ToolOutcome.ERROR),
        (303, Effect.ONCE, ToolOutcome.UNKNOWN),
    ],
)
async def test_a_redirect_says_where_to_and_that_it_is_not_followed(
    status: int, effect: Effect, outcome: ToolOutcome
) -> None:
    location = "https://www.example.org/v2/note"
    async with tool_on(answering(b"", status=status, location=location), effect) as tool:
        result = await tool.call(request())
    assert (result.outcome, result.error) == (outcome, ToolFault.STATUS)
    assert result.content.startswith(
        f"HTTP {status}: the response redirects to {location}, and redirects are not followed."
    )
    assert ("not known whether" in result.content) == (outcome is ToolOutcome.UNKNOWN)


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("iso-8859-1", b"caf\xe9", "caf\xe9"),
        ("punycode", b"a-" * 40_000, "a-"),
        ("unicode_escape", b"\\ud800", "\\ud800"),
    ],
)
async def test_only_common_character_sets_are_read(charset: str, body: bytes, text: str) -> None:
    """Python has codecs that need hours for a response, or that give text which cannot be stored."""
    async with tool_on(answering(body, f"text/plain; charset={charset}"), Effect.NONE) as tool:
        result = await tool.call(request())
    assert result.outcome is ToolOutcome.OK
    assert result.content.startswith(text)


async def test_html_becomes_text_and_the_wrong_schema_is_found() -> None:
    async def read_html(data: bytes) -> str:
        return data.decode().replace("<p>", "").replace("</p>", "")

    async with served(answering(b"<p>Open at 9.</p>", "text/html; charset=utf-8")) as url:
        (tool,) = made({**BASE, "url": url}, read_html=read_html)
        assert (await tool.call(request())).content == "Open at 9."
    wrong = {"type": "object", "required": ["open"]}
    async with tool_on(answering(b'{"closed": 1}'), Effect.NONE, returns=wrong) as tool:
        assert check_result(await tool.call(request()), tool).error is ToolFault.SCHEMA
    async with tool_on(answering(b"x" * 100_000, "text/plain"), Effect.NONE) as tool:
        long = check_result(await tool.call(request()), tool)
        assert (long.outcome, len(long.content)) == (ToolOutcome.OK, MAX_RESULT_BYTES)


async def test_between_request_and_answer_the_tool_has_all_of_the_request() -> None:
    got, gate = asyncio.Event(), asyncio.Event()

    async def handle(exchange: LoopbackExchange) -> None:
        got.set()
        await gate.wait()
        await exchange.reply(HTTPStatus.OK, b"{}")

    async def inside() -> None:
        await got.wait()  # the endpoint has the request, and no part of its response was read
        gate.set()

    async with tool_on(handle) as tool:
        assert (await tool.call(request({"text": "x"}, sent=inside))).outcome is ToolOutcome.OK


async def test_an_address_that_changes_between_two_tries_leaves_the_outcome_unknown() -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        exchange.cut()

    addresses = [ip_address("127.0.0.1"), ip_address("127.0.0.2")]

    async def resolve(host: str, port: int) -> Sequence[IpAddress]:
        return [addresses.pop(0)]

    async with served(handle) as url:
        raw = {
            "kind": "http_api",
            "url": url.replace("127.0.0.1", "api.example"),
            "method": "PUT",
            "allow_private": ["127.0.0.1"],
        }
        (tool,) = made(raw, connector=Connector(resolve))
        result = await tool.call(request())
    assert (result.outcome, result.error) == (ToolOutcome.UNKNOWN, ToolFault.LOST)


@pytest.mark.parametrize(("effect", "tries"), [(Effect.ONCE, 1), (Effect.IDEMPOTENT, 3), (Effect.NONE, 3)])
async def test_a_connection_that_breaks_off_leaves_the_outcome_unknown(effect: Effect, tries: int) -> None:
    keys: list[str] = []

    async def handle(exchange: LoopbackExchange) -> None:
        keys.append(exchange.request.headers["idempotency-key"])
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        exchange.cut()

    async with tool_on(handle, effect) as tool:
        result = await tool.call(request())
    assert result.error is ToolFault.LOST
    lost = (ToolOutcome.ERROR, LOST_READING) if effect is Effect.NONE else (ToolOutcome.UNKNOWN, LOST)
    assert (result.outcome, result.content) == lost
    assert keys == ["k"] * tries


async def test_a_tool_that_may_be_called_again_is() -> None:
    cuts = iter([True, False])

    async def handle(exchange: LoopbackExchange) -> None:
        if next(cuts):
            exchange.cut()
        else:
            await exchange.reply(HTTPStatus.OK, b"{}")

    async with tool_on(handle, Effect.IDEMPOTENT) as tool:
        assert (await tool.call(request())).outcome is ToolOutcome.OK


@pytest.mark.parametrize("effect", [Effect.NONE, Effect.ONCE])
async def test_silence_ends_in_time(effect: Effect) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        await asyncio.Event().wait()

    async with tool_on(handle, effect) as tool:
        result = await tool.call(request(seconds=0.05))
    assert result.error is ToolFault.TIMEOUT
    assert (result.content == LATE_READING) == (effect is Effect.NONE)
    assert (result.outcome is ToolOutcome.UNKNOWN) == (effect is Effect.ONCE)


async def test_a_tool_that_is_not_there_or_not_allowed_was_not_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def resolve(host: str, port: int) -> Sequence[IpAddress]:
        return [ip_address("127.0.0.1")]

    server = LoopbackServer(answering(b"{}"))
    await server.start()
    named = server.url.replace("127.0.0.1", "api.example")
    (closed,) = made({"kind": "http_api", "url": named}, connector=Connector(resolve))
    refused = await closed.call(request())
    assert (refused.outcome, refused.error) == (ToolOutcome.ERROR, ToolFault.REFUSED)
    assert "name the host or the address in the declaration's key allow_private" in caplog.text
    (gone,) = made({**BASE, "url": server.url, "method": "POST"})
    await server.close()
    unreached = await gone.call(request())
    assert (unreached.outcome, unreached.content) == (ToolOutcome.ERROR, UNREACHED)
    assert unreached.error is ToolFault.UNREACHABLE


@pytest.mark.parametrize("steps", range(6))
async def test_a_call_that_is_cancelled_twice_closes_its_socket(steps: int) -> None:
    requested, left = asyncio.Event(), asyncio.Event()

    async def handle(exchange: LoopbackExchange) -> None:
        requested.set()
        try:
            await asyncio.Event().wait()
        finally:
            if exchange.left_at is not None:
                left.set()

    async with tool_on(handle) as tool:
        calling = asyncio.create_task(tool.call(request()))
        await requested.wait()
        calling.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await left.wait()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"url": "https://a.example/{x}"}, "is not a parameter"),
        ({"url": "https://a.example/?q={x}", "parameters": {"x": {}}}, "use \\[query\\]"),
        ({"url": "http://[fd00::1]/", "allow_private": ["10.0.0.0/8"]}, "would be refused"),
        ({"url": "http://169.254.169.254/"}, "never allowed"),
        ({"auth": {"query": "key"}}, "write URLs into their logs"),
        ({"auth": {"bearer": "key"}, "url": "http://a.example"}, "needs an https address"),
        ({"url": "https://a.example/{x}", "parameters": {"x": {"optional": True}}}, "cannot be optional"),
        ({"auth": {"bearer": "key", "basic_user": "x"}}, "exactly one"),
        ({"headers": {"Authorization": "x"}}, "use \\[auth\\]"),
        ({"headers": {"X": "a\r\nb"}}, "cannot hold"),
    ],
)
def test_a_declaration_that_cannot_work_says_why(keys: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ToolUnfit, match=said):
        made({"kind": "http_api", "url": "https://a.example", "secrets": {"key": {"env": "KEY"}}, **keys})
