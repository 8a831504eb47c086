"""Responsa as tools of LangChain, over both clients."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from langchain_core.messages import ToolCall, ToolMessage

from clients.conformance.server import Context, abort, status
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_client import AsyncResponsa, Responsa
from responsa_client.langchain import tools
from tests.clients.conftest import quick
from tests.clients.scripted import (
    CHAT,
    KEY,
    KNOWLEDGE,
    TURN,
    Scripted,
    answer,
    refused,
)

CITED = """Émile wrote it. [1] It was in 1898. [2]

[1] Letters, letters.md: “Émile wrote it.”
[2] Letters, letters.md: “It was in 1898.”"""


async def called(url: str, name: str, *, blocking: bool, **arguments: str) -> ToolMessage:
    """The message of a call, as a LangChain agent makes it."""
    call = ToolCall(name=name, args=arguments, id="c1", type="tool_call")

    def now() -> Any:
        with Responsa(url, KEY, 20.0, backoff=quick) as client:
            made = {tool.name: tool for tool in tools(client, agent="chat", collections=["staff"])}
            return made[name].invoke(call)

    if blocking:
        return await asyncio.to_thread(now)
    async with AsyncResponsa(url, KEY, 20.0, backoff=quick) as client:
        made = {tool.name: tool for tool in tools(client, agent="chat", collections=["staff"])}
        return await made[name].ainvoke(call)


@pytest.mark.parametrize("blocking", [True, False])
async def test_an_answer_has_its_sources_and_a_refusal_its_reason(
    server: Scripted, *, blocking: bool
) -> None:
    ends = [answer(2), refused(2)]

    async def answered(request: chat_service_pb2.AnswerRequest, context: Context) -> turn_pb2.Turn:
        if not ends:
            await abort(
                context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "There is no agent chat.")
            )
        return turn_pb2.Turn(name=TURN, terminal_event=ends.pop(0))

    server.on(f"{CHAT}/Answer", answered)
    said = await called(server.url, "ask_documents", blocking=blocking, question="Who wrote it?")
    assert (said.content, said.artifact.text, said.status) == (CITED, answer(2).answer.text, "success")
    no = await called(server.url, "ask_documents", blocking=blocking, question="Why?")
    assert (no.content, no.artifact) == (refused(2).refused.message, None)
    failed = await called(server.url, "ask_documents", blocking=blocking, question="How?")
    assert (failed.status, "There is no agent chat." in str(failed.content)) == ("error", True)
    first = server.requests[f"{CHAT}/Answer"][0]
    assert (first.agent, first.text) == ("agents/chat", "Who wrote it?")
    assert list(first.options.scope.collections) == ["collections/staff"]


async def test_a_search_returns_numbered_passages(server: Scripted) -> None:
    async def search(
        request: knowledge_service_pb2.SearchRequest, context: Context
    ) -> knowledge_service_pb2.SearchResponse:
        passage = document_pb2.Passage(title="Letters", text="Émile wrote it.")
        return knowledge_service_pb2.SearchResponse(
            hits=[knowledge_service_pb2.SearchHit(passage=passage)] * 2
        )

    server.on(f"{KNOWLEDGE}/Search", search)
    said = await called(server.url, "search_documents", blocking=True, query="author")
    assert said.content == "[1] Letters\nÉmile wrote it.\n\n[2] Letters\nÉmile wrote it."
    assert [one.passage.title for one in said.artifact] == ["Letters", "Letters"]
    (request,) = server.requests[f"{KNOWLEDGE}/Search"]
    assert (list(request.terms), request.top_k) == (["author"], 8)
