"""MCP on a real instance, with the official SDK's client: over Streamable HTTP in both generations of the protocol, and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, PromptReference
from uuid_utils.compat import uuid7

from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from responsa_server.domain.people import Role
from tests.callers import Registry
from tests.forked import responsa
from tests.instance import Instance, eventually
from tests.raising import raises

FERRY: Final = "When does the ferry to Skye leave Mallaig?"
ENDLESS: Final = "tokens=2000 pace_ms=50"
WAYS: Final = ("modern", "legacy", "stdio")


@asynccontextmanager
async def connected(instance: Instance, way: str) -> AsyncGenerator[Client]:
    if way == "stdio":
        environment = {**os.environ, "RESPONSA_URL": instance.url, "RESPONSA_API_KEY": instance.key}
        program = StdioServerParameters(command=responsa()[0], args=["mcp"], env=environment)
        async with Client(stdio_client(program)) as client:
            yield client
        return
    headers = {"authorization": f"Bearer {instance.key}"}
    mode = "legacy" if way == "legacy" else "auto"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{instance.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def run(instance: Instance, way: str, work: Callable[[Client], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with connected(instance, way) as client:
            await work(client)

    asyncio.run(whole())


def data(result: CallToolResult) -> dict[str, Any]:
    """The structured result of a tool, which is not an error."""
    assert not result.is_error, result.content
    return result.structured_content


def refused(result: CallToolResult) -> tuple[str, str]:
    """The reason of an error, and the first field that is wrong."""
    assert result.is_error
    problem = result.structured_content
    assert result.content[0].text == f"{problem['reason']}: {problem['message']}"
    return problem["reason"], next((one["field"] for one in problem.get("fields", [])), "")


@pytest.mark.parametrize("way", WAYS)
def test_a_host_searches_reads_asks_and_cancels(second: Instance, way: str) -> None:
    with Responsa(second.url, second.key) as responsa:

        async def work(client: Client) -> None:
            tools = (await client.list_tools()).tools
            assert [tool.name for tool in tools] == ["search", "documents", "ask", "cancel"]

            endless = {"question": ENDLESS, "agent": "testing"}
            begun = asyncio.Event()

            async def first_step(*_: object) -> None:
                begun.set()

            asked = asyncio.create_task(client.call_tool("ask", endless, progress_callback=first_step))
            await begun.wait()
            running = next(responsa.turns(filter_by="state = RUNNING"))
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

            # Models write null for what they leave out, and numbers as texts.
            loose = {"query": "ferry", "limit": "3", "collections": None, "filter": None}
            (first, *_) = data(await client.call_tool("search", loose))["passages"]
            assert "Mallaig" in first["text"]
            for names in ({"query": "ferry"}, {"names": [first["document"]]}, {"names": [first["passage"]]}):
                (document, *_) = data(await client.call_tool("documents", names))["documents"]
                assert "Mallaig" in document["text"]
            cut = {"names": [first["document"]], "max_bytes": 9}
            (document,) = data(await client.call_tool("documents", cut))["documents"]
            rest = {"names": [first["document"]], "offset": document["next_offset"]}
            (other,) = data(await client.call_tool("documents", rest))["documents"]
            content = responsa.document_content(first["document"])
            assert document["text"] + other["text"] == content

            steps: list[str | None] = []

            async def progress(_: float, __: float | None, message: str | None) -> None:
                steps.append(message)

            asking = {"question": FERRY, "request_id": str(uuid7())}
            answer = data(await client.call_tool("ask", asking, progress_callback=progress))
            turn = responsa.get_turn(answer["turn"])
            assert (answer["outcome"], answer["text"]) == ("answered", turn.terminal_event.answer.text)
            assert answer["citations"]
            assert all(one["quote"] for one in answer["citations"])
            assert steps
            again = await client.call_tool("ask", asking)
            assert data(again) == answer
            shown = again.content[0].text
            assert shown.startswith("No language model is configured. Closest passages:\n\n")
            assert "\n\nSources:\n\n1. " in shown

            assert refused(await client.call_tool("ask", {"question": FERRY, "agent": "nobody"})) == (
                "RESOURCE_NOT_FOUND",
                "",
            )
            for tool, arguments, field in (
                ("ask", {"question": " "}, "question"),
                ("ask", {"question": FERRY, "color": "red"}, "color"),
                ("search", {"query": "ferry", "limit": 1000}, "limit"),
                ("search", {"query": "ferry", "collections": ["No!"]}, "collections[0]"),
                ("search", {"query": 7}, "query"),
                ("search", {"query": None}, "query"),
                ("search", {"query": "ferry", "limit": "five"}, "limit"),
            ):
                assert refused(await client.call_tool(tool, arguments)) == ("INVALID_FIELD", field)
            wrong = await client.call_tool("ask", {"questoin": 7, "parameters": 5, "collections": [1]})
            fields = wrong.structured_content["fields"]
            assert {f"{one['field']} {one['description']}" for one in fields} == {
                "collections[0] must be a string",
                "parameters must be an object",
                "questoin there is no such argument; did you mean question?",
                "question must be given",
            }
            assert wrong.structured_content["request_id"]
            assert (await raises(MCPError, client.call_tool("dance", {}))).data["reason"] == "ROUTE_NOT_FOUND"

            # Over HTTP, a host of today's protocol cancels by going away, and the server waits a while for its return.
            await asyncio.to_thread(
                eventually,
                lambda: responsa.get_turn(running.name).terminal_event.HasField("cancelled"),
                "the turn is cancelled",
            )

        run(second, way, work)


def test_administrators_see_only_the_collections_that_they_may_read(second: Instance) -> None:
    registry = Registry(second)
    try:
        with Responsa(second.url, second.key) as responsa:
            _, key = registry.key_of(responsa.me().tenant.partition("/")[2], "Dora", Role.USER)
    finally:
        registry.close()
    with Responsa(second.url, key) as dora:
        private = dora.create_collection("private", display_name="Dora's own")
        shared = dora.create_collection("shared", readers=[reader_pb2.Reader(everyone=True)])

    async def work(client: Client) -> None:
        found = {str(one.uri): one.title for one in (await client.list_resources()).resources}
        assert f"responsa://{shared.shared_name}" in found
        assert "Dora's own" not in found.values()

    run(second, "modern", work)
    with Responsa(second.url, key) as dora:
        dora.delete_collection(private.name)
        dora.delete_collection(shared.name)


@pytest.mark.parametrize("way", WAYS[::2])
def test_agents_are_prompts_and_collections_are_resources(second: Instance, way: str) -> None:
    with Responsa(second.url, second.key) as responsa:
        named = responsa.create_teacher(f"Ferryman {way}", "Patient.").name
        teacher = named.removeprefix("teachers/")

    async def work(client: Client) -> None:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert "default" in prompts
        assert "tutor" not in prompts  # it is not listed
        prompt = await client.get_prompt("default", {"question": FERRY})
        assert FERRY in prompt.messages[0].content.text
        caught = await raises(MCPError, client.get_prompt("nobody", {"question": FERRY}))
        assert caught.data["reason"] == "RESOURCE_NOT_FOUND"

        caught = await raises(MCPError, client.get_prompt("default", {}))
        assert caught.data["fields"] == [{"field": "question", "description": "must be given"}]
        tutor = PromptReference(type="ref/prompt", name="tutor")
        completed = await client.complete(tutor, {"name": "teacher_id", "value": f"ryman {way}"})
        assert completed.completion.values == [teacher]
        caught = await raises(MCPError, client.get_prompt("default", {"question": FERRY, "bad": "1"}))
        assert caught.data["fields"][0]["field"] == "bad"

        contents = [await client.read_resource(one.uri) for one in (await client.list_resources()).resources]
        listed = [json.loads(content.contents[0].text) for content in contents]
        documents = [document for collection in listed for document in collection.get("documents", [])]
        texts = [
            (await client.read_resource(f"responsa://{document['name']}")).contents[0].text
            for document in documents
        ]
        assert any("Mallaig" in text for text in texts)
        caught = await raises(MCPError, client.read_resource("responsa://collections/none"))
        assert caught.data["reason"] == "RESOURCE_NOT_FOUND"

    run(second, way, work)


def test_bad_requests_are_refused_in_the_shape_of_json_rpc(second: Instance) -> None:
    ids: list[object] = []
    with httpx2.Client(base_url=second.url, timeout=30) as http:

        def error_of(body: bytes, key: str | None = second.key, method: str = "POST") -> tuple[int, int, str]:
            headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
            if key is not None:
                headers["authorization"] = f"Bearer {key}"
            reply = http.request(method, "/mcp", content=body, headers=headers)
            if reply.status_code == 401:
                assert reply.headers["www-authenticate"].startswith("Bearer ")
            if reply.status_code == 405:
                assert reply.headers["allow"] == "POST"
            error = reply.json()["error"]
            ids.append(reply.json()["id"])
            return reply.status_code, error["code"], error["data"]["reason"]

        listing = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
        assert error_of(listing, None) == (401, -32000, "CREDENTIAL_MISSING")
        assert error_of(listing, "rsp_wrong") == (401, -32000, "CREDENTIAL_MALFORMED")
        assert error_of(b"{") == (400, -32700, "MALFORMED_MESSAGE")
        assert error_of(b"[" + listing + b"]") == (400, -32600, "MALFORMED_MESSAGE")
        assert error_of(b'"' + b"x" * 131_072 + b'"') == (400, -32600, "MALFORMED_MESSAGE")
        assert error_of(listing[:-1] + b', "params": 5}') == (400, -32600, "MALFORMED_MESSAGE")
        assert ids == [None] * 5 + [1]
        for number in (b"1.5", b"null", b"true", b"{}"):
            assert error_of(listing.replace(b"1,", number + b",")) == (400, -32600, "MALFORMED_MESSAGE")
        assert error_of(b"{}") == (400, -32600, "MALFORMED_MESSAGE")
        form = http.post("/mcp", content=listing, headers={"authorization": f"Bearer {second.key}"})
        assert form.json()["error"]["data"]["reason"] == "MALFORMED_MESSAGE"
        assert error_of(b"", method="GET") == (405, -32600, "ROUTE_NOT_FOUND")


class Cut(httpx2.AsyncBaseTransport):
    """Connections, of which that of the first question is cut after its first event with an id."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self.cuts = 0
        self.resumed: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        asks = request.method == "POST" and b'"tools/call"' in await request.aread()
        if "last-event-id" in request.headers:
            self.resumed.append(request.headers["last-event-id"])
        response = await self._inner.handle_async_request(request)
        if asks and not self.cuts:
            self.cuts += 1
            response.stream = Beginning(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Beginning(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async for piece in self._stream:
            yield piece
            if b"id: " in piece:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


def test_a_host_gets_the_rest_of_an_answer_whose_connection_was_cut(second: Instance) -> None:
    asking = {"question": "tokens=40 pace_ms=50", "agent": "testing"}

    async def work() -> None:
        cut = Cut()
        headers = {"authorization": f"Bearer {second.key}"}
        async with (
            httpx2.AsyncClient(transport=cut, headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{second.url}/mcp", http_client=http), mode="legacy") as client,
        ):
            answer = data(await client.call_tool("ask", asking))
            assert answer["outcome"] == "answered"
            (last,) = cut.resumed
            assert last.startswith(f"{answer['turn'].removeprefix('turns/')}/1/")
            same = {**asking, "request_id": answer["request_id"]}
            assert data(await client.call_tool("ask", same)) == answer
            for wrong in ("", "x", last.replace(last[:8], "00000000")):
                reply = await http.get(
                    f"{second.url}/mcp",
                    headers={"last-event-id": wrong, "mcp-protocol-version": "2025-11-25"},
                )
                assert reply.status_code == 405 or "RESOURCE_NOT_FOUND" in reply.text, wrong
            # Today's protocol has no such events.
            reply = await http.get(
                f"{second.url}/mcp", headers={"last-event-id": last, "mcp-protocol-version": "2026-07-28"}
            )
            assert (reply.status_code, reply.headers["allow"]) == (405, "POST")

    asyncio.run(work())


def test_a_host_of_todays_protocol_learns_the_request_id_first(second: Instance) -> None:
    steps: list[str | None] = []

    async def progress(_: float, __: float | None, message: str | None) -> None:
        steps.append(message)

    async def work(client: Client) -> None:
        answer = data(await client.call_tool("ask", {"question": FERRY}, progress_callback=progress))
        assert steps[0] == f"Accepted, request_id {answer['request_id']}"
        again = {"question": FERRY, "request_id": answer["request_id"]}
        assert data(await client.call_tool("ask", again)) == answer

    run(second, "modern", work)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*", ""])
def test_a_host_may_accept_one_type_or_say_none(second: Instance, accept: str) -> None:
    headers = {
        "authorization": f"Bearer {second.key}",
        "mcp-protocol-version": "2025-06-18",
        "accept": accept,
    }
    params = {"name": "search", "arguments": {"query": "ferry"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    with httpx2.Client(base_url=second.url, timeout=30) as http:
        if not accept:
            del headers["accept"]
            del http.headers["accept"]
        reply = http.post("/mcp", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    kind = "text/event-stream" if accept in ("text/event-stream", "*/*") else "application/json"
    assert reply.headers["content-type"].startswith(kind)
    assert "Mallaig" in reply.text


def test_a_host_that_began_with_a_handshake_may_name_any_version_that_is_spoken(second: Instance) -> None:
    headers = {"authorization": f"Bearer {second.key}", "mcp-protocol-version": "2026-07-28"}
    client = {"name": "host", "version": "1"}
    begin = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    search = {"name": "search", "arguments": {"query": "ferry"}}
    with httpx2.Client(base_url=second.url, timeout=30, headers=headers) as http:
        begun = http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin})
        assert '"protocolVersion":"2025-06-18"' in begun.text.replace(" ", "")
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": search}
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        assert "Mallaig" in http.post("/mcp", json=call, headers=session).text
        unknown = {**session, "mcp-protocol-version": "2031-01-01"}
        refused = http.post("/mcp", json=call, headers=unknown)
        error = refused.json()["error"]
        assert (refused.status_code, refused.json()["id"], error["code"]) == (400, 2, -32022)
        assert "must be one of 2024-11-05" in error["message"]
