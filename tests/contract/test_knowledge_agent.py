"""The agent `knowledge` over real documents and real tools, with and without a model, while a part of the server or of another system is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from responsa_lab.scripted.calling import Calling
from responsa_lab.testing.loopback import Exchange, Handler, LoopbackServer
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
from responsa_server.domain.intents import Classified
from responsa_server.domain.models import (
    ChatModel,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    TextPiece,
)
from responsa_server.domain.turns import Question, TurnState
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.answering import LibraryEvidence
from responsa_server.stores.postgres.database import Database
from responsa_server.tools.kinds import ToolParts
from tests.contract.conftest import People
from tests.contract.shelf import Shelf, retriever_of
from tests.contract.turn_house import QUICK, House, followed
from tests.plain_codec import events_of
from tests.wire.searching import SearchService

DOCUMENT: Final = "The ferry to Holm leaves the harbour at seven in the morning."
SNIPPET: Final = "In winter, the ferry to Holm leaves the harbour at nine."
LIGHTHOUSE: Final = "The lighthouse of Skerry was painted red in 1912."
FORECAST: Final = "The wind on the crossing to Holm has force 9."
WITHOUT: Final = "I could not reach the documents"
PAGE: Final = {"uri": "https://example.org/holm", "title": "Holm", "snippet": SNIPPET, "date": ""}
WIND: Final = "How strong is the wind at sea?"
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
timeout = 0.5
"""


async def broken(exchange: Exchange) -> None:
    """Sends a half of a response."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
    exchange.cut()


async def hanging(_: Exchange) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def office(exchange: Exchange) -> None:
    """The harbour office, which knows the wind."""
    await exchange.reply(200, json.dumps({"wind": FORECAST}).encode(), {"content-type": "application/json"})


async def talkative(exchange: Exchange) -> None:
    """The harbour office, which knows the wind and says much about other things."""
    fees = " ".join(f"Berth {place} costs {place} crowns a night." for place in range(60))
    reply = json.dumps({"wind": f"{fees} {FORECAST}"}).encode()
    await exchange.reply(200, reply, {"content-type": "application/json"})


@dataclass
class Failing:
    """The scripted model, which fails in this step, or in all steps if it is "", after it has written these words."""

    step: str
    words: str = ""
    name: str = "failing"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        if self.step and prompt.purpose != self.step:
            async for piece in Calling().stream(prompt):
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
class Chooses:
    """A classifier that names the harbour office for the wind, and this tool for everything else."""

    labels: Sequence[str]

    async def classify(self, text: str) -> Classified:
        label = "sea" if "wind" in text else self.labels[0]
        return Classified(label, 0.9, True, {label: 0.9})


@dataclass(frozen=True)
class Case:
    """What is away, and what the turn's end must say. documents: whether the documents can be searched; `None`: there are none. words: parts of the answer or of the
    refusal. cited: what the citations are from. end: the state of the turn. asked: the question; "" for the usual one. chosen: the tool that is chosen without a model.
    """

    words: Sequence[str]
    cited: frozenset[str] = frozenset({"document", "web_search", "sea"})
    model: ChatModel | None = None
    web: Handler | None = SearchService("searxng", "", [PAGE]).handle
    sea: Handler | None = office
    documents: bool | None = True
    end: TurnState = TurnState.ANSWERED
    fallback: FallbackKind | None = None
    asked: str = ""
    chosen: str = "knowledge_search"


SAID: Final = {DOCUMENT: "document", SNIPPET: "web_search", LIGHTHOUSE: "web_search", FORECAST: "sea"}
ALL: Final = (DOCUMENT, SNIPPET, FORECAST)
TWO: Final = frozenset({"document", "sea"})
CASES: Final[Mapping[str, Case]] = {
    "nothing": Case(ALL, model=Calling()),
    "web_down": Case(
        (DOCUMENT, FORECAST, "*The web search could not be reached.*"), TWO, Calling(), web=None
    ),
    "web_cut": Case((DOCUMENT, "The web search did not answer, because"), TWO, Calling(), web=broken),
    "api_hangs": Case(
        (DOCUMENT, "*The harbour office did not answer in time.*"),
        frozenset({"document", "web_search"}),
        Calling(),
        sea=hanging,
    ),
    "no_documents": Case((SNIPPET, FORECAST), frozenset({"web_search", "sea"}), Calling(), documents=None),
    "documents_down": Case(
        (WITHOUT, SNIPPET, FORECAST),
        frozenset({"web_search", "sea"}),
        Calling(),
        documents=False,
        fallback=FallbackKind.WITHOUT_RETRIEVAL,
    ),
    "model_away": Case((DOCUMENT,), frozenset({"document"}), Failing(""), fallback=FallbackKind.RULE),
    "model_gone_after_the_calls": Case(
        (DOCUMENT, FORECAST), TWO | {"web_search"}, Failing("research"), fallback=FallbackKind.EXTRACTIVE
    ),
    "model_dies_in_mid_answer": Case(
        (), frozenset(), Failing("research", "The ferry "), end=TurnState.FAILED
    ),
    "no_model": Case((DOCUMENT,), frozenset({"document"})),
    "no_model_but_the_web": Case(
        (DOCUMENT, SNIPPET), frozenset({"document", "web_search"}), chosen="web_search"
    ),
    "no_model_and_web_down": Case(
        (DOCUMENT, "*The web search could not be reached.*"),
        frozenset({"document"}),
        web=None,
        chosen="web_search",
    ),
    "no_model_but_an_api": Case(
        ("**The harbour office:**", FORECAST), frozenset({"sea"}), asked=WIND, chosen="sea"
    ),
    "no_model_and_two_parts": Case(
        ("**The harbour office:**", FORECAST, DOCUMENT), TWO, asked=f"{WIND} And {ASKED.lower()}"
    ),
    "no_model_and_a_part_that_nothing_answers": Case(
        (FORECAST, "Neither the documents nor the tools answer this: “who painted the town hall of Oslo?”"),
        frozenset({"sea"}),
        asked=f"{WIND} And who painted the town hall of Oslo?",
    ),
    "no_model_and_a_long_result_that_answers_one_part": Case(
        (
            FORECAST,
            DOCUMENT,
            "Neither the documents nor the tools answer this: “who measures the winds of Mars?”",
        ),
        TWO,
        sea=talkative,
        asked=f"What force has the wind on the crossing to Holm? And who measures the winds of Mars? And {ASKED.lower()}",
    ),
    "no_model_and_a_part_whose_tool_hangs": Case(
        (DOCUMENT, "did not answer in time", f"Neither the documents nor the tools answer this: “{WIND}”"),
        frozenset({"document"}),
        sea=hanging,
        asked=f"{WIND} And {ASKED.lower()}",
    ),
    "model_away_and_two_parts": Case(
        (DOCUMENT, LIGHTHOUSE),
        frozenset({"document", "web_search"}),
        Failing(""),
        web=SearchService("searxng", "", [{**PAGE, "snippet": LIGHTHOUSE}]).handle,
        asked=f"{ASKED} And when was the lighthouse of Skerry painted red?",
        chosen="web_search",
    ),
    "no_model_and_the_api_hangs": Case(
        ("The harbour office did not answer in time. I searched",),
        frozenset(),
        sea=hanging,
        documents=None,
        asked=WIND,
        chosen="sea",
        end=TurnState.REFUSED,
    ),
    "no_model_and_no_documents": Case(
        ("found nothing about it",), frozenset(), documents=None, end=TurnState.REFUSED
    ),
    "no_model_and_documents_down": Case(
        ("could not be searched",),
        frozenset(),
        documents=False,
        end=TurnState.REFUSED,
        fallback=FallbackKind.WITHOUT_RETRIEVAL,
    ),
}


async def knowing(
    case: Case, folder: Path, database: Database, embedder: MiniLmEmbedder, fallen: list[Fallback]
) -> PlannedAgent:
    """The agent with the parts of a case. fallen: gets its fallbacks."""
    evidence = (NoDocuments if case.documents is False else LibraryEvidence)(retriever_of(database, embedder))
    tools = tools_of(folder, ToolParts(evidence), report=lambda _: None)
    tools.reload()
    found = examine(SHIPPED / "knowledge", Surroundings())
    assert found.config is not None
    parts = NodeParts(
        evidence,
        evidence,
        evidence,
        model=case.model,
        larger=case.model,
        tools=tools,
        classifiers={"examples/tools.jsonl": Chooses([case.chosen])},
    )
    made = plan(found.config, parts, found.prompts, KINDS, "knowledge")
    options = agent_options(found.config, "agents/knowledge/versions/1")
    return PlannedAgent(made, options, counted=fallen.append)


@pytest.mark.parametrize("name", CASES)
async def test_what_is_away_is_said_and_the_rest_goes_on(
    name: str, database: Database, embedder: MiniLmEmbedder, people: People, tmp_path: Path
) -> None:
    """None of these turns has Redis."""
    case = CASES[name]
    if case.documents is not None:
        await Shelf(database, embedder).put(DOCUMENT, "harbour", "Timetable")
    async with AsyncExitStack() as stack:
        for file, declaration, handler in (("web_search", WEB, case.web), ("sea", SEA, case.sea)):
            server = LoopbackServer(handler or hanging)
            await server.start()
            stack.push_async_callback(server.close)
            (tmp_path / f"{file}.toml").write_text(declaration.format(server.url))
            if handler is None:
                await server.close()
        fallen: list[Fallback] = []
        agent = await knowing(case, tmp_path, database, embedder, fallen)
        async with House(database).turns(agent, QUICK) as turns:
            accepted = await turns.accept(
                people.ann, Question(case.asked or (ASKED if case.model is None else CALLS)), None
            )
            turn = await turns.wait(people.ann, accepted.turn_id)
            events = events_of(await followed(turns, people.ann, turn.id))
    assert turn.state is case.end, turn.terminal
    end = json.loads(turn.terminal or b"")
    said = str(end)
    for words in case.words:
        assert words in (end.get("text") or end["message"]), said
    assert {SAID[one["quote"]] for one in events if one["kind"] == "cited"} == case.cited, said
    if case.fallback is not None:
        assert case.fallback in [one.kind for one in fallen], fallen
