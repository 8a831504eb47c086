"""The shipped agents with parts that a test controls: a judge, teachers, classifiers and summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.config import DEFAULT_MODEL
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.answers import CheckedClaim, CitedSentence, Evidence, FoundSource, Quote
from responsa_server.domain.conversations import Summary
from responsa_server.domain.errors import NotFound, Reason
from responsa_server.domain.intents import Classified
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.teachers import Teacher

ASHDOWN = UUID("62f746b4-84e6-4ceb-95bd-447e7184d454")
_THEN = datetime(2026, 11, 20, tzinfo=UTC)


def known(quote: Quote | None) -> CheckedClaim:
    """What is known of a claim: that the quote holds it, or nothing."""
    return CheckedClaim() if quote is None else CheckedClaim(quote.passage, quote, quoted=True)


@dataclass
class Judge:
    """A CitationJudge. If the passage that a claim names has a quote, the quote supports the claim."""

    quotes: Sequence[Quote] = ()
    asked: list[CitedSentence] = field(default_factory=list[CitedSentence])

    async def judge(
        self, claims: Sequence[CitedSentence], evidence: Evidence, most_bytes: int
    ) -> Sequence[CheckedClaim]:
        self.asked += claims
        return [
            known(self.quotes[claim.passage - 1] if 0 < claim.passage <= len(self.quotes) else None)
            for claim in claims
        ]

    async def judge_sources(
        self, claims: Sequence[CitedSentence], sources: Sequence[FoundSource]
    ) -> Sequence[CheckedClaim]:
        return [CheckedClaim() for _ in claims]


@dataclass
class Staff:
    """Teachers of one tenant."""

    teachers: Mapping[UUID, Teacher] = field(
        default_factory=lambda: {
            ASHDOWN: Teacher(
                "Ms Ashdown",
                "You teach biology.",
                {"subject": "biology", "hours": [1, 2]},
                id=ASHDOWN,
                revision=1,
                create_time=_THEN,
                update_time=_THEN,
            )
        }
    )

    async def get(self, who: Principal, identity: UUID) -> Teacher:
        if identity not in self.teachers:
            raise NotFound(Reason.TEACHER_NOT_FOUND, "Teacher not found or access denied")
        return self.teachers[identity]

    async def list(self, who: Principal, query: ListQuery) -> Page[Teacher]:
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


@dataclass
class Notes:
    """A store of summaries that keeps them in memory."""

    kept: dict[UUID, Summary] = field(default_factory=dict[UUID, Summary])

    async def find(self, who: Principal, conversation_id: UUID) -> Summary | None:
        return self.kept.get(conversation_id)

    async def keep(self, who: Principal, conversation_id: UUID, summary: Summary) -> None:
        self.kept[conversation_id] = summary


CLASSIFIERS = {
    "examples/need.jsonl": Knows({"Hello": "direct", "Thanks": "direct"}, "retrieve"),
    "examples/categories.jsonl": Knows({"Give me an exercise": "exercise"}, "fact"),
    "examples/intents.jsonl": Knows(
        {"Hello": "chitchat", "How": "qa", "And": "qa", "Write": "post", "What": "qa", "Calculate": "tool"}
    ),
}


def shipped(
    agent: str, parts: NodeParts, tools: Sequence[str] = (), chain: Sequence[str] = (DEFAULT_MODEL,)
) -> PlannedAgent:
    """A shipped agent, made of these parts. tools: the tools that it uses in addition. chain: its models."""
    found = examine(SHIPPED / agent, Surroundings())
    assert found.problems == []
    assert found.config is not None
    version = f"agents/{agent}/versions/1"
    config = found.config
    config = config.model_copy(update={"model": config.model.model_copy(update={"chain": tuple(chain)})})
    if tools:
        use = (*config.tools.use, *tools)
        config = config.model_copy(update={"tools": config.tools.model_copy(update={"use": use})})
    return PlannedAgent(plan(config, parts, found.prompts, KINDS), agent_options(config, version))
