"""An agent's configuration: one model for each table of `agent.toml`, with every default.

Nothing unknown is allowed anywhere; a node's own options are checked against its kind (`graph/check`). Values are taken strictly: a text is no number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

BEGIN: Final = "begin"
"""Where every run comes from: an edge from here is tried before `start`."""
FINISH: Final = "finish"
"""Where every run goes to."""
NODE_NAME: Final = "^[a-z][a-z0-9_]{0,62}$"
DEFAULT_MODEL: Final = "default"
"""In a chain: what the setting `models.default` names."""
EXTRACTIVE: Final = "extractive"
"""No model at all: what is taken then is the edge `on = "unavailable"` behind the node that asked."""

TEMPLATE: Final = "template"
"""The model of an answer that a template wrote."""
WITHOUT_RETRIEVAL: Final = "I could not reach the documents, so this answer rests on none of them."
RESOURCE: Final = "x-resource"
"""In a parameter's schema: whose records its values name."""
TEACHERS: Final = "teachers"


Texts = Annotated[tuple[str, ...], Field(strict=False)]
Scalar = bool | int | float | str


class Table(BaseModel):
    """Base of all tables."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False
    )


class ModelTable(Table):
    """`model`: who writes."""

    chain: Texts = Field(
        (DEFAULT_MODEL,),
        min_length=1,
        description='Models to ask, each when the ones before it cannot be had. Behind the last one the node\'s edge `on = "unavailable"` is taken, and without such an edge the turn fails; “extractive” as the last one says that there is one, and the check sees to it.',
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="How freely the model chooses its words; unset: as its provider does."
    )
    max_output_tokens: int = Field(1024, ge=1, le=65536, description="The longest that one call may answer.")


class HistoryTable(Table):
    """`history`: what is read of the conversation."""

    messages: int = Field(
        10, ge=0, le=100, description="How many of the last messages are read word for word."
    )
    tokens: int = Field(3000, ge=0, le=200_000, description="The most of them, in tokens (bytes by four).")
    older: int = Field(0, ge=0, le=400, description="How many messages before those are read for a summary.")


class ConversationTable(Table):
    """`conversation`: how new conversations are named."""

    title: Literal["question", "time"] = Field(
        "question", description="After the first question, or after the time it was asked at."
    )


class RetrievalTable(Table):
    """`retrieval`: where and how documents are searched."""

    collections: Texts = Field(
        (),
        description="Where to look when a question names no collections; empty: everywhere its asker may read.",
    )
    last_collections: Texts = Field(
        (),
        description="Collections to use only when no other document supports an answer.",
    )
    top_k: int | None = Field(
        None, ge=1, le=50, description="How many passages are kept; unset: as many as the server reads."
    )
    threshold: float = Field(0.0, ge=0, le=1, description="The least score of a passage.")
    rerank: bool = Field(True, description="Whether passages are weighed once more against the question.")
    context_bytes: int = Field(
        6000, ge=200, le=200_000, description="The most of them that a model is shown."
    )
    support: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Below it a question counts as not answered by the documents; unset: the server's own.",
    )


class LimitsTable(Table):
    """`limits`: what one turn may take. 0: no limit."""

    seconds: float = Field(60.0, gt=0, le=86_400, description="From when a worker first takes the turn.")
    steps: int = Field(0, ge=0, le=1000, description="Nodes that are run.")
    tokens: int = Field(0, ge=0, description="Read and written by language models.")
    cost_micros: int = Field(
        0,
        ge=0,
        description="Millionths of a US dollar; a request may only lower it. It does not bound models without a price, of which the server warns.",
    )


class ParametersTable(Table):
    """`parameters`: what may be given with a question, one flat JSON Schema."""

    required: Texts = Field((), description="Properties that must be given.")
    properties: Mapping[str, Mapping[str, JsonValue]] = Field(
        default_factory=dict[str, Mapping[str, JsonValue]], description="JSON Schema of each."
    )


class RetryTable(Table):
    """`retry` of a node: what is done when a part of the server cannot be reached."""

    attempts: int = Field(1, ge=1, le=10, description="How often it is tried in all.")
    pause: float = Field(
        0.05, ge=0, le=60, description="Seconds before the second attempt; doubled each time."
    )


class NodeTable(BaseModel):
    """A node: its kind, what every node may be told, and the options of its kind (`options`)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    kind: str = Field(description="One of the kinds in docs/agents.md.")
    status: str | None = Field(
        None,
        max_length=200,
        description='What users see when it begins; "" announces nothing; unset: its kind\'s own.',
    )
    timeout: float | None = Field(
        None, gt=0, le=86_400, description="Seconds of one attempt; unset: its kind's own."
    )
    retry: RetryTable | None = Field(None, description="Unset: its kind's own.")
    reads: Mapping[str, str] = Field(
        default_factory=dict[str, str], description="Where its inputs are taken from, by their own names."
    )
    writes: Mapping[str, str] = Field(
        default_factory=dict[str, str], description="Where its outputs are put, by their own names."
    )

    @property
    def options(self) -> Mapping[str, Any]:
        """What stands in the table for the node's kind alone."""
        return self.__pydantic_extra__ or {}


class WhenTable(Table):
    """`when` of an edge: one test of a field, or `model`, or several of these joined. A field that is absent counts as false."""

    field: str | None = Field(None, description="A field of the state; dots lead into it.")
    equals: Scalar | None = Field(None, alias="is", description="The field has this value.")
    within: Annotated[tuple[Scalar, ...], Field(strict=False)] | None = Field(
        None, alias="in", min_length=1, description="The field has one of these values."
    )
    above: float | None = Field(None, description="The field is more than this.")
    below: float | None = Field(None, description="The field is less than this.")
    empty: bool | None = Field(None, description="Whether the field is absent, or has nothing in it.")
    model: bool | None = Field(None, description="Whether the agent has a model at all.")
    every: Annotated[tuple[WhenTable, ...], Field(strict=False)] | None = Field(
        None, alias="all", min_length=1, description="All of these hold."
    )
    some: Annotated[tuple[WhenTable, ...], Field(strict=False)] | None = Field(
        None, alias="any", min_length=1, description="One of these holds."
    )

    @property
    def tests(self) -> Mapping[str, Any]:
        """The tests of the field that were given, by their names in the file."""
        given = {
            "is": self.equals,
            "in": self.within,
            "above": self.above,
            "below": self.below,
            "empty": self.empty,
        }
        return {name: value for name, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _one_thing(self) -> WhenTable:
        said = [
            name
            for name, value in (
                ("field", self.field),
                ("model", self.model),
                ("all", self.every),
                ("any", self.some),
            )
            if value is not None
        ]
        if len(said) != 1:
            raise ValueError(
                "needs exactly one of field, model, all, any"
                + (f", not {' and '.join(said)}" if said else "")
            )
        if self.field is not None and len(self.tests) != 1:
            raise ValueError("needs exactly one of is, in, above, below, empty for its field")
        if self.field is None and self.tests:
            raise ValueError(f"has {', '.join(self.tests)} without a field")
        return self


class EdgeTable(Table):
    """A way from one node to another. A node's edges are tried in order; the last one has no `when`."""

    source: str = Field(alias="from", description="A node, or “begin”.")
    target: str = Field(alias="to", description="A node, or “finish”.")
    when: WhenTable | None = Field(None, description="When it is taken; unset: always.")
    on: Literal["unavailable"] | None = Field(
        None, description="“unavailable”: only when the node could not do its work and has told nothing."
    )
    limit: int | None = Field(
        None, ge=1, le=100, description="How often a turn may take it; every cycle needs one."
    )


class GraphTable(Table):
    """`graph`: the ways between the nodes."""

    edges: Annotated[tuple[EdgeTable, ...], Field(strict=False)] = Field(
        (), description="A node without an edge ends the turn."
    )


class AgentConfig(Table):
    """`agent.toml`."""

    name: str = Field(
        min_length=1, max_length=200, description="What people call it; its id is its folder's name."
    )
    description: str = Field("", max_length=2000, description="One sentence on what it is for.")
    questions: Texts = Field((), max_length=20, description="Examples of what to ask.")
    without_retrieval: str = Field(
        WITHOUT_RETRIEVAL,
        min_length=1,
        max_length=1000,
        description="How an answer begins that had to do without documents.",
    )
    start: str = Field(description="The first node.")
    model: ModelTable = ModelTable.model_validate({})
    history: HistoryTable = HistoryTable.model_validate({})
    conversation: ConversationTable = ConversationTable.model_validate({})
    retrieval: RetrievalTable = RetrievalTable.model_validate({})
    limits: LimitsTable = LimitsTable.model_validate({})
    parameters: ParametersTable = ParametersTable.model_validate({})
    nodes: Mapping[Annotated[str, Field(pattern=NODE_NAME)], NodeTable] = Field(
        min_length=1, description="The nodes, by name."
    )
    graph: GraphTable = GraphTable.model_validate({})


@dataclass(frozen=True, slots=True)
class Traits:
    """What an agent's tables say to its nodes. shown: the parameters that a prompt may show, all but names of records."""

    name: str = "Responsa"
    questions: Sequence[str] = ()
    without_retrieval: str = WITHOUT_RETRIEVAL
    model: ModelTable = field(default_factory=lambda: ModelTable.model_validate({}))
    retrieval: RetrievalTable = field(default_factory=lambda: RetrievalTable.model_validate({}))
    shown: frozenset[str] = frozenset()


def traits(config: AgentConfig) -> Traits:
    """The traits of a configuration."""
    properties = config.parameters.properties
    shown = frozenset(name for name, schema in properties.items() if RESOURCE not in schema)
    return Traits(
        config.name, config.questions, config.without_retrieval, config.model, config.retrieval, shown
    )
