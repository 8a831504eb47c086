"""The agent that runs a graph. It turns a question into events and a terminal event."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, cast

from pydantic import TypeAdapter

from responsa_server.agents.engine.citations import AnswerModel, RefusalModel, of_plain
from responsa_server.agents.engine.config import EXTRACTIVE, TEMPLATE, AgentConfig
from responsa_server.agents.engine.graph import Graph, Plan, verify
from responsa_server.agents.engine.node import Declined, Limits, OverBudget, Run
from responsa_server.agents.engine.prompts import nonce
from responsa_server.agents.engine.state import GraphState, divided, fallbacks_of, restored, said
from responsa_server.domain.agents import AnswerTask, Emit
from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.events import (
    MAX_ALSO_FOUND,
    MAX_SUGGESTIONS,
    Answered,
    AnswerOutcome,
    AnyCitation,
    Citation,
    Fallback,
    RefusalReason,
    Refused,
    Suggestion,
    Terminal,
    Usage,
)
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.models import Price
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand
from responsa_server.domain.turns import Question


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """An agent's settings. defaults: the values of parameters that are missing from a question."""

    version: str
    time_limit_seconds: float
    history_messages: int
    older_messages: int = 0
    history_tokens: int = 0
    titles: bool = True
    limits: Limits = field(default_factory=Limits)
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])


def agent_options(config: AgentConfig, version: str) -> AgentOptions:
    """The settings in the tables of a configuration. version: the version's name, `agents/{id}/versions/{n}`."""
    return AgentOptions(
        version=version,
        time_limit_seconds=config.limits.seconds,
        history_messages=config.history.messages,
        older_messages=config.history.older,
        history_tokens=config.history.tokens,
        titles=config.conversation.title == "question",
        limits=Limits(config.limits.steps, config.limits.tokens, config.limits.cost_micros),
        defaults={
            name: schema["default"]
            for name, schema in config.parameters.properties.items()
            if "default" in schema
        },
    )


_UNSAFE: Final = (
    "The language model refuses to answer this question. Ask something else, or rephrase the question."
)
_UNSAFE_MIDWAY: Final = (
    "The language model stopped in the middle of its answer and refuses to continue, so there is no answer. "
    "Ask something else, or rephrase the question."
)

Admit = Callable[[Principal, Question], Awaitable[None]]


class PlannedAgent:
    """An `Agent` that runs a plan's graph.

    counted: called at the end of each attempt, once for each fallback of that attempt, even if the attempt failed. price: the highest price among the agent's
    models today; None if no price is known.
    admission: checks questions, as `Agent.admit` does; None to accept every question. Raises PlanError.
    """

    def __init__(
        self,
        plan: Plan,
        options: AgentOptions,
        *,
        faults: Faults | None = None,
        counted: Callable[[Fallback], None] | None = None,
        admission: Admit | None = None,
        price: Callable[[], Price | None] = lambda: None,
    ) -> None:
        self._price = price
        self._counted = counted
        self._admission = admission
        verify(plan)
        self.plan = plan
        self._keys = plan.keys
        self._asks_models = any(node.calls_model for node in plan.nodes.values())
        self._options = options
        self.version = options.version
        self.time_limit_seconds = options.time_limit_seconds
        self.history_messages = options.history_messages
        self.older_messages = options.older_messages
        self.titles = options.titles
        self._faults = faults or NoFaults()
        self._graph: Graph | None = None

    def compile(self) -> Graph:
        """The graph. The first call compiles the graph and blocks for some milliseconds."""
        if self._graph is None:
            self._graph = Graph(self.plan)
        return self._graph

    async def admit(self, who: Principal, question: Question) -> None:
        """Check a question before it is accepted. Raises InvalidRequest, NotFound."""
        if self._admission is not None:
            await self._admission(who, question)

    def demand(self, question: Question) -> Demand | None:
        """See `Agent.demand`. The text of the question is the least that a model reads, and no token is shorter than a byte."""
        if not self._asks_models:
            return None
        limits = self._options.limits.lowered(question.max_cost_micros)
        price = self._price()
        most = Decimal(0) if price is None else max(price.input, price.cache_write, price.output)
        return Demand(limits.tokens, limits.cost_micros, most, len(question.text.encode()))

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        """See `Agent.answer`. Raises StateError if the agent cannot continue from the milestone."""
        begin_at, state = ("", GraphState()) if task.resume is None else restored(task.resume, self._keys)
        earlier = fallbacks_of(state)  # earlier attempts have already counted these fallbacks
        for fallback in earlier:
            task.meter.fell_back(fallback)
        options = self._options
        state["question"] = task.question.text
        state["collections"] = list(task.question.collections)
        state["document_filter"] = task.question.document_filter
        state["parameters"] = {**options.defaults, **json.loads(task.question.parameters or "{}")}
        history, older = task.history, ()
        if options.older_messages or options.history_tokens:
            history, older = divided(
                task.history,
                messages=options.history_messages,
                tokens=options.history_tokens,
                older=options.older_messages,
            )
        state["history"] = [said(message) for message in history]
        if older:
            state["older"] = [said(message) for message in older]
        read_before = tuple(dict.fromkeys(version for message in task.history for version in message.read))
        context = Run(
            task.who,
            emit,
            task.meter.add,
            turn_id=task.turn_id,
            begin_at=begin_at,
            tools=task.tools,
            faults=self._faults,
            limits=options.limits.lowered(task.question.max_cost_micros).within(task.grant),
            spent=lambda: task.meter.usage,
            conversation_id=task.conversation_id,
            nonce=nonce(options.version, task.turn_id),
            noted=task.meter.fell_back,
            until=asyncio.get_running_loop().time() + options.time_limit_seconds - task.age_seconds,
            earlier=read_before,
        )
        if self._asks_models:
            context.read(read_before)  # a model reads the history
        try:
            end = ending(await self.compile().run(state, context), task.meter.usage)
        except OverBudget as over:
            end = _over(over, context.limits, task.meter.usage)
        except Declined as declined:
            message = _UNSAFE_MIDWAY if declined.begun else _UNSAFE
            end = Refused(RefusalReason.UNSAFE, message, task.meter.usage)
        finally:
            # The fallbacks are counted here, because a time limit or a cancellation can stop the code above before it
            # makes a terminal event.
            if self._counted is not None:
                for fallback in task.meter.fallbacks:
                    if fallback not in earlier:
                        self._counted(fallback)
        return replace(end, fallbacks=task.meter.fallbacks)


def _over(over: OverBudget, limits: Limits, usage: Usage) -> Answered | Refused:
    """The terminal event of a turn that has reached a limit: an incomplete answer if text was sent, else a refusal."""
    if not over.text:
        reason = RefusalReason.QUOTA if over.limit in limits.quota else RefusalReason.BUDGET
        return Refused(reason, limits.sentence(over.limit), usage)
    return _written(over.text, complete=False, state={}, usage=usage)


def ending(state: Mapping[str, object], usage: Usage) -> Answered | Refused:
    """The terminal event of a finished state: a cited answer, a refusal, or a model's text without citations.

    usage: the usage of the whole turn.
    """
    if "answer" in state:
        answer = AnswerModel.model_validate(state["answer"])
        # If a model's text was rejected, the state holds that text as well as the answer that replaced it.
        checked = state.get("text", answer.text) == answer.text
        whole = answer.outcome is AnswerOutcome.COMPLETE and (
            not checked or bool(state.get("complete", True))
        )
        end = _written(answer.text, complete=whole, state=state, usage=usage)
        quoted = not end.model or (not checked and end.model != TEMPLATE)
        cited = [of_plain(one) for one in answer.citations]
        return replace(
            _with_origin(end, state, quoted=quoted, given=answer.collections)
            if answer.passages_used and _of_documents(answer, state)
            else end,
            citations=cited,
            passages_used=answer.passages_used,
            model=EXTRACTIVE if quoted else end.model,
            suggestions=_others(state, cited) if quoted else (),
        )
    if "refusal" in state:
        refusal = RefusalModel.model_validate(state["refusal"])
        near = _extraction(state).closest if refusal.reason is RefusalReason.NO_SUPPORT else ()
        return Refused(
            refusal.reason,
            refusal.message,
            usage,
            _support(state),
            str(state.get("intent", "")),
            suggestions=tuple(_suggestion(one) for one in near[:MAX_SUGGESTIONS]),
        )
    end = _written(cast("str", state["text"]), complete=bool(state["complete"]), state=state, usage=usage)
    return _with_origin(end, state, quoted=False) if end.passages_used and not state.get("results") else end


def _written(text: str, *, complete: bool, state: Mapping[str, object], usage: Usage) -> Answered:
    return Answered(
        text=text,
        sha256=hashlib.sha256(text.encode()).digest(),
        citations=(),
        outcome=AnswerOutcome.COMPLETE if complete else AnswerOutcome.OUTPUT_LIMIT,
        passages_used=cast("int", state.get("shown", 0)),
        usage=usage,
        standalone_question=str(state.get("standalone_question", "")),
        support=_support(state),
        intent=str(state.get("intent", "")),
        category=str(state.get("category", "")),
        model=str(state.get("model", "")),
    )


_EXTRACTION: Final = TypeAdapter(Extraction)
_EVIDENCE: Final = TypeAdapter(Evidence)
_NO_EXTRACTION: Final = Extraction((), 0.0, supported=False)


def _extraction(state: Mapping[str, object]) -> Extraction:
    extraction = state.get("extraction")
    return _EXTRACTION.validate_python(extraction) if extraction else _NO_EXTRACTION


def _support(state: Mapping[str, object]) -> float:
    return _extraction(state).support


def _of_documents(answer: AnswerModel, state: Mapping[str, object]) -> bool:
    """Whether the answer is from documents. If tools were called, only its citations say so."""
    return not state.get("results") or any(one.origin is None for one in answer.citations)


def _with_origin(
    end: Answered, state: Mapping[str, object], *, quoted: bool, given: tuple[str, ...] = ()
) -> Answered:
    """The answer with the collections that it comes from, and what else was found. quoted: whether the text consists of the
    extraction's quotes. Otherwise, all passages of the evidence may be in it. given: the collections, if the answer says them.
    """
    found = state.get("evidence")
    if not found:
        return end
    evidence, extraction = _EVIDENCE.validate_python(found), _extraction(state)
    of_quotes = {one.passage.collection_id for one in extraction.quotes}
    collections = given or (of_quotes if quoted else evidence.collections)
    kinds = {evidence.kinds.get(one) for one in collections}
    also = (*extraction.also_found, *evidence.also_found) if quoted else evidence.also_found
    # One part of a message may be answered from the collection that has more on another part.
    also = dict.fromkeys(one for one in also if one.collection_id not in collections)
    return replace(
        end,
        collection_id=next(iter(collections)) if len(collections) == 1 else "",
        collection_kind=next(iter(kinds)) if len(kinds) == 1 else None,
        also_found=tuple(also)[:MAX_ALSO_FOUND],
    )


def _others(state: Mapping[str, object], cited: Sequence[AnyCitation]) -> Sequence[Suggestion]:
    """The quotes that also come close to an answer, without those that an answer of whole sections contains."""
    return [
        _suggestion(one)
        for one in _extraction(state).closest
        if not any(isinstance(each, Citation) and _overlap(one, each) for each in cited)
    ][:MAX_SUGGESTIONS]


def _overlap(quote: Quote, citation: Citation) -> bool:
    """Whether both quote the same bytes of a document."""
    same = (quote.passage.document_id, quote.passage.version) == (citation.document_id, citation.version)
    return same and quote.source.start < citation.source.end and citation.source.start < quote.source.end


def _suggestion(quote: Quote) -> Suggestion:
    passage = quote.passage
    place = passage.place_of(quote.source)
    return Suggestion(
        passage_id=passage.id,
        collection_id=passage.collection_id,
        document_id=passage.document_id,
        version=passage.version,
        title=passage.title,
        uri=passage.uri,
        source=quote.source,
        quote=quote.text,
        score=quote.score,
        text=quote.markdown,
        page=place.page if place else 0,
        box=place.box if place else None,
        path=place.path if place else "",
    )
