"""The shipped agents with parts that a test controls: a judge, teachers, classifiers and summaries."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from responsa_contract import QuoteOrigin
from responsa_lab.scripted.strong import Strong
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.config import DEFAULT_MODEL
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import AnswerTask
from responsa_server.domain.answers import CheckedClaim, CitedSentence, Evidence, FoundSource, Quote
from responsa_server.domain.conversations import Message, Summary
from responsa_server.domain.errors import NotFound, Reason
from responsa_server.domain.intents import Classified
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.models import ChatModel, ModelPiece, ModelPrompt
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row
from tests.unit.agents.evidence import FixedEvidence, excerpt, passages_of, quote, task
from tests.unit.agents.speaking import says

ASHDOWN = UUID("62f746b4-84e6-4ceb-95bd-447e7184d454")


def known(quote: Quote | None) -> CheckedClaim | None:
    """A claim that copies the quote; None if it names nothing."""
    return None if quote is None else CheckedClaim(quote, quote, QuoteOrigin.COPIED)


@dataclass
class Judge:
    """A CitationJudge. If the passage that a claim names has a quote, the claim has copied it."""

    quotes: Sequence[Quote] = ()

    async def check(
        self,
        claims: Sequence[CitedSentence],
        evidence: Evidence,
        most_bytes: int,
        sources: Sequence[FoundSource] = (),
    ) -> Sequence[CheckedClaim | None]:
        return [
            known(self.quotes[claim.passage - 1] if 0 < claim.passage <= len(self.quotes) else None)
            for claim in claims
        ]


@dataclass
class Staff:
    """Teachers of one tenant."""

    teachers: Mapping[UUID, Row] = field(
        default_factory=lambda: {
            ASHDOWN: Row(
                id=ASHDOWN,
                display_name="Ms Ashdown",
                persona="You teach biology.",
                parameters={"subject": "biology", "hours": [1, 2]},
            )
        }
    )

    async def get(self, caller: Principal, identity: UUID) -> Row:
        if identity not in self.teachers:
            raise NotFound(Reason.TEACHER_NOT_FOUND, "Teacher not found or access denied")
        return self.teachers[identity]

    async def list(self, caller: Principal, query: ListQuery) -> Page[Row]:
        return Page([*self.teachers.values()])


@dataclass
class Knows:
    """An IntentClassifier that knows the label for each given beginning of a text. Other texts get the label `otherwise`; if
    that is "", they are out of scope.
    """

    known: Mapping[str, str]
    otherwise: str = ""

    @property
    def labels(self) -> Sequence[str]:
        return sorted({*self.known.values(), *filter(None, [self.otherwise])})

    async def classify(self, text: str) -> Classified:
        for beginning, label in self.known.items():
            if text.startswith(beginning):
                return Classified(label, 0.9, True)
        return Classified(self.otherwise or self.labels[0], 0.2, bool(self.otherwise))


class Remembers(Strong):
    """The scripted strong model, which records its requests. text: what it writes instead of its own words."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text
        self.prompts: list[ModelPrompt] = []

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.prompts.append(prompt)
        writes = self.text and prompt.schema is None
        async for piece in (says(self.text) if writes else super()).stream(prompt):
            yield piece


@dataclass
class Notes:
    """A store of summaries that keeps them in memory."""

    kept: dict[UUID, Summary] = field(default_factory=dict[UUID, Summary])

    async def find(self, caller: Principal, conversation_id: UUID) -> Summary | None:
        return self.kept.get(conversation_id)

    async def keep(self, caller: Principal, conversation_id: UUID, summary: Summary) -> None:
        self.kept[conversation_id] = summary


CLASSIFIERS = {
    "examples/need.jsonl": Knows({"Hello": "direct", "Thanks": "direct"}, "retrieve"),
    "examples/categories.jsonl": Knows({"Give me an exercise": "exercise"}, "fact"),
    "examples/intents.jsonl": Knows(
        {"Hello": "chitchat", "How": "qa", "And": "qa", "Write": "post", "What": "qa", "Calculate": "tool"}
    ),
}


LONG = "The Nile is 6,650 km long."
QUESTION = "How long is the river Nile?"
QUOTE = quote(LONG)
NILE = excerpt(LONG)
SHOWN = passages_of(NILE)


def parts_of(
    model: ChatModel | None = None,
    fixed: FixedEvidence | None = None,
    judged: Sequence[Quote] = (QUOTE,),
    **more: Any,
) -> NodeParts:
    """The parts of a shipped agent. By default its evidence is NILE, and its judge finds that QUOTE supports a sentence that cites it."""
    fixed = fixed or FixedEvidence(NILE)
    named: dict[str, Any] = {"classifiers": CLASSIFIERS, "sections": fixed, **more}
    return NodeParts(
        fixed,
        Judge(judged),
        Staff(),
        Notes(),
        model,
        **named,
    )


def task_for(
    agent: str, text: str = QUESTION, talk: Sequence[Message] = (), **parameters: object
) -> AnswerTask:
    """A question to a shipped agent in a conversation. One to the tutor names its teacher."""
    one = task(text, talk)
    given = {"teacher_id": str(ASHDOWN), **parameters} if agent == "tutor" else parameters
    question = replace(one.question, parameters=json.dumps(given) if given else "")
    return replace(one, question=question, conversation_id=UUID(int=9))


def shipped(
    agent: str, parts: NodeParts, tools: Sequence[str] = (), chain: Sequence[str] = (DEFAULT_MODEL,)
) -> PlannedAgent:
    """A shipped agent, made of these parts. tools: the tools that it uses in addition. chain: its models."""
    examined = examine(SHIPPED / agent, Surroundings())
    assert examined.problems == []
    assert examined.config is not None
    version = f"agents/{agent}/versions/1"
    config = examined.config
    config = config.model_copy(update={"model": config.model.model_copy(update={"chain": tuple(chain)})})
    if tools:
        use = (*config.tools.use, *tools)
        config = config.model_copy(update={"tools": config.tools.model_copy(update={"use": use})})
    return PlannedAgent(plan(config, parts, examined.prompts, KINDS), agent_options(config, version))
