"""The agent that runs a graph. It turns a question into events and a terminal event."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from responsa_server.agents.engine.citations import AnswerModel, RefusalModel, of_plain
from responsa_server.agents.engine.config import PASSAGES, AgentConfig
from responsa_server.agents.engine.graph import Graph, Plan, verify
from responsa_server.agents.engine.node import ModelDeclined, OverBudget, Run, TurnLimits
from responsa_server.agents.engine.prompts import nonce
from responsa_server.agents.engine.state import (
    GraphState,
    before,
    divide,
    fallbacks_of,
    plain_fallback,
    restore,
    to_milestone,
    to_plain,
)
from responsa_server.domain.agents import AnswerTask, Emit, Milestone, Withdrawal
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    MAX_MORE_EXCERPTS,
    Answered,
    AnswerOutcome,
    AnyCitation,
    Excerpt,
    Fallback,
    FallbackKind,
    RefusalReason,
    Refused,
    Terminal,
    Usage,
)
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.models import Price
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand
from responsa_server.domain.turn_scope import turn_scope
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
    limits: TurnLimits = field(default_factory=TurnLimits)
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
        limits=TurnLimits(config.limits.steps, config.limits.tokens, config.limits.cost_micros),
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

    counted: called at the end of each attempt, once for each fallback of that attempt, even if the attempt failed.
    price: the highest price among the agent's models today; None without models.
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
        self.asks_models = any(node.calls_model for node in plan.nodes.values())
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

    async def admit(self, caller: Principal, question: Question) -> None:
        """Check a question before it is accepted. Raises InvalidRequest, NotFound."""
        if self._admission is not None:
            await self._admission(caller, question)

    def demand(self, question: Question) -> Demand | None:
        """See `Agent.demand`. The text of the question is the least that a model reads, and no token is shorter than a byte."""
        if not self.asks_models:
            return None
        limits = self._options.limits.lower_to(question.max_cost_micros)
        price = self._price()
        least = len(question.text.encode())
        return Demand.of_price(price, limits.tokens, limits.cost_micros, least)

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        """See `Agent.answer`. Raises StateError if the agent cannot continue from the milestone."""
        begin_at, state = ("", GraphState()) if task.resume is None else restore(task.resume, self._keys)
        earlier = fallbacks_of(state)  # earlier attempts have already counted these fallbacks
        begin_at, state = await self._read_again(begin_at, state, task, emit)
        for fallback in fallbacks_of(state):
            task.meter.fell_back(fallback)
        options = self._options
        state["question"] = task.question.text
        state["collections"] = list(task.question.collections)
        state["document_filter"] = task.question.document_filter
        state["parameters"] = {**options.defaults, **json.loads(task.question.parameters or "{}")}
        history, older = task.history, ()
        if options.older_messages or options.history_tokens:
            history, older = divide(
                task.history,
                messages=options.history_messages,
                tokens=options.history_tokens,
                older=options.older_messages,
            )
        state["history"] = [
            *before(
                task.question.history if len(history) == len(task.history) else (),
                history,
                messages=options.history_messages,
                tokens=options.history_tokens,
            ),
            *map(to_plain, history),
        ]
        if older:
            state["older"] = [to_plain(message) for message in older]
        read_before = tuple(dict.fromkeys(version for message in task.history for version in message.read))
        context = Run(
            task.caller,
            emit,
            task.meter.add,
            turn_id=task.turn_id,
            begin_at=begin_at,
            tools=task.tools,
            faults=self._faults,
            limits=options.limits.lower_to(task.question.max_cost_micros).within(task.grant),
            spent=lambda: task.meter.usage,
            conversation_id=task.conversation_id,
            nonce=nonce(options.version, task.turn_id),
            noted=task.meter.fell_back,
            until=asyncio.get_running_loop().time() + options.time_limit_seconds - task.age_seconds,
            earlier=read_before,
            pause=task.pause,
            most_tokens=task.question.max_output_tokens,
            meter=task.meter,
        )
        if self.asks_models:
            context.read(read_before)  # a model reads the history
        try:
            with turn_scope():
                ended = await self.compile().run(state, context)
            uncited = any(fallback.kind is FallbackKind.UNCITED for fallback in task.meter.fallbacks)
            ranking = cast("Ranking", ended.get("ranking") or _NO_RANKING)
            shows = uncited or "refusal" in ended or ended.get("declined") or ended.get("model") == PASSAGES
            evidence = cast("Evidence | None", ended.get("evidence"))
            if shows and not ranking.made and evidence is not None and self.plan.source is not None:
                ranking = await self.plan.source.excerpts(evidence, ranking)
            end = ending(ended, ranking, task.meter.usage)
            if isinstance(end, Answered) and uncited and not (end.citations or end.excerpts):
                # The text names no passage, so the reader gets the passages beside it.
                end = replace(end, more_excerpts=_further(ranking, 0, ()))
        except OverBudget as over:
            task.meter.over_request = over.limit == "cost_micros" and context.limits.requested
            end = _over(over, context.limits, task.meter.usage)
        except ModelDeclined as declined:
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

    async def _read_again(
        self, begin_at: str, state: GraphState, task: AnswerTask, emit: Emit
    ) -> tuple[str, GraphState]:
        """The node and the state of a milestone, with the evidence that the caller may read now. If a passage of it is
        gone, or cannot be read, the run begins again: text, marks and ranking may rest on this passage."""
        values = cast("dict[str, object]", state)
        for key, evidence in values.items():
            if isinstance(evidence, Evidence) and self.plan.source is not None:
                try:
                    again = await self.plan.source.read_again(task.caller, evidence)
                except Unavailable:  # the search tries more often
                    again = None
                values[key] = again
                if again is None:
                    gone = Fallback(FallbackKind.SEARCHED_AGAIN, "milestone", "", "part_unavailable:passages")
                    begin_at, values = "", {"fallbacks": [*state.get("fallbacks", ()), plain_fallback(gone)]}
                    emit(Withdrawal(""))
                    # It takes the place of the milestone whose text is withdrawn, in the same commit.
                    emit(Milestone(to_milestone(begin_at, values)))
                    break
        return begin_at, cast("GraphState", cast("object", values))


def _over(over: OverBudget, limits: TurnLimits, usage: Usage) -> Answered | Refused:
    """The terminal event of a turn that has reached a limit: an incomplete answer if text was sent, else a refusal."""
    if not over.text:
        reason = RefusalReason.QUOTA if over.limit in limits.quota else RefusalReason.BUDGET
        return Refused(reason, limits.sentence(over.limit), usage)
    return _make_answer(over.text, complete=False, state={}, usage=usage)


def ending(state: Mapping[str, object], ranking: Ranking, usage: Usage) -> Answered | Refused:
    """The terminal event of a finished state: a cited answer, a refusal, or a model's text without citations.

    ranking: that of the state, with the excerpts that a refusal or an answer of passages shows. usage: the usage of the whole turn.
    """
    if answer_state := state.get("answer"):
        answer = AnswerModel.model_validate(answer_state)
        whole = answer.outcome is AnswerOutcome.COMPLETE
        end = replace(
            _make_answer(answer.text, complete=whole, state=state, usage=usage, support=ranking.support),
            citations=[of_plain(citation) for citation in answer.citations],
            passages_used=answer.passages_used,
            unsourced=answer.unsourced,
            unsupported=len({citation.answer for citation in answer.citations if citation.fails}),
        )
        if end.model == PASSAGES:
            end = replace(
                end,
                excerpts=ranking.excerpts[: answer.excerpts],
                more_excerpts=_further(ranking, answer.excerpts, end.citations),
            )
        of_documents = not state.get("results") or any(
            citation.origin is None for citation in answer.citations
        )
        return _with_origin(end, state, answer.collections) if end.passages_used and of_documents else end
    if "refusal" in state or state.get("declined"):
        plain = state.get("refusal")
        refusal = RefusalModel.model_validate(plain) if plain else _DECLINED
        shows = refusal.reason in (RefusalReason.NO_SUPPORT, RefusalReason.NEEDS_MODEL)
        return Refused(
            refusal.reason,
            refusal.message,
            usage,
            ranking.support,
            str(state.get("intent", "")),
            excerpts=ranking.excerpts if shows else (),
        )
    text, whole = cast("str", state["text"]), bool(state["complete"])
    end = _make_answer(text, complete=whole, state=state, usage=usage, support=ranking.support)
    return _with_origin(end, state) if end.passages_used and not state.get("results") else end


def _make_answer(
    text: str, *, complete: bool, state: Mapping[str, object], usage: Usage, support: float = 0.0
) -> Answered:
    return Answered(
        text=text,
        sha256=hashlib.sha256(text.encode()).digest(),
        citations=(),
        outcome=AnswerOutcome.COMPLETE if complete else AnswerOutcome.OUTPUT_LIMIT,
        passages_used=cast("int", state.get("shown", 0)),
        usage=usage,
        standalone_question=str(state.get("standalone_question", "")),
        support=support,
        intent=str(state.get("intent", "")),
        category=str(state.get("category", "")),
        model=str(state.get("model", "")),
    )


_NO_RANKING: Final = Ranking()
_DECLINED: Final = RefusalModel(
    reason=RefusalReason.NO_SUPPORT,
    message="The documents that were found do not answer this. Ask in other words, or add a document that does.",
)


def _with_origin(
    end: Answered, state: Mapping[str, object], answer_collections: tuple[str, ...] = ()
) -> Answered:
    """The answer with the collection that it comes from, and its kind. answer_collections: the collections, if the answer says them."""
    evidence = cast("Evidence | None", state.get("evidence"))
    if evidence is None:
        return end
    collections = answer_collections or evidence.collections
    kinds = {evidence.kinds.get(collection) for collection in collections}
    return replace(
        end,
        collection_id=next(iter(collections)) if len(collections) == 1 else "",
        collection_kind=next(iter(kinds)) if len(kinds) == 1 else None,
    )


def _further(ranking: Ranking, shown: int, cited: Sequence[AnyCitation]) -> Sequence[Excerpt]:
    """The excerpts that the answer does not show and, if it shows whole sections, does not contain."""
    left = (*ranking.excerpts[shown:], *ranking.more)
    further = [excerpt for excerpt in left if not any(_overlap(excerpt, each) for each in cited)]
    return further[:MAX_MORE_EXCERPTS]


def _overlap(excerpt: Excerpt, citation: AnyCitation) -> bool:
    return (
        citation.read == excerpt.read
        and excerpt.source.start < citation.source.end
        and citation.source.start < excerpt.source.end
    )
