"""The state that travels through the graph: plain values that msgpack can carry, with the models that give them types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from responsa_server.domain.conversations import Message, Speaker
from responsa_server.graph.node import NodeModel, Plain


class Said(NodeModel):
    """A message of the conversation as the graph reads it. titles: of the documents that it cites, each once."""

    speaker: Speaker
    text: str
    titles: tuple[str, ...] = ()
    refused: bool = False


class GraphState(TypedDict, total=False):
    """Every key that a node reads or writes. The types behind the plain values are in the nodes' models."""

    question: str
    collections: Sequence[str]
    history: Sequence[Plain]
    standalone_question: str
    evidence: Plain
    extraction: Plain
    embedding_tokens: int
    answer: Plain
    refusal: Plain


def said(message: Message) -> Plain:
    """A message as plain state."""
    titles = tuple(dict.fromkeys(one.title for one in message.citations if one.title))
    model = Said(
        speaker=message.speaker, text=message.text, titles=titles, refused=message.refusal is not None
    )
    return model.model_dump(mode="json")
