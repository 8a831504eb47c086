"""Agents: their public form, their catalogue, their stored versions, and the interface that a turn uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from responsa_server.domain.conversations import Message
from responsa_server.domain.events import MAX_FALLBACKS, Event, Fallback, Terminal, Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Question, ToolRecord


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent that users can ask.

    version: `agents/{id}/versions/{n}`. schema: the JSON Schema of its parameters, one flat object. examples:
    questions to try. collections: the collections that it searches if a question names no collection (empty:
    all that the caller may read). models: `provider:model` in the order of use, empty if it needs no model.
    """

    id: str
    display_name: str
    description: str
    version: str
    schema: Mapping[str, object] = field(default_factory=dict[str, object])
    examples: Sequence[str] = ()
    collections: Sequence[str] = ()
    models: Sequence[str] = ()
    history_messages: int = 0
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class AgentProblem:
    """A mistake in an agent's files. file: relative to the agent's folder; line: from 1, or 0 when unknown; suggestion: a correction, "" for none."""

    file: str
    line: int
    key: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of reloading one agent. version: the version that serves now, "" if no version serves; problems: why
    the files could not be used.
    """

    agent: str
    version: str
    changed: bool
    problems: Sequence[AgentProblem] = ()


class Catalogue(Protocol):
    """The agents of this installation, each in its last valid version."""

    def cards(self) -> Sequence[AgentCard]:
        """Return all agents, ordered by id."""
        ...

    def card(self, identity: str) -> AgentCard:
        """Return the agent with this id, "" for the default. Raises NotFound, whose message lists the agents."""
        ...

    async def schema(self, who: Principal, card: AgentCard) -> Mapping[str, object]:
        """Return the schema of an agent's parameters. A parameter that names a resource (`x-resource`) lists those that the caller may choose. Raises Unavailable."""
        ...

    def problems(self) -> Sequence[Reloaded]:
        """Return the agents whose files have mistakes now, whether or not an older version still serves."""
        ...

    async def reload(self) -> Sequence[Reloaded]:
        """Reload all files and replace the valid agents in one step; results are ordered by agent id. Raises Unavailable when versions cannot be stored: then nothing has changed."""
        ...


@dataclass(frozen=True, slots=True)
class NewVersion:
    """All content that shapes an agent's answers, as bytes, and their SHA-256 (32). engine: the number of the code that reads them."""

    agent: str
    engine: int
    sha256: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A stored version. number: among those of its agent, from 1; ordinal: among all versions of the installation, rising in the order in which they become visible.

    content: empty for versions that were code, before agents had configurations.
    """

    agent: str
    number: int
    ordinal: int
    content: bytes

    @property
    def name(self) -> str:
        """`agents/{id}/versions/{n}`"""
        return f"agents/{self.agent}/versions/{self.number}"


class AgentVersions(Protocol):
    """The versions of all agents. They belong to the installation, not to a tenant."""

    async def register(self, versions: Sequence[NewVersion]) -> Sequence[StoredVersion]:
        """Store versions in one transaction and return each with its number, in the order given. The same bytes keep their number. Raises Unavailable."""
        ...

    async def newest(self) -> int:
        """Return the highest ordinal, 0 before the first version. Raises Unavailable."""
        ...

    async def since(self, ordinal: int, engine: int) -> Sequence[StoredVersion]:
        """Return the versions after `ordinal` that an engine with this number can run, by ordinal. Raises Unavailable."""
        ...

    async def open(self) -> Collection[str]:
        """Return the names of the versions of all turns that have not ended, over all tenants. Raises Unavailable."""
        ...

    async def named(self, names: Collection[str], engine: int) -> Sequence[StoredVersion]:
        """Return the versions with these names that an engine with this number can run, and those from before agents had configurations. Raises Unavailable."""
        ...


class Meter:
    """A turn's cost so far, and its fallbacks. It is read after every end of a turn."""

    def __init__(self) -> None:
        # Plain numbers, since usage is added for each word from a model and read far less often.
        self._embedding = self._input = self._output = self._micros = self._unpriced = 0
        self.fallbacks: Sequence[Fallback] = ()

    @property
    def usage(self) -> Usage:
        """The sum so far."""
        return Usage(self._embedding, self._input, self._output, self._micros, self._unpriced)

    def add(self, usage: Usage) -> None:
        """Add usage."""
        self._embedding += usage.embedding_tokens
        self._input += usage.input_tokens
        self._output += usage.output_tokens
        self._micros += usage.cost_micros
        self._unpriced += usage.unpriced_tokens

    def fell_back(self, fallback: Fallback) -> None:
        """Note a fallback, to be reported with the turn's failure if it fails. Equal fallbacks count once, up to MAX_FALLBACKS."""
        if fallback not in self.fallbacks and len(self.fallbacks) < MAX_FALLBACKS:
            self.fallbacks = (*self.fallbacks, fallback)


@dataclass(frozen=True, slots=True)
class Milestone:
    """A graph's state after a node that must not run again, to be written with the events before it. An agent emits it among its events."""

    state: bytes


@dataclass(frozen=True, slots=True)
class Barrier:
    """An agent emits it among its events: `passed` is set once all events before it are committed. A tool is
    called only after its barrier.
    """

    passed: asyncio.Event = field(default_factory=asyncio.Event)


AgentEvent = Event | Milestone | Barrier
"""The events of a working agent."""

Emit = Callable[[AgentEvent], None]
"""Takes an agent's next event. Never blocks and never raises: an event that cannot be stored ends the turn,
and later events are dropped.
"""


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """A question and its user.

    history: the conversation's last messages, the oldest first. meter: where costs are counted. resume: the state of an earlier attempt's last milestone, None
    to begin at the beginning. tools: what earlier attempts have called, by call_id. conversation_id: None outside a conversation. age_seconds: since a worker
    first took it.
    """

    turn_id: UUID
    who: Principal
    question: Question
    history: Sequence[Message]
    meter: Meter = field(default_factory=Meter)
    resume: bytes | None = None
    tools: Mapping[str, ToolRecord] = field(default_factory=dict[str, ToolRecord])
    conversation_id: UUID | None = None
    age_seconds: float = 0.0


class Agent(Protocol):
    """One immutable version of an agent, which answers questions."""

    @property
    def version(self) -> str:
        """`agents/{id}/versions/{n}`"""
        ...

    @property
    def time_limit_seconds(self) -> float:
        """The longest time that a turn may take, counted from its first claim."""
        ...

    @property
    def history_messages(self) -> int:
        """How many of the conversation's last messages it reads; 0 for none."""
        ...

    @property
    def older_messages(self) -> int:
        """How many older messages it reads as well, to summarise them; 0 for none."""
        ...

    @property
    def titles(self) -> bool:
        """Whether the first question becomes the conversation's title; otherwise the title stays the time of its creation."""
        ...

    async def admit(self, who: Principal, question: Question) -> None:
        """Check a question's parameters, and that the records that they name exist, before the question is accepted.

        Raises InvalidRequest (PARAMETERS_INVALID, TEACHER_ID_MALFORMED), NotFound (TEACHER_NOT_FOUND).
        """
        ...

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        """Emit statuses, deltas, citations and tool events as they arise, with milestones and barriers among them; return the terminal event.

        Raises the errors of its nodes: a ResponsaError becomes the turn's failure unchanged. Cancelling it
        ends all work, including a model's stream; for an interrupted model call it still emits the cost.
        """
        ...


class Agents(Protocol):
    """The agents that this process runs."""

    def named(self, identity: str) -> Agent:
        """The agent of this id, "" for the default. Raises NotFound."""
        ...

    async def version(self, identity: str, number: int) -> Agent:
        """One version of the agent with this id; the version must still be current. Raises NotFound, Unavailable."""
        ...

    def at(self, version: str) -> Agent:
        """The agent of this version, one of `versions`. Raises KeyError."""
        ...

    @property
    def versions(self) -> Sequence[str]:
        """All versions, `agents/{id}/versions/{n}`: the turns that may be taken here."""
        ...
