"""What a node is: a name, typed input and output that are validated both ways, and work in between."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import Barrier, Milestone
from responsa_server.domain.ports.faults import Faults, NoFaults
from responsa_server.domain.ports.tools import Effect
from responsa_server.domain.ports.turns import ToolRecord
from responsa_server.domain.turns import Cited, Delta, Status, Step, ToolCalled, ToolReturned, Usage


class NodeModel(BaseModel):
    """Base of input and output models: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Input = TypeVar("Input", bound=NodeModel)
Output = TypeVar("Output", bound=NodeModel)

Plain = Mapping[str, object]
"""State as LangGraph keeps it: texts, numbers, booleans, None, lists and mappings of these."""

Progress = Status | Delta | Cited | ToolCalled | ToolReturned | Barrier | Milestone
"""What is told while a graph works; a turn's end is made from the state. Milestones are the builder's business."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a node is run. timeout_seconds counts for each attempt; another one is made after an Unavailable, after pause_seconds, doubled each time.

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
    tools: what earlier attempts have called, by call_id.
    """

    who: Principal
    emit: Callable[[Progress], None]
    spend: Callable[[Usage], None]
    turn_id: UUID | None = None
    begin_at: str = ""
    tools: Mapping[str, ToolRecord] = field(default_factory=dict[str, ToolRecord])
    faults: Faults = field(default_factory=NoFaults)


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

    def validate_input(self, state: Plain) -> Input:
        """Take the input from the state. Raises pydantic.ValidationError."""
        wanted = self.input_model.model_fields
        return self.input_model.model_validate({name: state[name] for name in wanted if name in state})

    @abc.abstractmethod
    async def process(self, given: Input, run: Run) -> Output:
        """Do the work. Raises a ResponsaError for what a user should know; Unavailable is worth another attempt."""

    def validate_output(self, output: Output) -> Plain:
        """Turn the output into plain state, checked as if somebody else had sent it. Raises pydantic.ValidationError."""
        plain = output.model_dump(mode="json")
        self.output_model.model_validate(plain)
        return plain
