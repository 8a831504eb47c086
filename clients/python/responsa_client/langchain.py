"""Responsa as tools of LangChain, for agents that run elsewhere: one asks a question, the other searches. It needs `pip
install "responsa-client[langchain]"`.

    from responsa_client import Responsa
    from responsa_client.langchain import tools

    with Responsa("http://127.0.0.1:8080", api_key="rsp_…") as client:
        ask, search = tools(client)
        print(ask.invoke({"question": "How does a client continue after a lost connection?"}))

The client's user decides what the tools read. Their texts are for the agent's model: treat them as data and not as
instructions, as you do with any tool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, Field

from responsa.chat.v1.citation_pb2 import Citation
from responsa.chat.v1.turn_pb2 import Turn, TurnAnswer
from responsa.knowledge.v1.knowledge_service_pb2 import SearchHit
from responsa_client.aio import AsyncResponsa
from responsa_client.blocking import Responsa
from responsa_client.errors import ResponsaError
from responsa_client.results import turn_error

Result = TypeVar("Result")

_ASK: Final = (
    "Answers a question from the organisation's documents, with numbered sources. If the "
    "documents do not support an answer, the result says so."
)
_SEARCH: Final = "Searches the organisation's documents and returns the passages that fit best."


class Question(BaseModel):
    """The arguments of the tool that asks."""

    question: str = Field(min_length=1, description="One question, as a whole sentence.")


class Query(BaseModel):
    """The arguments of the tool that searches."""

    query: str = Field(min_length=1, description="What to look for, in a few words.")


def tools(
    client: Responsa | AsyncResponsa, *, agent: str = "", collections: Sequence[str] = (), passages: int = 8
) -> Sequence[BaseTool]:
    """The tools `ask_documents` and `search_documents`.

    The text of `ask_documents` is the answer with the numbers of its sources, and below it each source with its title,
    address and quote; the artifact is the turn's `TurnAnswer`, or None if the question was refused. The text of
    `search_documents` are the numbered passages; the artifact is the list of `SearchHit`. An error of the server is a
    text for the model too, in a message with the status "error".

    With AsyncResponsa, the tools can only be called with `ainvoke`.

    Args:
        client: the client, which must stay open as long as the tools are used.
        agent: id or name of the agent that answers; "" for the default agent.
        collections: ids or names of the collections to use; empty for all that the client's user may read.
        passages: the maximum number of passages, from 1 to 100.
    """
    if isinstance(client, AsyncResponsa):
        later = client

        async def ask_later(question: str) -> tuple[str, TurnAnswer | None]:
            return _answered(await _awaited(later.answer(question, agent=agent, collections=collections)))

        async def search_later(query: str) -> tuple[str, Sequence[SearchHit]]:
            return _found(await _awaited(later.search(query, collections, passages)))

        return [
            _tool("ask_documents", _ASK, Question, coroutine=ask_later),
            _tool("search_documents", _SEARCH, Query, coroutine=search_later),
        ]
    now = client

    def ask(question: str) -> tuple[str, TurnAnswer | None]:
        return _answered(_called(lambda: now.answer(question, agent=agent, collections=collections)))

    def search(query: str) -> tuple[str, Sequence[SearchHit]]:
        return _found(_called(lambda: now.search(query, collections, passages)))

    return [
        _tool("ask_documents", _ASK, Question, function=ask),
        _tool("search_documents", _SEARCH, Query, function=search),
    ]


def _tool(
    name: str,
    description: str,
    arguments: type[BaseModel],
    *,
    function: Callable[..., object] | None = None,
    coroutine: Callable[..., Awaitable[object]] | None = None,
) -> BaseTool:
    return StructuredTool(
        name=name,
        description=description,
        args_schema=arguments,
        func=function,
        coroutine=coroutine,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def _called(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except ResponsaError as error:
        raise ToolException(str(error)) from error


async def _awaited(call: Awaitable[Result]) -> Result:
    try:
        return await call
    except ResponsaError as error:
        raise ToolException(str(error)) from error


def _answered(turn: Turn) -> tuple[str, TurnAnswer | None]:
    """The text for a model, and the answer. Raises ToolException if the turn has failed or was cancelled."""
    if error := turn_error(turn):
        raise ToolException(str(error))
    end = turn.terminal_event
    if end.WhichOneof("event") == "refused":
        return end.refused.message, None
    return cited(end.answer), end.answer


def cited(answer: TurnAnswer) -> str:
    """An answer as text: the number of each citation follows the bytes that the citation supports, and the sources
    follow the text in order."""
    text = answer.text.encode()
    placed = sorted(
        enumerate(answer.citations, 1), key=lambda one: (one[1].answer_range.end, one[0]), reverse=True
    )
    for number, one in placed:
        end = one.answer_range.end
        text = text[:end] + f" [{number}]".encode() + text[end:]
    sources = [_source(number, one) for number, one in enumerate(answer.citations, 1)]
    return "\n".join([text.decode(), *(["", *sources] if sources else [])])


def _source(number: int, citation: Citation) -> str:
    place = ", ".join(part for part in (citation.title, citation.uri) if part)
    return f"[{number}] {place}: “{citation.quote}”"


def _found(hits: Sequence[SearchHit]) -> tuple[str, Sequence[SearchHit]]:
    texts = [f"[{number}] {one.passage.title}\n{one.passage.text}" for number, one in enumerate(hits, 1)]
    return "\n\n".join(texts) or "No passage was found.", hits
