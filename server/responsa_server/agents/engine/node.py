"""A node: a name, an input and an output that are both validated, and the work in between; and the limits of a turn."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from math import inf
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from responsa_server.domain.events import (
    Cited,
    Delta,
    Fallback,
    ModelUsed,
    ProviderSwitched,
    Status,
    Step,
    ToolCalled,
    ToolReturned,
    Usage,
)
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import Barrier, Milestone
from responsa_server.domain.ports.faults import Faults, NoFaults
from responsa_server.domain.ports.tools import Effect
from responsa_server.domain.ports.turns import ToolRecord

_MORE: Final = {
    "steps": "take more steps than the agent may take for",
    "tokens": "take more tokens of language models than the agent may use for",
    "cost_micros": "cost more than the agent may spend on",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a turn may take: nodes, tokens of language models, millionths of a US dollar. 0: no limit. asked: whether the cost is the request's own limit."""

    steps: int = 0
    tokens: int = 0
    cost_micros: int = 0
    asked: bool = False

    def lowered(self, cost_micros: int) -> Limits:
        """With a cost that a request allows (0: it does not say), which can only lower the limit."""
        if not cost_micros or 0 < self.cost_micros <= cost_micros:
            return self
        return replace(self, cost_micros=cost_micros, asked=True)

    def tokens_left(self, spent: Usage) -> int | None:
        """How many tokens may still be read and written together, at least 0; None: any number."""
        if not self.tokens:
            return None
        return max(0, self.tokens - spent.input_tokens - spent.output_tokens)

    def micros_left(self, spent: Usage) -> int | None:
        """How many millionths of a US dollar may still be spent, at least 0; None: any number."""
        if not self.cost_micros:
            return None
        return max(0, self.cost_micros - spent.cost_micros)

    def reached(self, spent: Usage) -> str:
        """The key of the limit that allows no further call of a model, "" for none."""
        if self.tokens_left(spent) == 0:
            return "tokens"
        return "cost_micros" if self.micros_left(spent) == 0 else ""

    def sentence(self, limit: str) -> str:
        """What to tell people whose question would take more than this limit, a key under `limits`, allows; with what helps."""
        if limit == "cost_micros" and self.asked:
            return "An answer would cost more than you allow for it. Allow more, or ask for less at a time."
        return f"An answer would {_MORE[limit]} one question. Ask for less at a time."


class OverBudget(Exception):
    """A turn has taken all that it may. limit: the key under `limits` that ended it; text: of the answer, as far as it was told."""

    def __init__(self, limit: str, text: str = "") -> None:
        super().__init__(f"the turn has reached its limit of {limit}")
        self.limit = limit
        self.text = text

    @property
    def cause(self) -> str:
        """As a fallback is told of it."""
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
    """How many tokens a call may write: as configured, or fewer where the turn's tokens or money would not do. 0 or less: the call must not be made.

    Prices are in US dollars a million tokens, so millionths of a dollar a token. None left: no such limit.
    """
    most = configured
    if tokens_left is not None:
        most = min(most, tokens_left - prompt_tokens)
    if micros_left is not None:
        after_prompt = Decimal(micros_left) - prompt_tokens * input_price
        if after_prompt < 0 or (output_price == 0 and micros_left <= 0):
            return 0
        if output_price > 0:
            most = min(most, int(after_prompt / output_price))
    return most


class NodeModel(BaseModel):
    """Base of input and output models: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Input = TypeVar("Input", bound=NodeModel)
Output = TypeVar("Output", bound=NodeModel)

Plain = Mapping[str, object]
"""State as LangGraph keeps it: texts, numbers, booleans, None, lists and mappings of these."""

Progress = (
    Status | Delta | Cited | ToolCalled | ToolReturned | ProviderSwitched | ModelUsed | Barrier | Milestone
)
"""What is told while a graph works; a turn's end is made from the state. Milestones are the builder's business."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a node is run. timeout_seconds counts for each attempt; another one is made after an Unavailable (not after a TooSlow), after pause_seconds,
    doubled each time.

    keep_after_seconds: what took longer is kept by a milestone, so that no later attempt at the turn does it again.
    """

    timeout_seconds: float = 30.0
    attempts: int = 1
    pause_seconds: float = 0.05
    keep_after_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Announcement:
    """What users see when the node begins."""

    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a graph: for whom, where progress goes, and where costs are counted. Never part of the state.

    turn_id: of the turn that it answers, None outside one. begin_at: the node that a milestone of an earlier attempt names, "" to begin at the beginning.
    tools: what earlier attempts have called, by call_id. limits, spent: what the turn may take, and has taken. fallen: what the node at work has had to do
    without; the builder takes it from here into the state. noted: told of each as it happens. nonce: marks untrusted text in prompts, the same in every attempt
    at the turn. until: when the turn's time is over, by the loop's clock.
    """

    who: Principal
    emit: Callable[[Progress], None]
    spend: Callable[[Usage], None]
    turn_id: UUID | None = None
    begin_at: str = ""
    tools: Mapping[str, ToolRecord] = field(default_factory=dict[str, ToolRecord])
    faults: Faults = field(default_factory=NoFaults)
    limits: Limits = field(default_factory=Limits)
    spent: Callable[[], Usage] = Usage
    fallen: list[Fallback] = field(default_factory=list[Fallback])
    conversation_id: UUID | None = None
    nonce: str = ""
    noted: Callable[[Fallback], None] | None = None
    until: float = inf

    def fell_back(self, fallback: Fallback) -> None:
        """Tell that something else was done than was meant."""
        self.fallen.append(fallback)
        if self.noted is not None:
            self.noted(fallback)


class Declined(Exception):
    """A model, or its provider, will not answer, or not to the end: the turn is refused as unsafe. begun: whether some of an answer was told."""

    def __init__(self, *, begun: bool = False) -> None:
        super().__init__("the model will not say it")
        self.begun = begun


_SAME: Final[Mapping[str, str]] = MappingProxyType({})


class Node(abc.ABC, Generic[Input, Output]):
    """A step of a graph. It keeps nothing between runs, and may be run again after a crash."""

    name: str
    """What the graph and the logs call it."""
    input_model: type[Input]
    """Its fields are taken from the state by name; fields with defaults may be absent there."""
    output_model: type[Output]
    """Its fields are put into the state by name."""
    announcement: Announcement | None = None
    """None: a node that works unannounced, or announces itself."""
    policy: Policy = Policy()
    effect: Effect = Effect.NONE
    """What it does to the world. One that does anything is followed by a milestone, however fast it was."""
    calls_model: bool = False
    """Whether it pays for a model's answer; then a milestone follows it, too."""
    has_rule: bool = False
    """Whether it does its work without a model where the turn has nothing left for one."""
    reads: Mapping[str, str] = _SAME
    """Keys of the state for inputs that are not taken by their own names."""
    writes: Mapping[str, str] = _SAME
    """Keys of the state for outputs that are not put by their own names."""

    def validate_input(self, state: Plain) -> Input:
        """Take the input from the state. Raises pydantic.ValidationError."""
        reads, model = self.reads, self.input_model
        wanted = ((name, reads.get(name, name)) for name in model.__pydantic_fields__)
        # The validator itself: a run passes here twice a node, and `model_validate` has much to ask before it calls it.
        return model.__pydantic_validator__.validate_python(
            {name: state[key] for name, key in wanted if key in state}
        )

    @abc.abstractmethod
    async def process(self, given: Input, run: Run) -> Output:
        """Do the work. Raises a ResponsaError for what a user should know; Unavailable is worth another attempt, TooSlow is not."""

    def validate_output(self, output: Output) -> Plain:
        """Turn the output into plain state, checked as if somebody else had sent it. Raises pydantic.ValidationError."""
        plain = cast("Plain", type(output).__pydantic_serializer__.to_python(output, mode="json"))
        self.output_model.__pydantic_validator__.validate_python(plain)
        return {self.writes.get(name, name): value for name, value in plain.items()} if self.writes else plain


AnyNode = Node[Any, Any]


class NodeOptions(BaseModel):
    """Base of the options of a kind: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Names(Enum):
    """What a text among the options is the name of."""

    PROMPT = "prompt"
    """`prompts/NAME.md`, for a model to read."""
    TEMPLATE = "template"
    """`prompts/NAME.md`, for a person to read."""
    EXAMPLES = "examples"
    """A file of examples, a path within the agent's folder, of lines `{"text": …, "label": …}`."""


BY: Final = "by"
DEFAULT: Final = "default"

PromptName = Annotated[str, Names.PROMPT]
TemplateName = Annotated[str, Names.TEMPLATE]
ExamplesName = Annotated[str, Names.EXAMPLES]
PromptChoice = Annotated[str | Annotated[dict[str, str], Field(min_length=2)], Names.PROMPT]
"""A prompt's name; or a table: `by` names a field of the state, `default` a prompt, and each other key, a value of that field, its prompt."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The variables that a node has for its prompt or template. Untrusted: what users, documents and models have written."""

    trusted: frozenset[str] = frozenset()
    untrusted: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Both."""
        return self.trusted | self.untrusted


def named(
    options: type[NodeOptions], given: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Names, str]]:
    """Each name of a file among the options as given: where it stands, of what it is, the name. What is no text is passed over."""
    for name, info in options.model_fields.items():
        for role in info.metadata:
            if not isinstance(role, Names):
                continue
            value = given.get(name)
            if isinstance(value, str):
                yield (name,), role, value
            elif isinstance(value, dict):
                for key, one in cast("dict[str, Any]", value).items():
                    if key != BY and isinstance(one, str):
                        yield (name, key), role, one
