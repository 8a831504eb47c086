"""Rewords a question, since documents often use other words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

from pydantic import Field

from responsa_server.agents.engine.asking import FAILURES, Asker, Shape, ask_typed, cause, offered
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, NodeOptions, PromptName, Run
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.domain.events import Fallback, FallbackKind

MOST_EXPANSIONS: Final = 6
"""A search takes at most eight strings, and two are the question's own."""
MAX_QUERY_BYTES: Final = 400
OFFERED = offered("most", untrusted=("question",))
"""The variables for this node's prompts."""


class QueryExpanderOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`. most: the number of other wordings to search for."""

    prompt: PromptName = "query_expansion"
    most: Annotated[int, Field(ge=1, le=MOST_EXPANSIONS)] = 3


class QueryExpanderInput(NodeModel):
    """The question."""

    question: str
    standalone_question: str = ""


class QueryExpanderOutput(NodeModel):
    """Other wordings of the question, without its own; empty without a model."""

    expansions: tuple[str, ...] = Field(max_length=MOST_EXPANSIONS)


class Expanded(NodeModel):
    """What a model answers."""

    queries: tuple[str, ...]


class QueryExpander(Node[QueryExpanderInput, QueryExpanderOutput]):
    """Asks a model for other wordings. Without one, or after its failure, only the question is searched for."""

    name = "expand"
    input_model = QueryExpanderInput
    output_model = QueryExpanderOutput
    has_rule = True

    def __init__(self, asker: Asker | None, options: QueryExpanderOptions) -> None:
        self._asker = asker
        self._options = options
        self._shape = Shape(Expanded)
        self.calls_model = asker is not None

    async def process(self, given: QueryExpanderInput, run: Run) -> QueryExpanderOutput:
        """Expand. Wordings beyond the number, or too long, are dropped."""
        if self._asker is None:
            return QueryExpanderOutput(expansions=())
        question = given.standalone_question or given.question
        try:
            answer = await ask_typed(
                self._asker,
                run,
                self._options.prompt,
                self._shape,
                {"most": self._options.most},
                Untrusted(question),
            )
        except FAILURES as error:
            run.fell_back(Fallback(FallbackKind.RULE, self.name, "question", cause(error)))
            return QueryExpanderOutput(expansions=())
        found = [one for one in answer.queries if len(one.encode()) <= MAX_QUERY_BYTES]
        return QueryExpanderOutput(
            expansions=tuple(distinct(found, said=[question, given.question])[: self._options.most])
        )


def distinct(texts: Iterable[str], said: Iterable[str] = ()) -> Sequence[str]:
    """Each text once, in its first form with white space normalised, without the texts in `said`."""
    seen = {_folded(one) for one in said} | {""}
    kept: list[str] = []
    for text in texts:
        if (folded := _folded(text)) not in seen:
            seen.add(folded)
            kept.append(" ".join(text.split()))
    return kept


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip("?.! ")


KIND: Final = NodeKind(
    lambda parts, options, _: QueryExpander(parts.decider(options.prompt), options),
    QueryExpanderInput,
    QueryExpanderOutput,
    QueryExpanderOptions,
    offers=OFFERED,
)
