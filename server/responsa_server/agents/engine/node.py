"""What a node is: a name, typed input and output that are validated both ways, and work in between."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from responsa_server.agents.engine.limits import Limits
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
