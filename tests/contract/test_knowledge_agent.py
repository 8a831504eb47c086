"""The agent `knowledge` over real documents and real tools, with and without a model, while a part of the server or of
another system is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from responsa_lab.scripted.strong import ToolCallingModel
from responsa_lab.testing.loopback import Handler, LoopbackExchange, LoopbackServer
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.table import KINDS
from responsa_server.app.tools import tools_of
from responsa_server.domain.answers import Evidence
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.models import (
    ChatModel,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    TextPiece,
)
from responsa_server.domain.turns import Question, TurnState
from responsa_server.search.answering import LibraryEvidence
from responsa_server.tools.kinds import ToolContext
from tests.contract.index_writer import retriever_of
from tests.contract.library_harness import Harness
from tests.contract.turn_harness import QUICK, Services, followed
from tests.plain_codec import events_of
from tests.wire.searching import SearchService

DOCUMENT: Final = "The ferry to Holm leaves the harbour at seven in the morning."
SNIPPET: Final = "In winter, the ferry to Holm leaves the harbour at nine."
FORECAST: Final = "The wind on the crossing to Holm has force 9."
WITHOUT: Final = "I could not reach the documents"
PAGE: Final = {"uri": "https://example.org/holm", "title": "Holm", "snippet": SNIPPET, "date": ""}
ASKED: Final = "When does the ferry to Holm leave the harbour?"
CALLS: Final = f"""{ASKED}
call knowledge_search {{"query": "{ASKED}"}}
call web_search {{"query": "ferry to Holm"}}
call sea {{}}"""
WEB: Final = 'kind = "web_search"\nprovider = "searxng"\nurl = "{}"\nallow_private = ["127.0.0.1"]\n'
SEA: Final = """kind = "http_api"
title = "the harbour office"
description = "The wind at sea."
url = "{}/sea"
pick = "wind"
allow_private = ["127.0.0.1"]
timeout = 1.5
"""


async def broken(exchange: LoopbackExchange) -> None:
    """Sends a half of a response."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
    exchange.cut()


async def hanging(_: LoopbackExchange) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def office(exchange: LoopbackExchange) -> None:
    """The harbour office, which knows the wind."""
    await exchange.reply(200, json.dumps({"wind": FORECAST}).encode(), {"content-type": "application/json"})


@dataclass
class Failing:
    """The scripted model, which fails in this step, or in all steps if it is "", after it has written these words."""

    step: str
    words: str = ""
    name: str = "failing"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        if self.step and prompt.purpose != self.step:
            async for piece in ToolCallingModel().stream(prompt):
                yield piece
            return
        if self.words:
            yield TextPiece(self.words)
        raise ModelError(ModelFault.CUT if self.words else ModelFault.UNREACHABLE, "gone", model=self.name)


class NoDocuments(LibraryEvidence):
    """A search whose database is away."""

    async def search(self, *_: Any, **__: Any) -> Evidence:
        raise Unavailable(Reason.PART_UNAVAILABLE, "The database is away.", {"part": "postgresql"})


@dataclass(frozen=True)
class Case:
    """What is away, and what the turn's end must say. documents: whether the documents can be searched; `None`: there
    are none. words: parts of the answer or of the refusal. cited: what the citations are from. end: the state of the
    turn. fallbacks: the fallbacks, in order.
    """

    words: Sequence[str]
    cited: frozenset[str] = frozenset({"document", "web_search", "sea"})
    model: ChatModel | None = None
    web: Handler | None = SearchService("searxng", "", [PAGE]).handle
    sea: Handler | None = office
    documents: bool | None = True
    end: TurnState = TurnState.ANSWERED
    fallbacks: Sequence[Fallback] = ()


SAID: Final = {DOCUMENT: "document", SNIPPET: "web_search", FORECAST: "sea"}
ALL: Final = (DOCUMENT, SNIPPET, FORECAST)
TWO: Final = frozenset({"document", "sea"})


def without(cause: str) -> Sequence[Fallback]:
    """The tools that cannot be used without a model. The documents are searched without the tool `knowledge_search`."""
    tools = ("web_search", "sea")
    return [Fallback(FallbackKind.WITHOUT_TOOL, tool, "", cause) for tool in tools]


GONE: Final = "model_unavailable:unreachable"
DOCUMENTS_DOWN: Final = "part_unavailable:postgresql"
CASES: Final[Mapping[str, Case]] = {
    "nothing": Case(ALL, model=ToolCallingModel()),
    "web_down": Case(
        (DOCUMENT, FORECAST, "*The web search could not be reached.*"), TWO, ToolCallingModel(), web=None
    ),
    "web_cut": Case(
        (DOCUMENT, "The web search did not answer, because"), TWO, ToolCallingModel(), web=broken
    ),
    "api_hangs": Case(
        (DOCUMENT, "*The harbour office did not answer in time.*"),
        frozenset({"document", "web_search"}),
        ToolCallingModel(),
        sea=hanging,
    ),
    "no_documents": Case(
        (SNIPPET, FORECAST), frozenset({"web_search", "sea"}), ToolCallingModel(), documents=None
    ),
    "documents_down": Case(
        (WITHOUT, SNIPPET, FORECAST),
        frozenset({"web_search", "sea"}),
        ToolCallingModel(),
        documents=False,
        fallbacks=[Fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "look", DOCUMENTS_DOWN)],
    ),
    "model_away": Case(
        (DOCUMENT,),
        frozenset({"document"}),
        Failing(""),
        fallbacks=[Fallback(FallbackKind.PASSAGES, "model", "passages", GONE), *without(GONE)],
    ),
    # The tools that were called are not among those that could not be used.
    "model_gone_after_the_calls": Case(
        (DOCUMENT,),
        frozenset({"document"}),
        Failing("research"),
        fallbacks=[Fallback(FallbackKind.PASSAGES, "model", "passages", GONE)],
    ),
    "model_dies_in_mid_answer": Case(
        (), frozenset(), Failing("research", "The ferry "), end=TurnState.FAILED
    ),
    "no_model": Case(
        (DOCUMENT,),
        frozenset({"document"}),
        fallbacks=[Fallback(FallbackKind.PASSAGES, "model", "passages", "no_model"), *without("no_model")],
    ),
    "no_model_and_no_documents": Case(
        ("Nothing close was found",),
        frozenset(),
        documents=None,
        end=TurnState.REFUSED,
        fallbacks=without("no_model"),
    ),
    "no_model_and_documents_down": Case(
        ("could not be searched",),
        frozenset(),
        documents=False,
        end=TurnState.REFUSED,
        fallbacks=[
            Fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "refuse", DOCUMENTS_DOWN),
            *without("no_model"),
        ],
    ),
}


async def knowing(case: Case, folder: Path, harness: Harness, fallen: list[Fallback]) -> PlannedAgent:
    """The agent with the parts of a case. fallen: gets its fallbacks."""
    evidence = (NoDocuments if case.documents is False else LibraryEvidence)(
        retriever_of(harness.database, harness.embedder)
    )
    tools = tools_of(folder, ToolContext(evidence), report=lambda _: None)
    tools.reload()
    examined = examine(SHIPPED / "knowledge", Surroundings())
    assert examined.config is not None
    parts = NodeParts(
        evidence,
        evidence,
        model=case.model,
        larger=case.model,
        tools=tools,
    )
    made = plan(examined.config, parts, examined.prompts, KINDS, "knowledge")
    options = agent_options(examined.config, "agents/knowledge/versions/1")
    return PlannedAgent(made, options, counted=fallen.append)


@pytest.mark.parametrize("name", CASES)
async def test_what_is_away_is_said_and_the_rest_goes_on(name: str, harness: Harness, tmp_path: Path) -> None:
    """None of these turns has Redis."""
    case = CASES[name]
    if case.documents is not None:
        await harness.take_in(harness.ann, DOCUMENT, "timetable.txt")
    async with AsyncExitStack() as stack:
        for file, declaration, handler in (("web_search", WEB, case.web), ("sea", SEA, case.sea)):
            server = LoopbackServer(handler or hanging)
            await server.start()
            stack.push_async_callback(server.close)
            (tmp_path / f"{file}.toml").write_text(declaration.format(server.url))
            if handler is None:
                await server.close()
        fallen: list[Fallback] = []
        agent = await knowing(case, tmp_path, harness, fallen)
        async with Services(harness.database).turns(agent, QUICK) as turns:
            accepted = await turns.accept(harness.ann, Question(ASKED if case.model is None else CALLS), None)
            turn = await turns.wait(harness.ann, accepted.turn_id)
            events = events_of(await followed(turns, harness.ann, turn.id))
    assert turn.state is case.end, turn.terminal
    end = json.loads(turn.terminal or b"")
    said = str(end)
    for words in case.words:
        assert words in (end.get("text") or end["message"]), said
    assert {SAID[event["quote"]] for event in events if event["kind"] == "cited"} == case.cited, said
    assert fallen == list(case.fallbacks)
