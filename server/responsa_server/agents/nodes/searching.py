"""The nodes that search: they rewrite the question, expand it, retrieve and rank passages, and add what tools returned to the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import Field, JsonValue, create_model

from responsa_server.agents.engine.asking import FAILURES, AnswerShape, Asker, ask_typed, cause, offer
from responsa_server.agents.engine.config import RetrievalTable, SourceTable, Texts
from responsa_server.agents.engine.failed_tools import NO_MODEL
from responsa_server.agents.engine.kinds import NodeKind, require
from responsa_server.agents.engine.node import (
    Announcement,
    Node,
    NodeModel,
    NodeOptions,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted, neutral
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.answers import Evidence, EvidenceSource, Ranking, SearchOptions
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.events import Fallback, FallbackKind, Step, Usage
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.listing import AllOf, AnyOf, Filter, FilterComparison, Operator
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.people import with_files
from responsa_server.domain.turns import MAX_QUESTION_BYTES


class RewriterOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md` with which to ask a model; "" to ask none."""

    prompt: PromptName = ""


class RewriteInput(NodeModel):
    """The question and the history. summary: the summary of the messages before the history."""

    question: str
    history: tuple[StateMessage, ...] = ()
    summary: str = ""


class RewriteOutput(NodeModel):
    """standalone_question: the rewritten question; "" if the question needs no rewriting."""

    standalone_question: str


class RewriteShape(NodeModel):
    """The model's reply: the question, rewritten to need no earlier messages."""

    query: str = Field(min_length=1, max_length=MAX_QUESTION_BYTES)


class Rewrite(Node[RewriteInput, RewriteOutput]):
    """Rewrites the question so that it makes sense without the conversation. A model does this. If there is no model,
    or the model fails, the last answered question of the conversation is added to the question."""

    name = "rewrite"
    input_model = RewriteInput
    output_model = RewriteOutput
    has_rule = True
    announcement = Announcement(Step.REWRITING, "Rephrasing your question...")

    def __init__(self, asker: Asker | None = None, prompt: str = "") -> None:
        self._asker = asker
        self._prompt = prompt
        self._shape = AnswerShape(RewriteShape)
        self.calls_model = asker is not None

    async def process(self, inputs: RewriteInput, run: Run) -> RewriteOutput:
        """Rewrite the question. If there are no earlier messages, the node asks no model."""
        if self._asker is not None and (inputs.history or inputs.summary):
            try:
                return RewriteOutput(standalone_question=await self.ask(inputs, run))
            except FAILURES as error:
                run.fell_back(Fallback(FallbackKind.RULE, self.name, "rule", cause(error)))
        rewritten = after_previous(inputs.question, inputs.history) or ""
        return RewriteOutput(standalone_question=rewritten)

    async def ask(self, inputs: RewriteInput, run: Run, language: str = "") -> str:
        """What the model, which there must be, makes of the question; "" if it stays. language: the one to translate it to; ""
        for its own. Raises one of FAILURES."""
        # The last three exchanges say what a question refers to.
        untrusted = Untrusted(inputs.question, inputs.history[-6:], others={"summary": inputs.summary})
        trusted = {"language": language}
        asker = require(self._asker, "model")
        answer = await ask_typed(asker, run, self._prompt, self._shape, trusted, untrusted)
        rewritten = " ".join(answer.query.split())
        same = rewritten.casefold() == " ".join(inputs.question.split()).casefold()
        return "" if same or len(rewritten.encode()) > MAX_QUESTION_BYTES else rewritten


def after_previous(question: str, history: Sequence[StateMessage]) -> str | None:
    """The question with the last answered question before it; None if there is none."""
    before = [
        asked.text
        for asked, answer in pairwise(history)
        if asked.speaker is Speaker.USER and answer.speaker is Speaker.ASSISTANT and not answer.refused
    ]
    joined = f"{question.strip()} ({before[-1]})" if before else ""
    return joined if joined and len(joined.encode()) <= MAX_QUESTION_BYTES else None


REWRITER: Final = NodeKind(
    lambda parts, options, _: Rewrite(parts.deciding_asker(options.prompt), options.prompt),
    RewriteInput,
    RewriteOutput,
    RewriterOptions,
    offers=offer("language", untrusted=("question", "history", "summary")),
)


DEFAULT_RETRIEVAL = RetrievalTable.model_validate({})
MOST_EXPANSIONS: Final = 6
"""The maximum number of expansions. A search takes at most eight queries, and up to two of these are the question itself."""
MAX_QUERY_BYTES: Final = 400
MOST_EXAMPLES: Final = 16
"""The maximum number of examples of queries, all of which a prompt shows."""


class QueryExample(NodeOptions):
    """A question, and the queries and sources that suit it."""

    question: Annotated[str, Field(min_length=1)]
    queries: Annotated[Texts, Field(max_length=MOST_EXPANSIONS)] = ()
    sources: Texts = ()

    def show(self, *, choose_sources: bool) -> Mapping[str, str]:
        """The example as prompts show it. choose_sources: whether the model chooses among sources."""
        answer: dict[str, Texts] = {"queries": self.queries}
        if choose_sources:
            answer["sources"] = self.sources
        # Users or a model may have written it, so text that looks like a prompt's markup is neutralised.
        text, label = " ".join(self.question.split()), json.dumps(answer, ensure_ascii=False)
        return {"text": neutral(text), "label": neutral(label)}


class QueryExpanderOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`. most: the maximum number of expansions to search for. sources: whether the
    model also chooses among `retrieval.sources`. examples: what the prompt shows in its variable `examples`.
    """

    prompt: PromptName = "query_expansion"
    most: Annotated[int, Field(ge=1, le=MOST_EXPANSIONS)] = 3
    sources: bool = False
    examples: Annotated[tuple[QueryExample, ...], Field(strict=False, max_length=MOST_EXAMPLES)] = ()


class QueryExpanderInput(NodeModel):
    """The question, and the collections and the parameters with which the request says where to search."""

    question: str
    standalone_question: str = ""
    collections: tuple[str, ...] = ()
    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class QueryExpanderOutput(NodeModel):
    """expansions: other queries for the question, without the question itself; empty without a model. sources: the
    sources to search, of those of the agent; empty for all."""

    expansions: tuple[str, ...] = Field(max_length=MOST_EXPANSIONS)
    sources: tuple[str, ...] = ()


class ExpansionShape(NodeModel):
    """The model's reply."""

    queries: tuple[str, ...]


class SourcedExpansion(ExpansionShape):
    """The model's reply if it chooses among sources. `_shape_with` lists those that there are; other names are ignored."""

    sources: tuple[str, ...]


def _shape_with(sources: Sequence[str]) -> AnswerShape[ExpansionShape]:
    make: Any = create_model  # the type hints of `create_model` do not allow a base class
    named = Field(json_schema_extra={"items": {"type": "string", "enum": [*sources]}})
    return AnswerShape(
        make("ExpandedWithSources", __base__=SourcedExpansion, sources=(tuple[str, ...], named))
    )


class QueryExpander(Node[QueryExpanderInput, QueryExpanderOutput]):
    """Asks a model for other queries, and for the sources that may hold the answer unless the request names
    collections or a source. If there is no model, or the model fails, only the question itself is searched, in all sources.
    """

    name = "expand"
    input_model = QueryExpanderInput
    output_model = QueryExpanderOutput
    has_rule = True

    def __init__(
        self,
        asker: Asker | None,
        options: QueryExpanderOptions,
        table: RetrievalTable = DEFAULT_RETRIEVAL,
    ) -> None:
        self._asker = asker
        self._options = options
        self._sources: Mapping[str, SourceTable] = table.sources if options.sources else {}
        self._source_parameter = table.source_parameter
        self._shape = AnswerShape(ExpansionShape)
        self._shape_with_sources = _shape_with(tuple(self._sources))
        self.calls_model = asker is not None

    async def process(self, inputs: QueryExpanderInput, run: Run) -> QueryExpanderOutput:
        """Expand the question. Queries that are too long, queries beyond the maximum number of expansions, and sources
        that do not exist are dropped."""
        if self._asker is None:
            return QueryExpanderOutput(expansions=())
        question = inputs.standalone_question or inputs.question
        chosen = bool(inputs.collections or inputs.parameters.get(self._source_parameter))
        sources: Mapping[str, SourceTable] = {} if chosen else self._sources
        shown = [{"name": name, "description": source.description} for name, source in sources.items()]
        try:
            answer = await ask_typed(
                self._asker,
                run,
                self._options.prompt,
                self._shape_with_sources if sources else self._shape,
                {
                    "most": self._options.most,
                    "sources": shown,
                    "examples": [each.show(choose_sources=bool(sources)) for each in self._options.examples],
                },
                Untrusted(question),
            )
        except FAILURES as error:
            run.fell_back(Fallback(FallbackKind.RULE, self.name, "question", cause(error)))
            return QueryExpanderOutput(expansions=())
        queries = [query for query in answer.queries if len(query.encode()) <= MAX_QUERY_BYTES]
        named = answer.sources if isinstance(answer, SourcedExpansion) else ()
        return QueryExpanderOutput(
            expansions=tuple(distinct(queries, except_for=[question, inputs.question])[: self._options.most]),
            sources=tuple(name for name in sources if name in named),
        )


def distinct(texts: Iterable[str], except_for: Iterable[str] = ()) -> Sequence[str]:
    """The texts without repetitions, as they first occur but with normalised white space. Those in `except_for` are left out."""
    seen = {_fold(text) for text in except_for} | {""}
    unique: list[str] = []
    for text in texts:
        if (folded := _fold(text)) not in seen:
            seen.add(folded)
            unique.append(" ".join(text.split()))
    return unique


def _fold(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip("?.! ")


QUERY_EXPANDER: Final = NodeKind(
    lambda parts, options, _: QueryExpander(
        parts.deciding_asker(options.prompt), options, parts.traits.retrieval
    ),
    QueryExpanderInput,
    QueryExpanderOutput,
    QueryExpanderOptions,
    offers=offer("most", "sources", "examples", untrusted=("question",)),
)


_VECTORS_GONE = "part_unavailable:vectors"


class RetrieveInput(NodeModel):
    """The question and the collections to search.

    standalone_question: the rewritten question; "" if the question needs no rewriting. expansions: other queries for
    the question. sources: the sources that a model has chosen for it; empty for all. document_filter: a filter on
    documents, or "". parameters: the question's parameters, one of which may choose a source. history: the messages
    before the question.
    """

    question: str
    standalone_question: str = ""
    expansions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    document_filter: str = ""
    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    history: tuple[StateMessage, ...] = ()


class RetrieveOutput(NodeModel):
    """The passages that were found."""

    evidence: Evidence


class Retrieve(Node[RetrieveInput, RetrieveOutput]):
    """Searches for passages; for a question in a language that no document has, in theirs too, if a model translates it. If
    a part of the server is unavailable, the search is attempted up to three times."""

    name = "retrieve"
    input_model = RetrieveInput
    output_model = RetrieveOutput
    announcement = Announcement(Step.RETRIEVING, "Searching knowledge base...")
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1)
    has_rule = True

    def __init__(
        self,
        source: EvidenceSource,
        table: RetrievalTable = DEFAULT_RETRIEVAL,
        translator: Rewrite | None = None,
        *,
        has_model: bool = True,
    ) -> None:
        """has_model: whether a model rewrites questions. Without one, a question is also searched with the one before it."""
        self._source = source
        self._has_model = has_model
        self._translator = translator or Rewrite()
        self.calls_model = self._translator.calls_model
        self._sources = {
            name: (source.collections, tuple(parse_filter(SEARCHED, source.filter)))
            for name, source in table.sources.items()
        }
        self._source_parameter = table.source_parameter
        # With a subject, only documents about the caller are searched, wherever they are; and in the agent's collections
        # (`own`, see SearchOptions) those that are about nobody, as the files of the conversation are.
        self._own = table.collections if table.subject else None
        self._collections = () if table.subject else table.collections
        self._options = SearchOptions(table.top_k, table.threshold, table.rerank)

    async def process(self, inputs: RetrieveInput, run: Run) -> RetrieveOutput:
        """Search the collections that the request names. If it names none: the files of the conversation, and the
        collections of the source that the request chooses, or of the sources that a model has chosen for it, or of the
        agent. If nothing is found in the model's sources, the agent's collections are searched.
        """
        collections, filters = self._place(inputs)
        evidence = await self._search(inputs, run, collections, filters)
        if not evidence.passages and self._is_narrowed(inputs):
            evidence = await self._search(inputs, run, (), ())
        if evidence.languages and (translated := await self._translate(inputs, evidence.languages, run)):
            expansions = (*translated, *inputs.expansions)[:MOST_EXPANSIONS]
            further = inputs.model_copy(update={"expansions": expansions})
            evidence = await self._search(further, run, collections, filters)
        return RetrieveOutput(evidence=evidence)

    async def _translate(self, inputs: RetrieveInput, languages: Sequence[str], run: Run) -> Sequence[str]:
        """The question in the documents' languages, which follow its own in `languages`; none if no model translates it."""
        own, *others = languages
        failure = NO_MODEL
        if self.calls_model:
            asked = RewriteInput(question=inputs.standalone_question or inputs.question)
            try:
                return [await self._translator.ask(asked, run, language) for language in others]
            except FAILURES as error:
                failure = cause(error)
        run.fell_back(Fallback(FallbackKind.OTHER_LANGUAGE, own, ",".join(others), failure))
        return ()

    def _is_narrowed(self, inputs: RetrieveInput) -> bool:
        """Whether a model has chosen where to search, and the request names no collections and no source."""
        return bool(inputs.sources) and not (
            inputs.collections or inputs.parameters.get(self._source_parameter)
        )

    def _place(self, inputs: RetrieveInput) -> tuple[tuple[str, ...], tuple[Filter, ...]]:
        """The collections of the sources that were chosen, and the conditions that the documents must meet."""
        value = str(inputs.parameters.get(self._source_parameter, ""))
        names = inputs.sources if self._is_narrowed(inputs) else (value,)
        places = [self._sources[name] for name in names if name in self._sources]
        if len(places) < 2:
            return places[0] if places else ((), ())
        every = tuple(dict.fromkeys(name for collections, _ in places for name in collections))
        conditions = tuple(
            AllOf((*_any_collection(collections), *filters)) for collections, filters in places
        )
        # A source without collections means every collection.
        return (every if all(collections for collections, _ in places) else ()), (AnyOf(conditions),)

    async def _search(
        self, inputs: RetrieveInput, run: Run, collections: tuple[str, ...], filters: tuple[Filter, ...]
    ) -> Evidence:
        questions = queries_of(inputs)
        if not self._has_model and (joined := after_previous(inputs.question, inputs.history)) is not None:
            questions = (joined, inputs.question)
        if not (where := inputs.collections) and (where := collections or self._collections):
            where = with_files(run.caller, where)
        options = replace(
            self._options,
            own=None if self._own is None else with_files(run.caller, self._own),
            expansions=tuple(distinct(inputs.expansions, except_for=questions)),
            filters=(*filters, *parse_filter(SEARCHED, inputs.document_filter)),
        )
        evidence = await self._source.search(run.caller, questions, where, options)
        run.spend(Usage(evidence.embedding_tokens))
        if evidence.degraded:
            run.fell_back(Fallback(FallbackKind.TEXT_ONLY, self.name, evidence.degraded, _VECTORS_GONE))
        return evidence


def _any_collection(collections: Sequence[str]) -> Sequence[Filter]:
    """The condition that a document is in one of these collections; none for no collections."""
    named = tuple(FilterComparison("collection", Operator.EQ, name) for name in collections)
    return (AnyOf(named),) if len(named) > 1 else named


def queries_of(inputs: RetrieveInput) -> tuple[str, ...]:
    """The queries for the question, without expansions. The last one is the question as it was asked."""
    if inputs.standalone_question:
        return (inputs.standalone_question, inputs.question)
    return (inputs.question,)


RETRIEVER: Final = NodeKind(
    lambda parts, options, _: Retrieve(
        require(parts.source, "source of evidence"),
        parts.traits.retrieval,
        Rewrite(parts.deciding_asker(options.prompt), options.prompt),
        has_model=parts.model is not None,
    ),
    RetrieveInput,
    RetrieveOutput,
    RewriterOptions,
    fallback=FallbackKind.WITHOUT_RETRIEVAL,
    offers=REWRITER.offers,
)


class RankInput(NodeModel):
    """The question and its evidence."""

    question: str
    standalone_question: str = ""
    evidence: Evidence


class RankOutput(NodeModel):
    """The evidence in its new order, and what to show of it without a language model."""

    evidence: Evidence
    ranking: Ranking


class Rank(Node[RankInput, RankOutput]):
    """Orders the evidence, with the reranking model if there is one."""

    name = "rank"
    input_model = RankInput
    output_model = RankOutput
    # The contract's name for ranking.
    announcement = Announcement(Step.GRADING, "Analyzing results...")
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1)

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source

    async def process(self, inputs: RankInput, run: Run) -> RankOutput:
        """Order the evidence."""
        question = inputs.standalone_question or inputs.question
        ranked = await self._source.rank(run.caller, question, inputs.evidence)
        run.spend(ranked.usage)
        if ranked.fallback is not None:
            run.fell_back(ranked.fallback)
        return RankOutput(evidence=ranked.evidence, ranking=ranked.ranking)


RANKER: Final = NodeKind(
    lambda parts, _, __: Rank(require(parts.source, "source of evidence")), RankInput, RankOutput
)
