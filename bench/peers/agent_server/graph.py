"""The graph of `bench.peers.deltas`, written for plain LangGraph: three statuses and sixty-four pieces of text, without
a search. It runs in a separate environment."""

from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

PIECES = tuple(f"word{number:02d} and " for number in range(64))


class State(TypedDict, total=False):
    """The state of the graph."""

    question: str
    text: str


async def retrieve(state: State) -> State:
    """Announce itself."""
    get_stream_writer()({"status": "Searching knowledge base..."})
    return {}


async def grade(state: State) -> State:
    """Announce itself."""
    get_stream_writer()({"status": "Analyzing results..."})
    return {}


async def answer(state: State) -> State:
    """Announces the node and emits the pieces."""
    write = get_stream_writer()
    write({"status": "Generating response..."})
    for piece in PIECES:
        write({"delta": piece})
    return {"text": "".join(PIECES)}


builder = StateGraph(State)
builder.add_node("retrieve", retrieve)  # pyright: ignore[reportUnknownMemberType] - LangGraph's overloads
builder.add_node("grade", grade)  # pyright: ignore[reportUnknownMemberType]
builder.add_node("answer", answer)  # pyright: ignore[reportUnknownMemberType]
builder.add_edge(START, "retrieve")
builder.add_edge("retrieve", "grade")
builder.add_edge("grade", "answer")
builder.add_edge("answer", END)
graph = builder.compile()  # pyright: ignore[reportUnknownMemberType]
