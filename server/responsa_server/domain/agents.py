"""Agents: their public form, their catalogue, their stored versions, and the interface that a turn uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.conversations import Message
from responsa_server.domain.events import MAX_FALLBACKS, Event, Fallback, Terminal, Usage, VersionRead
from responsa_server.domain.experiments import Assignment
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.problems import FileProblem
from responsa_server.domain.quotas import Demand, Grant
from responsa_server.domain.turns import Question, ToolRecord

HISTORY_MESSAGES: Final = 10
"""How many earlier messages an agent reads if its file does not give the number."""
TIME_LIMIT_SECONDS: Final = 60.0
"""The longest time of a turn if the agent's file does not give it."""


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent that users can ask.

    version: the version's name, `agents/{id}/versions/{n}`. schema: the JSON Schema of the agent's parameters, one flat
    object. examples: sample questions. collections: the collections that the agent searches if a question names no
    collection; if empty, all collections that the caller may read. models: the models as `provider:model`, in the order
    of use; empty if the agent needs no model. history_messages: the number of earlier messages that the agent reads.
    tools: the names of the tools that the agent uses. missing_tools: those that this server does not have.
    file_version: the name of the version of the agent's files; "" for an agent without files. writes_json: whether
    programs may ask the agent's language model for JSON. listed: whether people and programs are offered the agent. greeting: what
    people read before their first question, or "". is_example: whether it comes with the server, unchanged, to show what
    agents can do. etag: a value that changes when an owner changes what answers, or `listed`.
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
    tools: Sequence[str] = ()
    missing_tools: Sequence[str] = ()
    file_version: str = ""
    writes_json: bool = False
    listed: bool = True
    greeting: str = ""
    is_example: bool = False
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of reloading one agent.

    version: the version that serves now, or "" if no version serves. problems: the mistakes that make the files
    unusable.
    """

    agent: str
    version: str
    changed: bool
    problems: Sequence[FileProblem] = ()


class Catalogue(Protocol):
    """The agents of this installation, each in its last valid version."""

    def cards(self) -> Sequence[AgentCard]:
        """Return all agents, ordered by id."""
        ...

    def card(self, identity: str) -> AgentCard:
        """Return the agent with this id; "" means the default agent. Raises NotFound; its message lists the agents."""
        ...

    async def schema(self, caller: Principal, card: AgentCard) -> Mapping[str, object]:
        """Return the schema of an agent's parameters. A parameter that refers to a kind of resource (`x-resource`)
        lists the resources that the caller may choose. Raises Unavailable.
        """
        ...

    def problems(self) -> Sequence[Reloaded]:
        """Return the agents whose files have mistakes now, even if an older version still serves."""
        ...

    async def create(
        self, identity: str, document: Mapping[str, object], card: str, event: AuditEvent
    ) -> StoredVersion:
        """Create a version of the agent with this id, unless its content is already stored. A `standard` agent need not exist yet.
        document: the content, as administrators see it. card: JSON that says where the version came from, or "".

        Raises NotFound, InvalidRequest (a violation for each mistake), Unavailable.
        """
        ...

    async def publish(self, identity: str, number: int, event: AuditEvent, etag: str = "") -> None:
        """Let a version answer in place of the agent's files, here and on the other servers: a `standard` version whatever the files
        are, another one until they change. The version of the files ends that. Raises NotFound, Precondition (AGENT_VERSION_UNFIT,
        PRICE_UNKNOWN), Conflict (ETAG_MISMATCH), Unavailable.
        """
        ...

    async def list_agent(self, identity: str, *, listed: bool, event: AuditEvent, etag: str = "") -> None:
        """Say whether people and programs are offered the agent, until a `standard` version is published. Raises NotFound, Conflict
        (ETAG_MISMATCH), Unavailable.
        """
        ...

    async def roll_back(self, identity: str, number: int, event: AuditEvent) -> None:
        """Take back the last publication of the agent, which must be that of this version. Raises NotFound, Precondition
        (AGENT_VERSION_NOT_PUBLISHED), Unavailable.
        """
        ...

    async def check_candidate(self, identity: str, number: int) -> int:
        """Check that an experiment may compare this version with the one that answers now, whose number is returned. Raises NotFound,
        InvalidRequest, Precondition (AGENT_VERSION_UNFIT, EXPERIMENT_PARAMETERS_DIFFER), Unavailable.
        """
        ...

    async def reload(self) -> Sequence[Reloaded]:
        """Reload all files and replace all valid agents in one step. The results are ordered by agent id.

        Raises Unavailable if the versions cannot be stored; in that case, no agent changes.
        """
        ...


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version of an agent to store.

    content: everything that affects the agent's answers, as bytes. sha256: the SHA-256 of the content, 32 bytes.
    engine: the number of the engine, the code that reads the content.
    """

    agent: str
    engine: int
    sha256: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Publication:
    """A version that outranks an agent's files as long as these give the version with this SHA-256, 32 bytes; b"": whatever they
    give, with the graph and the default model of the day. number: the version's number within its agent. ordinal: the publication's
    number within the installation; 0 before it is stored."""

    agent: str
    number: int
    files_sha256: bytes
    ordinal: int = 0

    @property
    def name(self) -> str:
        """`agents/{id}/versions/{n}`"""
        return names.agent_version(self.agent, self.number)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A stored version.

    number: the version's number within its agent, from 1. ordinal: the version's number within the installation;
    ordinals increase in the order in which versions become visible. content: the bytes of `NewVersion`. engine: the
    number of the engine that can run it.
    """

    agent: str
    number: int
    ordinal: int
    content: bytes
    engine: int

    @property
    def name(self) -> str:
        """`agents/{id}/versions/{n}`"""
        return names.agent_version(self.agent, self.number)


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """A version of an agent, as administrators see it.

    id: the agent's id. version: the version's number within its agent, from 1. sha256: in hexadecimal digits. content:
    the bytes of `NewVersion`; empty in a list.
    card: JSON that says where a created version came from, or "".
    """

    id: str
    version: int
    sha256: str
    create_time: datetime
    card: str = ""
    content: bytes = b""

    @property
    def name(self) -> str:
        """`agents/{id}/versions/{n}`"""
        return names.agent_version(self.id, self.version)


class AgentVersions(Protocol):
    """The versions of all agents. They belong to the installation, not to a tenant."""

    async def register(self, versions: Sequence[NewVersion]) -> Sequence[StoredVersion]:
        """Store versions in one transaction and return each with its number, in the given order. Content that is
        already stored keeps its number. Raises Unavailable.
        """
        ...

    async def create(self, version: NewVersion, card: str, event: AuditEvent) -> StoredVersion:
        """Store a version with its card and the event. Content that is already stored keeps its number and its card, and there is no
        event. Raises Unavailable.
        """
        ...

    async def publications(self) -> Sequence[Publication]:
        """Return the last publication of each agent, ordered by agent. Raises Unavailable."""
        ...

    async def publish(self, publication: Publication, event: AuditEvent, after: int | None = None) -> None:
        """Store a publication and the event, unless it equals the agent's last one, or the last one has not the ordinal `after`. One
        that outranks all files ends what `list_agent` said. Raises Unavailable."""
        ...

    async def roll_back(self, identity: str, number: int, event: AuditEvent) -> bool:
        """Delete the agent's last publication, and store the event, if it is that of this version. Returns whether it was. Raises
        Unavailable.
        """
        ...

    async def listings(self) -> Mapping[str, bool]:
        """Return whether agents are listed, by their ids, where an owner has said so. Raises Unavailable."""
        ...

    async def list_agent(self, identity: str, *, listed: bool, event: AuditEvent) -> None:
        """Store whether an agent is listed, and the event. Raises Unavailable."""
        ...

    async def newest(self) -> int:
        """Return the highest ordinal, or 0 if there are no versions. Raises Unavailable."""
        ...

    async def since(self, ordinal: int, engine: int) -> Sequence[StoredVersion]:
        """Return the versions after `ordinal` that an engine with this number can run, ordered by ordinal. Raises
        Unavailable.
        """
        ...

    async def open(self) -> Collection[str]:
        """Return the names of all agent versions that unfinished turns use, across all tenants. Raises Unavailable."""
        ...

    async def find(self, names: Collection[str], engine: int) -> Sequence[StoredVersion]:
        """Return the versions with these names that belong to an engine with this number or to an earlier one. Raises Unavailable."""
        ...


class Meter:
    """A turn's cost so far, and its fallbacks. The worker reads the meter when the turn ends, however it ends.

    over_request: whether the turn has reached the cost limit of its question, not one of the agent's own limits.
    extra_seconds: by how much the turn may take longer, because a model is loading.
    """

    def __init__(self) -> None:
        # Usage is added for each word from a model, but it is read far less often. Therefore, the totals are plain
        # numbers, and `usage` is built when it is read.
        self._embedding = self._input = self._output = self._micros = self._unpriced = 0
        self.fallbacks: Sequence[Fallback] = ()
        self.over_request = False
        self.extra_seconds = 0.0

    @property
    def usage(self) -> Usage:
        return Usage(self._embedding, self._input, self._output, self._micros, self._unpriced)

    def add(self, usage: Usage) -> None:
        self._embedding += usage.embedding_tokens
        self._input += usage.input_tokens
        self._output += usage.output_tokens
        self._micros += usage.cost_micros
        self._unpriced += usage.unpriced_tokens

    def fell_back(self, fallback: Fallback) -> None:
        """Record a fallback. If the turn fails, its `Failed` event reports the recorded fallbacks.

        Equal fallbacks are recorded once. At most MAX_FALLBACKS fallbacks are recorded.
        """
        if fallback not in self.fallbacks and len(self.fallbacks) < MAX_FALLBACKS:
            self.fallbacks = (*self.fallbacks, fallback)


@dataclass(frozen=True, slots=True)
class Milestone:
    """A graph's state after a node that must not run again. An agent emits milestones among its events. The state is
    committed together with the events before the milestone.
    """

    state: bytes


@dataclass(frozen=True, slots=True)
class Barrier:
    """A barrier among an agent's events: `passed` is set once all earlier events are committed. Before the
    agent calls a tool, it emits a barrier after the tool's ToolCalled event and waits for `passed`.
    """

    passed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class DocumentsRead:
    """The versions of documents that reach a model or the answer from here on. They are recorded in the turn's row,
    together with the next events; the log has no event of it."""

    versions: Sequence[VersionRead]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The end of the text that was sent is withdrawn. The log gets an `AttemptRestarted`, and the kept beginning of a delta that
    is withdrawn only in part gets a delta again. text: what stays of the answer's text, from its beginning.
    """

    text: str


AgentEvent = Event | Milestone | Barrier | DocumentsRead | Withdrawal
"""What a running agent emits."""

Emit = Callable[[AgentEvent], None]
"""Takes an agent's next event. The call never blocks and never raises. If an event cannot be stored, the turn ends,
and later events are dropped.
"""


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """A question and its user.

    history: the conversation's last messages, oldest first. meter: the counter of the turn's costs. resume: the
    state at the last milestone of an earlier attempt, or None to start at the first node. tools: the tool calls of
    earlier attempts, by call_id. conversation_id: the conversation, or None if the task has no conversation.
    age_seconds: the time since a worker first claimed the turn. grant: what the turn may use of its user's quota; None
    if no quota limits it. pause: while the instance is paused, no tool with effects is called.
    """

    turn_id: UUID
    caller: Principal
    question: Question
    history: Sequence[Message]
    meter: Meter = field(default_factory=Meter)
    resume: bytes | None = None
    tools: Mapping[str, ToolRecord] = field(default_factory=dict[str, ToolRecord])
    conversation_id: UUID | None = None
    age_seconds: float = 0.0
    grant: Grant | None = None
    pause: Pause = NOT_PAUSED


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
        """The number of the conversation's last messages that the agent reads."""
        ...

    @property
    def older_messages(self) -> int:
        """The number of older messages that the agent reads in addition, to summarise them."""
        ...

    @property
    def titles(self) -> bool:
        """Whether the first question becomes the conversation's title; if not, the title remains the conversation's
        creation time.
        """
        ...

    @property
    def asks_models(self) -> bool:
        """Whether its turns may wait for a language model."""
        ...

    async def admit(self, caller: Principal, question: Question) -> None:
        """Check a question's parameters before the question is accepted, and check that all records named in the
        parameters exist.

        Raises InvalidRequest (PARAMETERS_INVALID, TEACHER_ID_MALFORMED), NotFound (TEACHER_NOT_FOUND).
        """
        ...

    def demand(self, question: Question) -> Demand | None:
        """Return the most that an answer can use of language models; None if the agent uses none."""
        ...

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        """Answer a question. Emit statuses, deltas, citations and tool events as they occur, with milestones and
        barriers among them, and return the terminal event.

        Raises the errors of the agent's nodes; a ResponsaError becomes the turn's failure unchanged. Cancelling this
        call stops all work, including a model's stream. The cost of an interrupted model call is still emitted.
        """
        ...


class Agents(Protocol):
    """The agents that this process runs."""

    def find(self, identity: str) -> Agent:
        """Return the agent with this id; "" means the default agent. Raises NotFound."""
        ...

    def assign(self, identity: str, user_id: UUID, conversation_id: UUID) -> tuple[Agent, Assignment | None]:
        """Return the agent that answers this user's question in this conversation, and the question's part in an experiment with the
        agent, if one runs. Raises NotFound.
        """
        ...

    async def version(self, identity: str, number: int) -> Agent:
        """Return one version of the agent with this id. The agent must be in service; a version that it does not serve is
        loaded from the database. Raises NotFound, Precondition (AGENT_VERSION_UNFIT), Unavailable.
        """
        ...

    def at(self, version: str) -> Agent:
        """Return the agent with this version name, which must be one of `versions`. Raises KeyError."""
        ...

    @property
    def versions(self) -> Sequence[str]:
        """The names of all versions (`agents/{id}/versions/{n}`) whose turns this process may claim."""
        ...
