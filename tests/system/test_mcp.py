"""MCP on a real instance, with the official SDK's client: over Streamable HTTP in both generations of the protocol, and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from uuid_utils.compat import uuid7

from responsa.knowledge.v1 import reader_pb2
from responsa_client import Responsa
from responsa_server.domain.people import Role
from tests.callers import Registry
from tests.instance import Instance, eventually

FERRY: Final = "When does the ferry to Skye leave Mallaig?"
ENDLESS: Final = "tokens=2000 pace_ms=50"
WAYS: Final = ("modern", "legacy", "stdio")


@asynccontextmanager
async def connected(instance: Instance, way: str) -> AsyncGenerator[Client]:
    if way == "stdio":
        environment = {**os.environ, "RESPONSA_URL": instance.url, "RESPONSA_API_KEY": instance.key}
        program = StdioServerParameters(
            command=sys.executable, args=["-m", "responsa_server", "mcp"], env=environment
        )
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


def data(found: CallToolResult) -> dict[str, Any]:
    """The structured result of a tool, which is not an error."""
    assert not found.is_error, found.content
    return found.structured_content


def refused(found: CallToolResult) -> tuple[str, str]:
    """The reason of an error, and the first field that is wrong."""
    assert found.is_error
    told = found.structured_content
    assert found.content[0].text == f"{told['reason']}: {told['message']}"
    return told["reason"], next((one["field"] for one in told.get("fields", [])), "")


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

            (first, *_) = data(await client.call_tool("search", {"query": "ferry", "limit": 3}))["passages"]
            assert "Mallaig" in first["text"]
            for names in ({"query": "ferry"}, {"names": [first["document"]]}, {"names": [first["passage"]]}):
                (one, *_) = data(await client.call_tool("documents", names))["documents"]
                assert "Mallaig" in one["text"]
            cut = {"names": [first["document"]], "max_bytes": 9}
            (one,) = data(await client.call_tool("documents", cut))["documents"]
            rest = {"names": [first["document"]], "offset": one["next_offset"]}
            (other,) = data(await client.call_tool("documents", rest))["documents"]
            content = responsa.document_content(first["document"])
            assert one["text"] + other["text"] == content

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
            assert data(await client.call_tool("ask", asking)) == answer

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
            ):
                assert refused(await client.call_tool(tool, arguments)) == ("INVALID_FIELD", field)
            wrong = await client.call_tool("ask", {"questoin": 7, "parameters": 5, "collections": [1]})
            fields = wrong.structured_content["fields"]
            assert {f"{one['field']} {one['description']}" for one in fields} == {
                "collections[0] must be a text",
                "parameters must be an object",
                "questoin there is no such argument; did you mean question?",
                "question must be given",
            }
            assert wrong.structured_content["request_id"]
            with pytest.raises(MCPError) as caught:
                await client.call_tool("dance", {})
            assert caught.value.data["reason"] == "ROUTE_NOT_FOUND"

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
    async def work(client: Client) -> None:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert "default" in prompts
        found = await client.get_prompt("default", {"question": FERRY})
        assert FERRY in found.messages[0].content.text
        with pytest.raises(MCPError) as caught:
            await client.get_prompt("nobody", {"question": FERRY})
        assert caught.value.data["reason"] == "RESOURCE_NOT_FOUND"

        with pytest.raises(MCPError) as caught:
            await client.get_prompt("default", {"question": FERRY, "bad": "1"})
        assert caught.value.data["fields"][0]["field"] == "bad"

        contents = [await client.read_resource(one.uri) for one in (await client.list_resources()).resources]
        documents = [one for found in contents for one in json.loads(found.contents[0].text)["documents"]]
        texts = [
            (await client.read_resource(f"responsa://{one['name']}")).contents[0].text for one in documents
        ]
        assert any("Mallaig" in text for text in texts)
        with pytest.raises(MCPError) as caught:
            await client.read_resource("responsa://collections/none")
        assert caught.value.data["reason"] == "RESOURCE_NOT_FOUND"

    run(second, way, work)


def test_bad_requests_are_refused_in_the_shape_of_json_rpc(second: Instance) -> None:
    ids: list[object] = []
    with httpx2.Client(base_url=second.url, timeout=30) as http:

        def told(body: bytes, key: str | None = second.key, method: str = "POST") -> tuple[int, int, str]:
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
        assert told(listing, None) == (401, -32000, "CREDENTIAL_MISSING")
        assert told(listing, "rsp_wrong") == (401, -32000, "CREDENTIAL_MALFORMED")
        assert told(b"{") == (400, -32700, "MALFORMED_MESSAGE")
        assert told(b"[" + listing + b"]") == (400, -32600, "MALFORMED_MESSAGE")
        assert told(b'"' + b"x" * 131_072 + b'"') == (400, -32600, "MALFORMED_MESSAGE")
        assert told(listing[:-1] + b', "params": 5}') == (400, -32600, "MALFORMED_MESSAGE")
        assert ids == [None] * 5 + [1]
        for number in (b"1.5", b"null", b"true", b"{}"):
            assert told(listing.replace(b"1,", number + b",")) == (400, -32600, "MALFORMED_MESSAGE")
        assert told(b"{}") == (400, -32600, "MALFORMED_MESSAGE")
        form = http.post("/mcp", content=listing, headers={"authorization": f"Bearer {second.key}"})
        assert form.json()["error"]["data"]["reason"] == "MALFORMED_MESSAGE"
        assert told(b"", method="GET") == (405, -32600, "ROUTE_NOT_FOUND")
