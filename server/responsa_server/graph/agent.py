"""Agents that run a graph, and the default one: rewrite → retrieve → grade → answer or refuse."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from responsa_server.domain.ports.agents import AnswerTask, Told
from responsa_server.domain.ports.answers import EvidenceSource, Extractor
from responsa_server.domain.ports.faults import Faults, NoFaults
from responsa_server.domain.turns import Answered, AnswerOutcome, Citation, Refused, Usage
from responsa_server.graph.builder import BEGIN, FINISH, Graph, Plan, Route, build, run
from responsa_server.graph.node import Progress, Run
from responsa_server.graph.nodes.answer import AnswerModel, CitationModel
from responsa_server.graph.nodes.grade import GradeOutput
from responsa_server.graph.nodes.refuse import RefusalModel
from responsa_server.graph.nodes.rewrite import RewriteInput
from responsa_server.graph.registry import NODES, NodeParts
from responsa_server.graph.rewriting import standalone
from responsa_server.graph.state import GraphState, restored, said


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """An agent's parameters."""

    version: str = "agents/default/versions/1"
    time_limit_seconds: float = 60.0
    history_messages: int = 10


def plan(parts: NodeParts) -> Plan:
    """The default agent's graph. A step that is not needed is passed by, and so not announced."""
    return Plan(
        {name: NODES[name](parts) for name in ("rewrite", "retrieve", "grade", "answer", "refuse")},
        [
            Route(BEGIN, ("rewrite", "retrieve"), _first),
            Route("rewrite", ("retrieve",)),
            Route("retrieve", ("grade",)),
            Route("grade", ("answer", "refuse"), _verdict),
            Route("answer", (FINISH,)),
            Route("refuse", (FINISH,)),
        ],
    )


def _first(state: GraphState) -> str:
    given = RewriteInput.model_validate(
        {"question": state.get("question"), "history": state.get("history", ())}
    )
    return "retrieve" if standalone(given.question, given.history) is None else "rewrite"


def _verdict(state: GraphState) -> str:
    extraction = GradeOutput.model_validate({"extraction": state.get("extraction")}).extraction
    return "answer" if extraction.supported and extraction.quotes else "refuse"


class _Progress:
    """What was told and not yet passed on. An `asyncio.Queue` does the same at several times the cost, which counts at thousands of pieces a second."""

    __slots__ = ("_waiter", "told")

    def __init__(self) -> None:
        self.told: deque[Progress] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def tell(self, event: Progress) -> None:
        self.told.append(event)
        self.wake()

    def wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def more(self) -> None:
        """Wait for the next `tell` or `wake`."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class PlannedAgent:
    """An `Agent` that runs a plan's graph. Raises PlanError."""

    def __init__(self, plan: Plan, options: AgentOptions, *, faults: Faults | None = None) -> None:
        self._options = options
        self._faults = faults or NoFaults()
        self._graph: Graph = build(plan)

    @property
    def version(self) -> str:
        """See `Agent.version`."""
        return self._options.version

    @property
    def time_limit_seconds(self) -> float:
        """See `Agent.time_limit_seconds`."""
        return self._options.time_limit_seconds

    @property
    def history_messages(self) -> int:
        """See `Agent.history_messages`."""
        return self._options.history_messages

    async def answer(self, task: AnswerTask) -> AsyncGenerator[Told, None]:
        """See `Agent.answer`. Raises StateError for a milestone that it cannot go on from."""
        progress = _Progress()
        begin_at, state = ("", GraphState()) if task.resume is None else restored(task.resume)
        state["question"] = task.question.text
        state["collections"] = list(task.question.collections)
        state["history"] = [said(message) for message in task.history]
        context = Run(
            task.who,
            progress.tell,
            task.meter.add,
            turn_id=task.turn_id,
            begin_at=begin_at,
            tools=task.tools,
            faults=self._faults,
        )
        running = asyncio.create_task(run(self._graph, state, context))
        running.add_done_callback(progress.wake)
        try:
            while True:
                while progress.told:
                    yield progress.told.popleft()
                if running.done():
                    break
                await progress.more()
            yield ending(await running, task.meter.usage)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})


class GraphAgent(PlannedAgent):
    """The default agent."""

    def __init__(
        self,
        source: EvidenceSource,
        extractor: Extractor,
        options: AgentOptions | None = None,
        *,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(plan(NodeParts(source, extractor)), options or AgentOptions(), faults=faults)


def ending(state: Mapping[str, object], usage: Usage) -> Answered | Refused:
    """The event that a finished state stands for: a cited answer, a refusal, or a model's text without citations. usage: all that the turn has cost."""
    extraction = state.get("extraction")
    support = GradeOutput.model_validate({"extraction": extraction}).extraction.support if extraction else 0.0
    if "answer" in state:
        answer = AnswerModel.model_validate(state["answer"])
        return Answered(
            text=answer.text,
            sha256=hashlib.sha256(answer.text.encode()).digest(),
            citations=[_citation(one) for one in answer.citations],
            outcome=answer.outcome,
            passages_used=answer.passages_used,
            usage=usage,
            standalone_question=str(state.get("standalone_question", "")),
            support=support,
        )
    if "refusal" in state:
        refusal = RefusalModel.model_validate(state["refusal"])
        return Refused(refusal.reason, refusal.message, usage, support)
    text = cast("str", state["text"])
    return Answered(
        text=text,
        sha256=hashlib.sha256(text.encode()).digest(),
        citations=(),
        outcome=AnswerOutcome.COMPLETE if state["complete"] else AnswerOutcome.OUTPUT_LIMIT,
        passages_used=0,
        usage=usage,
        standalone_question=str(state.get("standalone_question", "")),
        support=support,
    )


def _citation(model: CitationModel) -> Citation:
    return Citation(
        passage_id=UUID(model.passage_id),
        document_id=UUID(model.document_id),
        version=model.version,
        title=model.title,
        uri=model.uri,
        source=model.source,
        quote=model.quote,
        sha256=bytes.fromhex(model.sha256),
        answer=model.answer,
        score=model.score,
    )
