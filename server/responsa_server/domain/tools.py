"""Tools, through which a turn reads and acts on other systems: their descriptions, declarations, calls and results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.events import Effect, SourcePassage, ToolFault, ToolOutcome, ToolSource, Usage
from responsa_server.domain.models import ToolCard
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.problems import FileProblem

__all__ = [
    "EVERY_TOOL",
    "KNOWLEDGE_SEARCH",
    "MAX_ARGUMENTS_BYTES",
    "MAX_DATA_BYTES",
    "MAX_RESULT_BYTES",
    "MAX_SOURCES",
    "MAX_SOURCES_BYTES",
    "TOOL_SECONDS",
    "WEB_SEARCH",
    "Allow",
    "Candidate",
    "Declaration",
    "Effect",
    "FixedTools",
    "SecretPlace",
    "Sent",
    "SourcePassage",
    "Tool",
    "ToolCall",
    "ToolCard",
    "ToolEntry",
    "ToolFault",
    "ToolOutcome",
    "ToolResult",
    "ToolSource",
    "ToolUnfit",
    "Toolbox",
    "do_nothing",
]

# A log row holds an event of any of these sizes, even if all three are reached.
MAX_RESULT_BYTES: Final = 32 * 1024
"""The maximum size of a result's content, in bytes of UTF-8."""
MAX_DATA_BYTES: Final = 32 * 1024
"""The maximum size of a result's data, in bytes on the wire."""
MAX_SOURCES_BYTES: Final = 32 * 1024
"""The maximum size of a result's sources together, in bytes of UTF-8."""
MAX_SOURCES: Final = 20
"""The maximum number of a result's sources."""
MAX_ARGUMENTS_BYTES: Final = 32 * 1024
"""The maximum size of a call's arguments, in bytes on the wire."""
EVERY_TOOL: Final = "*"
"""In an agent's list of tools, this name stands for all tools that change nothing, and for those whose declarations name the agent."""
KNOWLEDGE_SEARCH: Final = "knowledge_search"
"""The kind of the tools that search the documents of this server."""
WEB_SEARCH: Final = "web_search"
"""The kind of the tools that search the web."""
TOOL_SECONDS: Final = 20.0
"""The time limit of a call if its tool's declaration does not give it."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call.

    outcome: ERROR if the tool reports a failure or cannot be reached; UNKNOWN if the call began and its response was lost.
    content: what models and people read: the tool's output, or a sentence about the failure. It does not number the
    sources, because a prompt numbers those of all results. data: the output as a plain JSON value, or None. sources:
    what the output rests on. error: the kind of failure, unless the outcome is OK. usage: what the call has cost.
    broken: for the failure STATUS, whether the other side is broken (such as HTTP 5xx), and did not just reject this
    call.
    """

    outcome: ToolOutcome
    content: str
    data: object = None
    sources: Sequence[ToolSource] = ()
    error: ToolFault | None = None
    usage: Usage = field(default_factory=Usage)
    broken: bool = False


Sent = Callable[[], Awaitable[None]]
"""During a call, a tool awaits this function after the tool has sent the request and before the tool reads the
response. A request that has been sent may take effect.
"""


async def do_nothing() -> None:
    """A `Sent` that does nothing."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool.

    key: a text that is the same for all attempts at one call, and different for every other call. An idempotent
    tool uses the key to recognise repeated calls. arguments: plain JSON values that fit the card's parameters. caller: the
    user for whom the turn works. turn_id: None outside a turn. seconds: the time that the call may take; the caller
    cancels it afterwards. collections: the collections that the question or its agent names; empty for all. requested:
    whether the question itself names them. document_filter: the question's filter on documents, or "".
    """

    key: str
    arguments: Mapping[str, object]
    caller: Principal
    turn_id: UUID | None = None
    sent: Sent = do_nothing
    seconds: float = TOOL_SECONDS
    collections: tuple[str, ...] = ()
    requested: bool = False
    document_filter: str = ""


class Tool(Protocol):
    """A configured tool."""

    @property
    def card(self) -> ToolCard: ...

    @property
    def effect(self) -> Effect:
        """The effect of the tool's calls. A call with an unknown outcome may be repeated, unless the effect is ONCE."""
        ...

    @property
    def timeout_seconds(self) -> float: ...

    async def call(self, call: ToolCall) -> ToolResult:
        """Call the tool. A failure of the other side is a result and not an exception. The caller has checked the arguments, and
        checks the result's data and sizes.
        """
        ...

    async def close(self) -> None:
        """Release what the tool holds, after its last running call. A call that begins later releases at its end what it took."""
        ...


# Declarations: what the owner of the installation writes about a tool.


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """Where a secret stands: in the environment variable `env`, or in the file `file`. One of the two is empty."""

    env: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Allow:
    """Who may use a tool: the tenants, roles and agents with these ids. An empty list allows all. A widget has none of the roles."""

    tenants: Sequence[str] = ()
    roles: Sequence[Role] = ()
    agents: Sequence[str] = ()

    def allows(self, caller: Principal, agent: str) -> bool:
        return (
            (not self.tenants or caller.tenant_id in self.tenants)
            and (not self.roles or (caller.role in self.roles and not caller.widget))
            and (not self.agents or agent in self.agents)
        )

    def chosen(self, wanted: Sequence[str], names: Collection[str], effect: Effect, agent: str) -> bool:
        """Whether an agent that lists the tools `wanted` uses a tool with these names. EVERY_TOOL alone is not enough
        for a tool that changes something: texts from the web could lead a model to call it.
        """
        if any(name in names for name in wanted):
            return True
        return EVERY_TOOL in wanted and (effect is Effect.NONE or agent in self.agents)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A checked declaration, `TOOLS_FOLDER/NAME.toml`.

    name: the file's name without `.toml`. effect: None if the kind decides. timeout_seconds: the limit of one call.
    max_bytes: how many bytes the tool reads of a response at most. secrets: where the declaration's secrets stand, by
    the names that its other keys use. options: the kind's own keys, as the kind's model. folder: the path of the folder
    with the file; "" for a tool that needs no file.
    """

    name: str
    kind: str
    title: str
    description: str
    options: object
    effect: Effect | None = None
    timeout_seconds: float = TOOL_SECONDS
    max_bytes: int = 1 << 20
    allow: Allow = field(default_factory=Allow)
    secrets: Mapping[str, SecretPlace] = field(default_factory=dict[str, SecretPlace])
    folder: str = ""


class ToolUnfit(Exception):
    """A declared tool cannot be made: a secret or a part is missing, or a file that the declaration names is wrong. The message is
    a sentence with the remedy; it contains no secret. key: the path of the declaration's value that is wrong; empty if no single
    value is. unknown, known: a name that does not exist, and the names that exist; a suggestion is made from them.
    """

    def __init__(
        self, message: str, key: Sequence[str | int] = (), *, unknown: str = "", known: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.key = tuple(key)
        self.unknown = unknown
        self.known = known


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A tool in the catalogue.

    names: the names with which an agent may list the tool: its id and its declaration's name. kind: "" if it is not
    known. problems: why the tool cannot be used, or why an earlier declaration is still in service. usable: whether it
    can be used.
    """

    card: ToolCard
    names: frozenset[str]
    kind: str
    effect: Effect
    timeout_seconds: float
    allow: Allow
    problems: Sequence[FileProblem] = ()
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tool that may be chosen for a message. kind: the kind of its declaration."""

    tool: Tool
    kind: str


class Toolbox(Protocol):
    """The tools of this installation, as they are declared now."""

    def list_granted(self, names: Sequence[str], caller: Principal, agent: str) -> Sequence[Tool]:
        """Return the tools with these names that exist and that this user may use through this agent, in the order of
        the names. A declaration that makes several tools has the name of all of them. EVERY_TOOL stands for others, see
        `Allow.chosen`.
        """
        ...

    def candidates(self, names: Sequence[str], caller: Principal, agent: str) -> Sequence[Candidate]:
        """Return the tools that `list_granted` returns, with what is needed to choose among them."""
        ...

    def endpoint(self, tool: str) -> str:
        """Return the name of the declaration through which the tool with this id reaches another system; "" for a tool
        that reaches none."""
        ...


class FixedTools:
    """A `Toolbox` with a fixed list of tools, which everybody may use under any name."""

    def __init__(self, tools: Sequence[Tool] = ()) -> None:
        self._tools = tuple(tools)

    def list_granted(self, names: Sequence[str], caller: Principal, agent: str) -> Sequence[Tool]:
        return self._tools

    def candidates(self, names: Sequence[str], caller: Principal, agent: str) -> Sequence[Candidate]:
        return [Candidate(tool, tool.card.id) for tool in self._tools]

    def endpoint(self, tool: str) -> str:
        """Return "", because these tools are not declared."""
        return ""
