"""An agent's configuration: one model for each table of `agent.toml`, with every default.

Unknown keys are errors. The options of a node are checked against its kind (`config/check`). Values are not converted; for
example, a text is not read as a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from responsa_server.domain.agents import HISTORY_MESSAGES, TIME_LIMIT_SECONDS

BEGIN: Final = "begin"
"""The beginning of every run: edges from here are tried before `start`."""
FINISH: Final = "finish"
"""The end of every run."""
NODE_NAME: Final = "^[a-z][a-z0-9_]{0,62}$"
DEFAULT_MODEL: Final = "default"
"""In a chain, this name stands for the models that the setting `models.default` names."""
PASSAGES: Final = "passages"
"""In a chain, this name means “no model”, and it is the model name of an answer that shows passages of documents. With
it in the chain, the turn takes the edge `on = "unavailable"` of the node that would ask a model.
"""
BYTES_A_TOKEN: Final = 4
"""The estimate of a token's size."""

TEMPLATE: Final = "template"
"""The model name of an answer that was made from a template."""
WITHOUT_RETRIEVAL: Final = "I could not reach the documents, so this answer does not use them."
RESOURCE: Final = "x-resource"
"""A keyword in a parameter's schema. It gives the kind of record that the parameter names."""
TEACHERS: Final = "teachers"


def _check_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"“{name}” is listed twice; remove one")
    return names


Texts = Annotated[tuple[str, ...], Field(strict=False)]
Names = Annotated[Texts, AfterValidator(_check_once)]
CollectionIds = Annotated[
    tuple[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")], ...],
    Field(strict=False),
    AfterValidator(_check_once),
]
ToolNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]{0,126}|\*)$")], ...],
    Field(strict=False),
    AfterValidator(_check_once),
]
Scalar = bool | int | float | str


class Table(BaseModel):
    """Base of all tables."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False
    )


class ModelTable(Table):
    """`model`: the models that write."""

    chain: Names = Field(
        (DEFAULT_MODEL,),
        min_length=1,
        max_length=100,
        description=(
            "The models, in the order in which they are asked: each only when all before it are unavailable."
        ),
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="How freely the model chooses its words; unset: the provider's default."
    )
    marks: Literal["words", "number"] = Field(
        "words",
        description=(
            "What a mark has beside the number of its passage: a few words of it, or nothing, which small models do more reliably."
        ),
    )
    max_output_tokens: int = Field(
        1024, ge=1, le=65536, description="The most tokens that a model writes in one call."
    )
    json_output: bool = Field(
        True,
        description=(
            "Whether programs may ask for an answer as JSON, or for JSON from the models only, without "
            "checked citations."
        ),
    )

    @property
    def asks_none(self) -> bool:
        return set(self.chain) == {PASSAGES}


class HistoryTable(Table):
    """`history`: the part of the conversation that a turn reads."""

    messages: int = Field(
        HISTORY_MESSAGES,
        ge=0,
        le=100,
        description="How many of the conversation's last messages a turn reads.",
    )
    tokens: int = Field(
        3000,
        ge=0,
        le=200_000,
        description="The most tokens in these messages, at four bytes a token; 0: no limit.",
    )
    older: int = Field(0, ge=0, le=400, description="The most earlier messages that a summary covers.")


class ConversationTable(Table):
    """`conversation`: how new conversations are named."""

    title: Literal["question", "time"] = Field(
        "question", description="The title: the first question, or its time."
    )


class SourceTable(Table):
    """`retrieval.sources.NAME`: where a search looks if a question chooses this source."""

    collections: CollectionIds = Field(
        (), description="The collections to search; empty: those of the agent."
    )
    filter: str = Field(
        "", description="A filter that the documents must meet, as in a search; empty: all documents."
    )
    description: str = Field(
        "",
        max_length=400,
        description="What the source holds, for a model that chooses among the sources (`query_expander`).",
    )


class RetrievalTable(Table):
    """`retrieval`: where and how to search documents."""

    collections: CollectionIds = Field(
        (),
        description=(
            "The collections to search if a question names none; empty: all that the caller may read."
        ),
    )
    subject: Literal["", "caller"] = Field(
        "",
        description=(
            "“caller”: the search finds only documents about the asking user, of whatever role, and "
            "those in `collections` without a subject. A question's collections and filter can only "
            "narrow this."
        ),
    )
    source_parameter: str = Field(
        "",
        description="The parameter with which a question chooses one of `retrieval.sources`.",
    )
    sources: Mapping[str, SourceTable] = Field(
        default_factory=dict[str, SourceTable],
        description=(
            "The places to search, for each value of that parameter: `collections`, a `filter`, or "
            "both, and perhaps a `description` for a model that chooses."
        ),
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=50,
        description="The most passages that a search returns; unset: the server's default.",
    )
    threshold: float = Field(0.0, ge=0, le=1, description="The least score of a passage.")
    rerank: bool = Field(
        True,
        description="Whether the reranking model, if one is configured, orders the passages.",
    )
    context_tokens: int = Field(
        5000,
        ge=100,
        le=100_000,
        description=(
            "The most tokens of passages in a prompt, at four bytes a token; at most 512 for a small model."
        ),
    )

    @property
    def context_bytes(self) -> int:
        return self.context_tokens * BYTES_A_TOKEN


class LimitsTable(Table):
    """`limits`: the limits of one turn. 0: no limit."""

    seconds: float = Field(
        TIME_LIMIT_SECONDS,
        gt=0,
        le=86_400,
        description="The longest time of the turn, from its first start.",
    )
    steps: int = Field(0, ge=0, le=1000, description="The most nodes that the turn runs.")
    tokens: int = Field(0, ge=0, description="The most tokens that models read and write together.")
    cost_micros: int = Field(
        0,
        ge=0,
        description=(
            "The most cost, in millionths of a US dollar, which a request can only lower. Models "
            "without a known price do not count; the log names them."
        ),
    )


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of an agent's tool calls. seconds: the time for calls that are made together. calls: the maximum
    number of calls in a turn."""

    seconds: float = 60.0
    calls: int = 16


class ToolsTable(Table):
    """`tools`: the tools that the agent's nodes may call."""

    use: ToolNames = Field(
        (),
        max_length=64,
        description=(
            "The tools, by the names of their declarations. One that the server lacks, or that the user "
            'may not use, is left out. `"*"`: all that change nothing, and all whose declarations name '
            "the agent in `allow.agents`."
        ),
    )
    seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description=("The longest time of calls that are made together. Each tool has its own limit, too."),
    )
    calls: int = Field(16, ge=1, le=64, description="The most calls in a turn.")


class ParametersTable(Table):
    """`parameters`: the parameters of a question, as one flat JSON Schema."""

    required: Texts = Field((), max_length=100, description="The parameters that a question must have.")
    properties: Mapping[
        Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$")], Mapping[str, JsonValue]
    ] = Field(
        default_factory=dict[str, Mapping[str, JsonValue]],
        max_length=100,
        description="The JSON Schema of each parameter.",
    )


class RetryTable(Table):
    """`retry` of a node: further attempts when a part of the server is unavailable."""

    attempts: int = Field(1, ge=1, le=10, description="The most attempts, with the first.")
    pause: float = Field(
        0.05,
        ge=0,
        le=60,
        description="The seconds before the second attempt; each further pause is twice as long.",
    )


class NodeTable(BaseModel):
    """A node: its kind, the keys that every node may have, and the options of its kind (`options`)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    kind: str = Field(description="One of the kinds that the page “Agents” describes.")
    status: str | None = Field(
        None,
        max_length=200,
        description='What users see when the node begins; "": nothing; unset: the kind\'s own.',
    )
    timeout: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="The longest time of one attempt; unset: the kind's own.",
    )
    retry: RetryTable | None = Field(None, description="Further attempts; unset: the kind's own.")
    reads: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description="For each renamed input: its own name, and the field of the state to read.",
    )
    writes: Mapping[str, Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]] = Field(
        default_factory=dict[str, str],
        description="For each renamed output: its own name, and the field of the state to write.",
    )

    @property
    def options(self) -> Mapping[str, Any]:
        return self.__pydantic_extra__ or {}


class WhenTable(Table):
    """`when` of an edge: a test of a field, a test of `model`, or several joined conditions. An absent field counts as false."""

    field: str | None = Field(None, description="A field of the state, with dots for nested ones.")
    equals: Scalar | None = Field(None, alias="is", description="The field has this value.")
    within: Annotated[tuple[Scalar, ...], Field(strict=False)] | None = Field(
        None, alias="in", min_length=1, description="The field has one of these values."
    )
    above: float | None = Field(None, description="The field is greater than this number.")
    below: float | None = Field(None, description="The field is less than this number.")
    empty: bool | None = Field(None, description="Whether the field is absent or empty.")
    model: bool | None = Field(None, description="Whether the agent has a model.")
    every: Annotated[tuple[WhenTable, ...], Field(strict=False)] | None = Field(
        None, alias="all", min_length=1, description="All of these conditions are met."
    )
    some: Annotated[tuple[WhenTable, ...], Field(strict=False)] | None = Field(
        None, alias="any", min_length=1, description="At least one of these conditions is met."
    )

    @property
    def tests(self) -> Mapping[str, Any]:
        """The tests that the file gives for the field, by their names in the file."""
        tests = {
            "is": self.equals,
            "in": self.within,
            "above": self.above,
            "below": self.below,
            "empty": self.empty,
        }
        return {name: value for name, value in tests.items() if value is not None}

    @model_validator(mode="after")
    def _one_thing(self) -> WhenTable:
        keys = [
            name
            for name, value in (
                ("field", self.field),
                ("model", self.model),
                ("all", self.every),
                ("any", self.some),
            )
            if value is not None
        ]
        if len(keys) != 1:
            raise ValueError(
                "needs exactly one of the keys “field”, “model”, “all” and “any”"
                + (f", not {' and '.join(f'“{key}”' for key in keys)}" if keys else "")
            )
        if self.field is not None and len(self.tests) != 1:
            raise ValueError(
                "needs exactly one of the keys “is”, “in”, “above”, “below” and “empty” for its field"
            )
        if self.field is None and self.tests:
            raise ValueError(f"has {', '.join(f'“{key}”' for key in self.tests)} without the key “field”")
        return self


class EdgeTable(Table):
    """An edge from one node to another. A node's edges are tried in order; the last edge has no `when`."""

    source: str = Field(alias="from", description="A node, or “begin”.")
    target: str = Field(alias="to", description="A node, or “finish”.")
    when: WhenTable | None = Field(None, description="The condition; unset: the edge is always taken.")
    on: Literal["unavailable"] | None = Field(
        None, description="“unavailable”: only if the node failed and has sent no text."
    )
    limit: int | None = Field(
        None, ge=1, le=100, description="How often a turn may take it; every cycle needs a limit."
    )


class GraphTable(Table):
    """`graph`: the edges between the nodes."""

    edges: Annotated[tuple[EdgeTable, ...], Field(strict=False)] = Field(
        (), description="The edges. A node without an outgoing edge ends the turn."
    )


class AgentConfig(Table):
    """`agent.toml`."""

    name: str = Field(
        min_length=1,
        max_length=200,
        description="The name that users see. The agent's id is the name of its folder.",
    )
    description: str = Field(
        "", max_length=2000, description="The agent's purpose in a whole sentence: `This agent …`."
    )
    listed: bool = Field(
        True,
        description="Whether people and programs are offered the agent. An agent that is not listed answers those who name it.",
    )
    standard: bool = Field(
        False,
        description="Whether the server gives the steps, not `start`, `nodes`, `graph`: those of `default`, or of `knowledge` with tools.",
    )
    greeting: str = Field(
        "",
        max_length=1000,
        description="What people read before their first question, and what answers small talk; empty: the server's own texts.",
    )
    instructions: str = Field(
        "",
        max_length=20_000,
        description="What the model is told beside the prompt (the prompts' variable `instructions`).",
    )
    questions: Texts = Field((), max_length=20, description="Examples of questions.")
    without_retrieval: str = Field(
        WITHOUT_RETRIEVAL,
        min_length=1,
        max_length=1000,
        description="The first sentence of an answer if the documents could not be searched.",
    )
    start: str = Field(description="The first node.")
    model: ModelTable = ModelTable.model_validate({})
    history: HistoryTable = HistoryTable.model_validate({})
    conversation: ConversationTable = ConversationTable.model_validate({})
    retrieval: RetrievalTable = RetrievalTable.model_validate({})
    limits: LimitsTable = LimitsTable.model_validate({})
    tools: ToolsTable = ToolsTable.model_validate({})
    parameters: ParametersTable = ParametersTable.model_validate({})
    nodes: Mapping[Annotated[str, Field(pattern=NODE_NAME)], NodeTable] = Field(
        min_length=1, max_length=200, description="The nodes, by name."
    )
    graph: GraphTable = GraphTable.model_validate({})


@dataclass(frozen=True, slots=True)
class Traits:
    """The settings of an agent that its nodes need. shown: the parameters that a prompt may contain. Parameters that name
    records are not among them. agent: the agent's id. tools: the names of the tools that the agent uses. calls: the limits of their calls.
    """

    name: str = "Responsa"
    questions: Sequence[str] = ()
    without_retrieval: str = WITHOUT_RETRIEVAL
    model: ModelTable = field(default_factory=lambda: ModelTable.model_validate({}))
    retrieval: RetrievalTable = field(default_factory=lambda: RetrievalTable.model_validate({}))
    shown: frozenset[str] = frozenset()
    agent: str = ""
    tools: Sequence[str] = ()
    calls: CallLimits = field(default_factory=CallLimits)
    greeting: str = ""
    instructions: str = ""


def traits(config: AgentConfig, agent: str = "") -> Traits:
    """The traits of a configuration. agent: the agent's id."""
    properties = config.parameters.properties
    shown = frozenset(name for name, schema in properties.items() if RESOURCE not in schema)
    return Traits(
        config.name,
        config.questions,
        config.without_retrieval,
        config.model,
        config.retrieval,
        shown,
        agent,
        config.tools.use,
        CallLimits(config.tools.seconds, config.tools.calls),
        config.greeting,
        config.instructions,
    )
