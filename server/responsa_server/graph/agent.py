"""The default agent: rewrite → retrieve → grade → answer or refuse, and its events."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from responsa_server.domain.ports.agents import AnswerTask
from responsa_server.domain.ports.answers import EvidenceSource, Extractor
from responsa_server.domain.turns import Answered, Citation, Event, Refused, Terminal, Usage
from responsa_server.graph.builder import BEGIN, FINISH, Graph, Plan, Route, build, run
from responsa_server.graph.node import Progress, Run
from responsa_server.graph.nodes.answer import AnswerModel, CitationModel
from responsa_server.graph.nodes.grade import GradeOutput
from responsa_server.graph.nodes.refuse import RefusalModel
from responsa_server.graph.nodes.rewrite import RewriteInput
from responsa_server.graph.registry import NODES, NodeParts
from responsa_server.graph.rewriting import standalone
from responsa_server.graph.state import GraphState, said


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


class GraphAgent:
    """An `Agent` that runs the default graph."""

    def __init__(
        self, source: EvidenceSource, extractor: Extractor, options: AgentOptions | None = None
    ) -> None:
        self._options = options or AgentOptions()
        self._graph: Graph = build(plan(NodeParts(source, extractor)))

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

    async def answer(self, task: AnswerTask) -> AsyncGenerator[Event, None]:
        """See `Agent.answer`."""
        progress: asyncio.Queue[Progress | None] = asyncio.Queue()
        state = GraphState(
            question=task.question.text,
            collections=list(task.question.collections),
            history=[said(message) for message in task.history],
        )
        running = asyncio.create_task(
            run(self._graph, state, Run(task.who, progress.put_nowait, task.meter.add))
        )
        running.add_done_callback(lambda _: progress.put_nowait(None))
        try:
            while (event := await progress.get()) is not None:
                yield event
            yield terminal(await running)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})


def terminal(state: Mapping[str, object]) -> Terminal:
    """The event that a finished state stands for."""
    usage = Usage(cast("int", state.get("embedding_tokens", 0)))
    support = GradeOutput.model_validate({"extraction": state.get("extraction")}).extraction.support
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
    refusal = RefusalModel.model_validate(cast("Any", state)["refusal"])
    return Refused(refusal.reason, refusal.message, usage, support)


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
