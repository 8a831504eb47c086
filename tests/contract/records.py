"""People with records in a real library, and the agent `personal` that answers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.agents.config.build import classifiers
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine, read
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.events import Terminal
from responsa_server.domain.knowledge import EVERYONE, Chunking, CollectionFields
from responsa_server.domain.models import ChatModel
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import Question
from responsa_server.routing.stored import KeptClassifiers
from responsa_server.search.answering import LibraryEvidence
from tests.contract.index_writer import retriever_of
from tests.contract.library_harness import Harness

PROFILE = """# Personality profile of {name}

## Results

{name} took the tendency test on 2026-03-14.

{name}'s openness is {level}: {points} of 100 points. Openness is the liking for new ideas, places and ways of doing things.

{name}'s memory of the day is {canary}.

## How to read this profile

Each scale of the tendency test reaches from 0 to 100 points, and from 60 points a result is high.
"""
CAREERS = """# Career recommendations for {name}

## Recommended jobs

{job} is recommendation 1 for {name}: the match is {match} of 100 points.
{job} suits {name} because the job asks for openness ({name} has {points}).
"""
CATALOGUE = """# {job}

## What the work is

{job}s talk until others agree.

## What it asks for

The job {job} asks for openness and patience.
"""


@dataclass(frozen=True)
class Somebody:
    """A person with a record. canary: a word that stands in this record alone."""

    principal: Principal
    name: str
    subject: str
    canary: str
    points: int
    job: str


@dataclass
class Records:
    """A collection with the records of people, a catalogue, and the agent."""

    harness: Harness
    owner: Principal
    people: list[Somebody] = field(default_factory=list[Somebody])

    async def open(self, *collections: str) -> None:
        """Make collections that everyone in the tenant reads."""
        for collection in collections:
            await self.harness.library.create_collection(
                self.owner, collection, CollectionFields(collection), Chunking()
            )
            await self.harness.library.update_collection(
                self.owner, collection, CollectionFields(readers=(EVERYONE,))
            )

    def user(self, subject: str, role: Role = Role.USER) -> Principal:
        """A new user whom the documents with this subject are about."""
        user = uuid7()
        self.harness.ask(
            "INSERT INTO responsa.app_user (id, tenant_id, display_name, role, subject) VALUES (%s, 'acme', 'x', %s, %s)",
            user,
            role.value,
            subject,
        )
        return Principal("acme", user, role, "api_key")

    async def put(self, collection: str, key: str, title: str, text: str, subject: str = "") -> UUID:
        """Add a document."""
        taken = await self.harness.take_in(
            self.owner, text, key, collection=collection, title=title, subject=subject
        )
        return taken.document_id

    async def somebody(
        self, name: str, subject: str, canary: str, points: int, job: str, role: Role = Role.USER
    ) -> Somebody:
        """A person with a profile and a recommendation."""
        person = Somebody(self.user(subject, role), name, subject, canary, points, job)
        level = "high" if points >= 60 else "average"
        values = {
            "name": name,
            "level": level,
            "points": points,
            "canary": canary,
            "job": job,
            "match": points - 1,
        }
        number = len(self.people) + 1
        for kind, title, text in (
            ("profile", f"Personality profile of {name}", PROFILE),
            ("careers", f"Career recommendations for {name}", CAREERS),
        ):
            await self.put("aptitude", f"{kind}/{number}.md", title, text.format(**values), subject)
        self.people.append(person)
        return person

    def agent(self, model: ChatModel | None = None) -> PlannedAgent:
        """The agent `personal`, with its real classifier."""
        retriever = retriever_of(self.harness.database, self.harness.embedders)
        evidence = LibraryEvidence(retriever)
        examined = examine(SHIPPED / "personal", Surroundings())
        assert examined.config is not None, examined.problems
        texts = {path: data.decode() for path, data in read(SHIPPED / "personal").files.examples.items()}
        trained = classifiers(texts, KeptClassifiers(self.harness.spool, self.harness.embedder))
        parts = NodeParts(
            evidence,
            evidence,
            model=model,
            larger=model,
            prompts=examined.prompts,
            classifiers=trained,
            examples={path: one.examples for path, one in trained.items()},
        )
        made = plan(examined.config, parts, examined.prompts, KINDS, "personal")
        return PlannedAgent(made, agent_options(examined.config, "agents/personal/versions/1"))


async def ask(
    agent: PlannedAgent,
    caller: Principal,
    text: str,
    collections: tuple[str, ...] = (),
    document_filter: str = "",
    before: tuple[str, ...] = (),
) -> tuple[Terminal, Sequence[AgentEvent]]:
    """The end of a turn and its events. before: earlier questions of the conversation, which were answered."""
    events: list[AgentEvent] = []
    question = Question(text, None, collections, document_filter=document_filter)
    now = datetime.now(UTC)
    history = tuple(
        Message(uuid7(), caller.user_id, uuid7(), speaker, said, (), None, now)
        for one in before
        for speaker, said in ((Speaker.USER, one), (Speaker.ASSISTANT, "See your record."))
    )
    task = AnswerTask(uuid7(), caller, question, history=history)
    return await agent.answer(task, events.append), events
