"""A graph for a cited answer by a model, written by hand for LangGraph without the engine. It uses functions on a
dictionary and LangGraph's own stream.

The graph calls the same parts in the same order as the engine. It lacks the engine's additions: checked inputs and
outputs, limits, fallbacks and milestones.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypedDict, cast

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

from bench.peers.evidence import MemoryEvidence
from responsa_server.agents.engine.citations import MarkFilter, citation, claims
from responsa_server.domain.answers import Evidence, Ranked
from responsa_server.domain.events import Cited, Delta, Status, Step
from responsa_server.domain.models import ChatModel, ModelPrompt, PromptMessage, Role, TextPiece
from responsa_server.domain.people import Principal

_MOST_BYTES: Final = 6000
_SYSTEM: Final = "Answer from the passages, and mark each sentence with the number of its passage, as in [1]."


class State(TypedDict):
    """The state of the graph."""

    caller: Principal
    question: str
    evidence: Evidence
    ranked: Ranked
    text: str
    marks: tuple[Any, ...]
    citations: list[Any]


async def _verdict(state: State) -> str:
    # This function is asynchronous because LangGraph would run a plain function on another thread.
    return "write" if state["evidence"].passages else END


class Handwritten:
    """The graph, which is compiled once."""

    def __init__(self, evidence: MemoryEvidence, model: ChatModel) -> None:
        self._evidence = evidence
        self._model = model
        builder = StateGraph(State)
        builder.add_node("retrieve", self._retrieve)  # pyright: ignore[reportUnknownMemberType] - LangGraph's overloads
        builder.add_node("rank", self._rank)  # pyright: ignore[reportUnknownMemberType]
        builder.add_node("write", self._write)  # pyright: ignore[reportUnknownMemberType]
        builder.add_node("cite", self._cite)  # pyright: ignore[reportUnknownMemberType]
        builder.add_edge(START, "retrieve")
        builder.add_edge("retrieve", "rank")
        builder.add_conditional_edges(
            "rank",
            _verdict,
            {"write": "write", END: END},
        )
        builder.add_edge("write", "cite")
        builder.add_edge("cite", END)
        self._graph = builder.compile()  # pyright: ignore[reportUnknownMemberType]

    async def answer(self, caller: Principal, question: str) -> AsyncGenerator[object]:
        """The graph's events, then its final state."""
        given = cast("State", {"caller": caller, "question": question})
        streamed = self._graph.astream(given, stream_mode=["custom", "values"])  # pyright: ignore[reportUnknownMemberType]
        last: Mapping[str, object] = {}
        async for mode, told in cast("AsyncGenerator[tuple[str, Any]]", streamed):
            if mode == "custom":
                yield told
            else:
                last = told
        yield last

    async def _retrieve(self, state: State) -> dict[str, object]:
        get_stream_writer()(Status(Step.RETRIEVING, "Searching knowledge base..."))
        return {"evidence": await self._evidence.search(state["caller"], (state["question"],), ())}

    async def _rank(self, state: State) -> dict[str, object]:
        get_stream_writer()(Status(Step.GRADING, "Analyzing results..."))
        return {"ranked": await self._evidence.rank(state["caller"], state["question"], state["evidence"])}

    async def _write(self, state: State) -> dict[str, object]:
        tell = get_stream_writer()
        tell(Status(Step.GENERATING, "Generating response..."))
        passages = await self._evidence.passages(state["evidence"], _MOST_BYTES)
        numbered = "\n\n".join(f"[{number}]\n{one.text}" for number, one in enumerate(passages, 1))
        prompt = ModelPrompt(
            [
                PromptMessage(Role.SYSTEM, _SYSTEM),
                PromptMessage(Role.USER, numbered),
                PromptMessage(Role.USER, state["question"]),
            ],
            "bench",
        )
        marks = MarkFilter(0)
        parts, end = list[str](), 0
        async with aclosing(self._model.stream(prompt)) as pieces:
            async for piece in pieces:
                if isinstance(piece, TextPiece) and (text := marks.feed(piece.text)):
                    tell(Delta(text, end))
                    parts.append(text)
                    end += len(text.encode())
        if text := marks.end():
            tell(Delta(text, end))
            parts.append(text)
        return {"text": "".join(parts), "marks": tuple(marks.marks)}

    async def _cite(self, state: State) -> dict[str, object]:
        tell = get_stream_writer()
        tell(Status(Step.VERIFYING, "Checking the sources..."))
        text_claims = claims(state["text"], state["marks"])
        checked = await self._evidence.check(text_claims, state["evidence"], _MOST_BYTES)
        cited = [
            citation(claim, one, place)
            for place, (claim, one) in enumerate(zip(text_claims, checked, strict=True))
            if one is not None
        ]
        for one in cited:
            tell(Cited(one))
        return {"citations": cited}
