"""The state that travels through the graph: plain values that msgpack can carry, with the models that give them types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypedDict, cast

import ormsgpack

from responsa_server.domain.conversations import Message, Speaker
from responsa_server.graph.node import NodeModel, Plain


class Said(NodeModel):
    """A message of the conversation as the graph reads it. titles: of the documents that it cites, each once."""

    speaker: Speaker
    text: str
    titles: tuple[str, ...] = ()
    refused: bool = False


class GraphState(TypedDict, total=False):
    """Every key that a node reads or writes. The types behind the plain values are in the nodes' models.

    text: of the answer, as far as deltas of it were told by nodes that have finished; complete: whether the model said all that it wanted to.
    calls: tools that are to be called; results: what came of those that were.
    """

    question: str
    collections: Sequence[str]
    history: Sequence[Plain]
    standalone_question: str
    evidence: Plain
    extraction: Plain
    answer: Plain
    refusal: Plain
    text: str
    complete: bool
    calls: Sequence[Plain]
    results: Sequence[Plain]


TASK_KEYS: Final = frozenset({"question", "collections", "history"})
"""What the task gives to every attempt, so that no milestone need keep it."""

_FORMAT: Final = b"\x01"
# No type is guessed at: what is not a plain value is refused here, and not found out by the worker that takes over.
_STRICT: Final = (
    ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class StateError(Exception):
    """A state holds what cannot be kept, or kept bytes are no state that this version can go on from; the message says which."""


def kept(next_node: str, state: Plain) -> bytes:
    """A milestone's bytes: the format's number, then msgpack of the node to go on at and the state without what the task gives. Raises StateError."""
    plain = {key: value for key, value in state.items() if key not in TASK_KEYS}
    try:
        return _FORMAT + ormsgpack.packb([next_node, plain], option=_STRICT)
    except ormsgpack.MsgpackEncodeError as error:
        raise StateError(f"the state before the node {next_node} cannot be kept: {error}") from error


def restored(milestone: bytes) -> tuple[str, GraphState]:
    """The node to go on at and the state, as `kept` was given them. Raises StateError."""
    if milestone[:1] != _FORMAT:
        raise StateError(
            f"the milestone has the format {milestone[:1].hex() or 'of nothing'}, not {_FORMAT.hex()}"
        )
    try:
        found: object = ormsgpack.unpackb(milestone[1:])
    except ormsgpack.MsgpackDecodeError as error:
        raise StateError(f"the milestone is no msgpack: {error}") from error
    parts = cast("list[object]", found) if isinstance(found, list) else []
    if len(parts) != 2 or not isinstance(parts[0], str) or not isinstance(parts[1], dict):
        raise StateError("the milestone is not a node and a state")
    next_node, plain = parts[0], cast("dict[str, object]", parts[1])
    if unknown := set(plain) - (set(GraphState.__annotations__) - TASK_KEYS):
        raise StateError(f"the milestone's state has unknown keys: {', '.join(sorted(unknown))}")
    return next_node, cast("GraphState", cast("object", plain))


def merged(state: Plain, output: Plain) -> Mapping[str, object]:
    """The state after a node."""
    return {**state, **output}


def said(message: Message) -> Plain:
    """A message as plain state."""
    titles = tuple(dict.fromkeys(one.title for one in message.citations if one.title))
    model = Said(
        speaker=message.speaker, text=message.text, titles=titles, refused=message.refusal is not None
    )
    return model.model_dump(mode="json")
