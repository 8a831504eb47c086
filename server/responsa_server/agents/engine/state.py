"""The state of a graph: plain values that msgpack can store, and the messages that a turn reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypedDict, cast

import ormsgpack
from pydantic import TypeAdapter

from responsa_server.agents.engine.config import BYTES_A_TOKEN
from responsa_server.agents.engine.node import OBJECTS, NodeModel, Plain
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.turns import EarlierMessage


class StateMessage(NodeModel):
    """A message of the conversation, as the state holds it.

    titles: the titles of the documents that the message cites, without repetitions. id: the message's id; "" if no node needs it.
    """

    speaker: Speaker
    text: str
    titles: tuple[str, ...] = ()
    refused: bool = False
    id: str = ""


class GraphState(TypedDict, total=False):
    """The keys that every graph's state may have. A graph's nodes may add further keys. The nodes' models define the
    types of the plain values.

    text: the part of the answer that finished nodes have written. complete: whether the model finished its text. calls: the
    tools to call. results: the results of the calls so far.

    Only the engine writes the following keys. steps: the number of nodes that ran. visits: how often each limited edge was
    taken. bytes_sent: how many bytes of the text were sent. fallbacks: the fallbacks so far. diverted: the next node if it
    differs from the one that the routes give; otherwise "".
    """

    question: str
    collections: Sequence[str]
    document_filter: str
    history: Sequence[Plain]
    standalone_question: str
    evidence: Plain
    ranking: Plain
    answer: Plain
    refusal: Plain
    text: str
    complete: bool
    calls: Sequence[Plain]
    results: Sequence[Plain]
    older: Sequence[Plain]
    parameters: Plain
    steps: int
    visits: Mapping[str, int]
    bytes_sent: int
    fallbacks: Sequence[Plain]
    diverted: str


TASK_KEYS: Final = frozenset({"question", "collections", "document_filter", "history", "older", "parameters"})
"""The fields that every attempt gets from its task. Milestones leave these fields out."""

ENGINE_KEYS: Final = frozenset({"steps", "visits", "bytes_sent", "fallbacks", "diverted"})
"""The fields that only the engine writes."""

KNOWN_KEYS: Final = frozenset(GraphState.__annotations__)

_FORMAT: Final = b"\x01"
_ADAPTERS: Final = [TypeAdapter[Any](kind) for kind in OBJECTS]
# With these options, a value that is not plain is an error when a milestone is written, and not only after a takeover.
_STRICT: Final = (
    ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class StateError(Exception):
    """A state cannot be stored, or this version cannot continue from stored bytes. The message gives the reason."""


def to_milestone(next_node: str, state: Plain) -> bytes:
    """The bytes of a milestone: the format's number, then msgpack of the next node and of the state without the task's fields.

    Raises StateError.
    """
    try:
        plain = {key: _pack(value) for key, value in state.items() if key not in TASK_KEYS}
        return _FORMAT + ormsgpack.packb([next_node, plain], option=_STRICT)
    except ormsgpack.MsgpackEncodeError as error:
        raise StateError(f"the state before the node {next_node} cannot be kept: {error}") from error


def _pack(value: object) -> object:
    """A value of the state; an object as an extension of msgpack, by its place in OBJECTS."""
    if not isinstance(value, OBJECTS):
        return value
    data = ormsgpack.packb(value, default=_inner, option=ormsgpack.OPT_NON_STR_KEYS)
    return ormsgpack.Ext(OBJECTS.index(type(value)), data)


def _inner(value: Any) -> object:
    """What an `Evidence.content` keeps of itself (to ask `isinstance` of a protocol is dear), or the items of a set."""
    return value.kept if hasattr(value, "kept") else [*cast("Iterable[object]", value)]


def restore(milestone: bytes, keys: Collection[str] = KNOWN_KEYS) -> tuple[str, GraphState]:
    """The next node and the state of a milestone, whose evidence must be read again. keys: the keys that the graph's
    state may have. Raises StateError."""
    if milestone[:1] != _FORMAT:
        raise StateError(
            f"the milestone has the format {milestone[:1].hex() or '(none)'}, not {_FORMAT.hex()}"
        )
    try:
        unpacked: object = ormsgpack.unpackb(
            milestone[1:],
            ext_hook=lambda tag, data: _ADAPTERS[tag].validate_python(ormsgpack.unpackb(data)),
        )
    except ValueError as error:
        raise StateError(f"the milestone is not valid msgpack: {error}") from error
    parts = cast("list[object]", unpacked) if isinstance(unpacked, list) else []
    if len(parts) != 2 or not isinstance(parts[0], str) or not isinstance(parts[1], dict):
        raise StateError("the milestone does not consist of a node and a state")
    next_node, stored = parts[0], cast("dict[str, object]", parts[1])
    if unknown := set(stored) - (set(keys) - TASK_KEYS):
        raise StateError(f"the milestone's state has unknown keys: {', '.join(sorted(unknown))}")
    return next_node, cast("GraphState", cast("object", stored))


def to_plain(message: Message) -> Plain:
    """A message as plain state."""
    titles = tuple(dict.fromkeys(citation.title for citation in message.citations if citation.title))
    model = StateMessage(
        speaker=message.speaker,
        text=message.text,
        titles=titles,
        refused=message.refusal is not None,
        id=str(message.id),
    )
    return model.model_dump(mode="json")


def plain_fallback(fallback: Fallback) -> Plain:
    """A fallback as plain state."""
    return {
        "kind": fallback.kind.value,
        "source": fallback.source,
        "target": fallback.target,
        "cause": fallback.cause,
    }


def fallbacks_of(state: Plain) -> Sequence[Fallback]:
    """The fallbacks of a run, in order and without repetitions."""
    rows = cast("Sequence[Mapping[str, str]]", state.get("fallbacks", ()))
    each = (Fallback(FallbackKind(row["kind"]), row["source"], row["target"], row["cause"]) for row in rows)
    return list(dict.fromkeys(each))


def before(
    earlier_messages: Sequence[EarlierMessage], history: Sequence[Message], *, messages: int, tokens: int
) -> Sequence[Plain]:
    """The last of the messages before the conversation's own, as plain state, oldest first: as many as fit. messages,
    tokens: the limits of these and the conversation's messages together, as in `divide`.
    """
    left = tokens * BYTES_A_TOKEN - sum(len(message.text.encode()) for message in history)
    selected: list[Plain] = []
    for message in reversed(earlier_messages):
        left -= len(message.text.encode())
        if len(selected) + len(history) >= messages or (tokens and left < 0):
            break
        selected.append(StateMessage(speaker=message.speaker, text=message.text).model_dump(mode="json"))
    return selected[::-1]


def divide(
    history: Sequence[Message], *, messages: int, tokens: int, older: int
) -> tuple[Sequence[Message], Sequence[Message]]:
    """The messages to read in full, and the earlier messages to summarise. Both are in order, oldest first.

    messages: the maximum number of messages to read in full. tokens: the maximum number of tokens in these messages; 0 for no
    limit. older: the maximum number of messages to summarise. The last message is always read in full, however long it is.
    """
    full = list(history[-messages:]) if messages else []
    if tokens:
        left = tokens * BYTES_A_TOKEN
        for index in range(len(full) - 1, -1, -1):
            left -= len(full[index].text.encode())
            if left < 0 and index < len(full) - 1:
                full = full[index + 1 :]
                break
    before = history[: len(history) - len(full)]
    return full, list(before[-older:]) if older else []
