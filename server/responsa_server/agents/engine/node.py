"""The base class of nodes, and the limits of a turn. A node turns a validated input into a validated output."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from math import inf
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from responsa_server.domain.agents import Barrier, DocumentsRead, Meter, Milestone, Withdrawal
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.events import (
    Cited,
    Delta,
    Fallback,
    FallbackKind,
    ModelUsed,
    ProviderSwitched,
    Status,
    Step,
    ToolCalled,
    ToolReturned,
    Usage,
    VersionRead,
)
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Grant, Metric
from responsa_server.domain.tools import Effect
from responsa_server.domain.turns import ToolRecord

_MORE: Final = {
    "steps": "take more steps than the agent may take for one question",
    "tokens": "take more tokens of language models than the agent may use for one question",
    "cost_micros": "cost more than the agent may spend on one question",
}


_QUOTAS: Final = {"tokens": "tokens of language models", "cost_micros": "money"}


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """The limits of a turn: nodes, tokens of language models, and cost in millionths of a US dollar. 0 means no limit.

    requested: whether the request itself set the limit on the cost. quota: the names of the limits that are lower because
    the user's quota had less left than the turn can use.
    """

    steps: int = 0
    tokens: int = 0
    cost_micros: int = 0
    requested: bool = False
    quota: frozenset[str] = frozenset()

    def lower_to(self, cost_micros: int) -> TurnLimits:
        """The limits with the lower of two cost limits: the agent's and the request's. cost_micros: the request's limit; 0 if
        the request has no limit.
        """
        if not cost_micros or 0 < self.cost_micros <= cost_micros:
            return self
        return replace(self, cost_micros=cost_micros, requested=True)

    def within(self, grant: Grant | None) -> TurnLimits:
        """The limits of a turn that may use at most the tokens and the money of the grant from its user's quota, each
        at least 1. None: no quota limits the turn."""
        if grant is None:
            return self
        amounts = {metric.value: grant.of(metric) for metric in Metric}
        lower = {
            name: amount
            for name, amount in amounts.items()
            if amount is not None and (not getattr(self, name) or amount < getattr(self, name))
        }
        short = frozenset(metric.value for metric in grant.short if metric.value in lower)
        return replace(
            self,
            tokens=lower.get("tokens", self.tokens),
            cost_micros=lower.get("cost_micros", self.cost_micros),
            requested=self.requested and "cost_micros" not in lower,
            quota=short,
        )

    def tokens_left(self, spent: Usage) -> int | None:
        """How many tokens models may still read and write together, at least 0; None for no limit."""
        if not self.tokens:
            return None
        return max(0, self.tokens - spent.input_tokens - spent.output_tokens)

    def micros_left(self, spent: Usage) -> int | None:
        """How many millionths of a US dollar may still be spent, at least 0; None for no limit."""
        if not self.cost_micros:
            return None
        return max(0, self.cost_micros - spent.cost_micros)

    def forbids(self, spent: Usage) -> str:
        """The key of the limit that forbids another call of a model; "" if no limit forbids the call."""
        if self.tokens_left(spent) == 0:
            return "tokens"
        return "cost_micros" if self.micros_left(spent) == 0 else ""

    def sentence(self, limit: str) -> str:
        """The message for a question that reaches a limit, with the remedy. limit: a key under `limits`."""
        if limit in self.quota:
            return (
                f"The answer would take more {_QUOTAS[limit]} than your quota has left. Ask again when "
                "your quota resets, or ask an administrator for a larger one."
            )
        if limit == "cost_micros" and self.requested:
            return "An answer would cost more than you allow for it. Allow more, or ask for less at a time."
        return f"An answer would {_MORE[limit]}. Ask for less at a time."


class OverBudget(Exception):
    """A turn has reached a limit. limit: the limit's key under `limits`. text: the part of the answer that was sent."""

    def __init__(self, limit: str, text: str = "") -> None:
        super().__init__(f"the turn has reached its limit of {limit}")
        self.limit = limit
        self.text = text

    @property
    def cause(self) -> str:
        """The cause that a fallback reports."""
        return f"budget:{self.limit}"


def most_output(
    configured: int,
    *,
    prompt_tokens: int,
    tokens_left: int | None = None,
    micros_left: int | None = None,
    input_price: Decimal = Decimal(0),
    output_price: Decimal = Decimal(0),
) -> int:
    """How many tokens a call may write: the configured number, or fewer if the turn's limits require it.

    If the result is 0 or less, the call must not be made. tokens_left, micros_left: what remains of the turn's limits; None
    for no limit. Prices are in US dollars per million tokens, that is, in millionths of a dollar per token.
    """
    limit = configured
    if tokens_left is not None:
        limit = min(limit, tokens_left - prompt_tokens)
    if micros_left is not None:
        after_prompt = Decimal(micros_left) - prompt_tokens * input_price
        # A price that is not known counts as 0, so a price of 0 does not mean that the call is free.
        if after_prompt < 0 or (output_price == 0 and micros_left <= 0):
            return 0
        if output_price > 0:
            limit = min(limit, int(after_prompt / output_price))
    return limit


class NodeModel(BaseModel):
    """Base of input and output models: immutable, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Input = TypeVar("Input", bound=NodeModel)
Output = TypeVar("Output", bound=NodeModel)

Plain = Mapping[str, object]
"""State in LangGraph: texts, numbers, booleans, None, and lists and mappings of these, and `OBJECTS`."""
OBJECTS: Final = (Evidence, Ranking)
"""What stays an object in the state, because to make plain values of it and to read them again costs more than many a
node. Only a milestone makes plain values of it."""

Progress = (
    Status
    | Delta
    | Cited
    | ToolCalled
    | ToolReturned
    | ProviderSwitched
    | ModelUsed
    | Barrier
    | Milestone
    | DocumentsRead
    | Withdrawal
)
"""The events of a running graph. Only the engine emits milestones. The turn's terminal event is made from the last state."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a node is run.

    timeout_seconds: the time limit of one attempt. attempts: the maximum number of attempts; another attempt follows
    Unavailable but not TooSlow. pause_seconds: the pause before the second attempt; the pause doubles before each further
    attempt.
    """

    timeout_seconds: float = 30.0
    attempts: int = 1
    pause_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Announcement:
    """The status that users see when the node begins."""

    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a graph: the user, the receiver of events, and the count of costs. A run is never part of the state.

    turn_id: the turn; None outside a turn. begin_at: the node that a milestone of an earlier attempt names; "" to begin
    at the first node. tools: the tool calls of earlier attempts, by call_id. limits, spent: the turn's budget, and how
    much of the budget was spent. fallen: the current node's fallbacks; the engine moves them into the state. noted:
    called for each fallback. nonce: the number in the marks around untrusted text, the same in every attempt. until:
    the end of the turn's time limit, by the event loop's clock. earlier: what the turns of the history have read.
    pause: see `AnswerTask`. most_tokens: the most tokens that a model may write for the answer's text in one
    call; 0 for the agent's own limit. meter: the turn's.
    """

    caller: Principal
    emit: Callable[[Progress], None]
    spend: Callable[[Usage], None]
    turn_id: UUID | None = None
    begin_at: str = ""
    tools: Mapping[str, ToolRecord] = field(default_factory=dict[str, ToolRecord])
    faults: Faults = field(default_factory=NoFaults)
    limits: TurnLimits = field(default_factory=TurnLimits)
    spent: Callable[[], Usage] = Usage
    fallen: list[Fallback] = field(default_factory=list[Fallback])
    conversation_id: UUID | None = None
    nonce: str = ""
    noted: Callable[[Fallback], None] | None = None
    until: float = inf
    earlier: Sequence[VersionRead] = ()
    pause: Pause = NOT_PAUSED
    most_tokens: int = 0
    meter: Meter = field(default_factory=Meter)

    def read(self, versions: Iterable[VersionRead | None]) -> None:
        """Record what a model is about to read, or what the answer is drawn from. None stands for a text that comes from no document."""
        if distinct := tuple(dict.fromkeys(version for version in versions if version is not None)):
            self.emit(DocumentsRead(distinct))

    def fell_back(self, fallback: Fallback) -> None:
        """Report that a node took a fallback."""
        self.fallen.append(fallback)
        if self.noted is not None:
            self.noted(fallback)


class ModelDeclined(Exception):
    """A model or its provider refuses to answer or to finish the answer, so the turn is refused as unsafe.

    begun: whether a part of an answer was sent.
    """

    def __init__(self, *, begun: bool = False) -> None:
        super().__init__("the model refuses")
        self.begun = begun


_SAME: Final[Mapping[str, str]] = MappingProxyType({})


class Node(abc.ABC, Generic[Input, Output]):
    """A step of a graph. It keeps no state between runs, and may be run again after a crash."""

    name: str
    """The node's name in the graph and in the logs."""
    kind: str = ""
    """The kind that the agent's files name, such as `search`."""
    input_model: type[Input]
    """The model of the input. Its fields are read from the state by name; a field with a default may be absent from the state."""
    output_model: type[Output]
    """The model of the output. Its fields are written to the state by name."""
    announcement: Announcement | None = None
    """The status to send when the node begins; None if the node has no status or sends its status itself."""
    policy: Policy = Policy()
    effect: Effect = Effect.NONE
    """The node's effect outside the turn. A milestone always follows a node with an effect."""
    calls_model: bool = False
    """Whether the node may call a model. If it did, a milestone follows it, because a repeated call would cost money again."""
    replaces_model: FallbackKind | None = FallbackKind.PASSAGES
    """What the turn reports if it continues with this node because a node before could not ask its model; None for
    nothing. PASSAGES, because most such ways end with showing the passages."""
    begins_attempts: bool = False
    """Whether a milestone precedes the node, so that a later attempt that begins at it knows that it was begun before
    (`Run.begin_at`): for a node that asks its model at most once in all attempts."""
    has_rule: bool = False
    """Whether the node has a rule for what it does without a model, also when the turn's budget is spent."""
    reads: Mapping[str, str] = _SAME
    """Maps the node's own name of each renamed input to the input's key in the state."""
    writes: Mapping[str, str] = _SAME
    """Maps the node's own name of each renamed output to the output's key in the state."""

    def validate_input(self, state: Plain) -> Input:
        """Read the input from the state. Raises pydantic.ValidationError."""
        reads, model = self.reads, self.input_model
        wanted = ((name, reads.get(name, name)) for name in model.__pydantic_fields__)
        # This code runs for every node. It calls the validator directly, because `model_validate` adds overhead.
        return model.__pydantic_validator__.validate_python(
            {name: state[key] for name, key in wanted if key in state}
        )

    @abc.abstractmethod
    async def process(self, inputs: Input, run: Run) -> Output:
        """Do the work. Raises ResponsaError with a message for the user. Another attempt may follow Unavailable, but not
        TooSlow.
        """

    def validate_output(self, output: Output) -> Plain:
        """The output as plain state, validated with the output model. Raises pydantic.ValidationError."""
        objects = {name: value for name, value in output if isinstance(value, OBJECTS)}
        serializer = type(output).__pydantic_serializer__
        values: dict[str, object] = serializer.to_python(output, mode="json", exclude=set(objects))
        plain = values | objects
        # It only checks: the state keeps the plain values.
        self.output_model.__pydantic_validator__.validate_python(plain)
        return {self.writes.get(name, name): value for name, value in plain.items()} if self.writes else plain


AnyNode = Node[Any, Any]


class NodeOptions(BaseModel):
    """Base class for the options of a node kind. It rejects unknown keys and does not convert values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileKind(Enum):
    """The kind of file that an option names."""

    PROMPT = "prompt"
    """`prompts/NAME.md`, for a model to read."""
    TEMPLATE = "template"
    """`prompts/NAME.md`, for a person to read."""
    EXAMPLES = "examples"
    """A file of examples, given by its path in the agent's folder. Its lines are `{"text": …, "label": …}`."""


BY: Final = "by"
DEFAULT: Final = "default"

PromptName = Annotated[str, FileKind.PROMPT]
TemplateName = Annotated[str, FileKind.TEMPLATE]
ExamplesName = Annotated[str, FileKind.EXAMPLES]
PromptChoice = Annotated[str | Annotated[dict[str, str], Field(min_length=2)], FileKind.PROMPT]
"""A prompt's name or a table. In the table, `by` names a field of the state, each value of that field may have a prompt, and
`default` is the prompt for all other values.
"""


@dataclass(frozen=True, slots=True)
class Offered:
    """The variables that a node offers to its prompt or template. untrusted: the variables that hold texts of users,
    documents or models.
    """

    trusted: frozenset[str] = frozenset()
    untrusted: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        return self.trusted | self.untrusted


def option_files(
    options: type[NodeOptions], values: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], FileKind, str]]:
    """The files that the given options name. Each result is the option's path, the file's kind and the file's name.

    Option values that are neither texts nor tables of texts are skipped.
    """
    for name, info in options.model_fields.items():
        for role in info.metadata:
            if not isinstance(role, FileKind):
                continue
            value = values.get(name)
            if isinstance(value, str):
                yield (name,), role, value
            elif isinstance(value, dict):
                for key, file in cast("dict[str, Any]", value).items():
                    if key != BY and isinstance(file, str):
                        yield (name, key), role, file
