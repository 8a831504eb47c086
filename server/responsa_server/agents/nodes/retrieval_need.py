"""Decides whether a message needs documents, and whether it refers to earlier messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from responsa_server.agents.engine.asking import OFFERED, DecidingNode, DecidingOptions, Shape, refers_back
from responsa_server.agents.engine.kinds import NodeKind, from_examples
from responsa_server.agents.engine.node import NodeModel, Run
from responsa_server.agents.engine.rewriting import content_words
from responsa_server.agents.engine.state import Said
from responsa_server.domain.intents import IntentClassifier

RETRIEVE: Final = "retrieve"
DIRECT: Final = "direct"


class NeedOptions(DecidingOptions):
    """examples: a file with the labels `retrieve` and `direct`."""


class NeedInput(NodeModel):
    """The message and the history."""

    question: str
    history: tuple[Said, ...] = ()


class NeedOutput(NodeModel):
    """needs_retrieval: whether to search the documents. follow_up: whether the message refers to earlier ones."""

    needs_retrieval: bool
    follow_up: bool


class NeedShape(BaseModel):
    """What a model answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs_retrieval: bool
    follow_up: bool


_SHAPE: Final = Shape(NeedShape)


class RetrievalNeed(DecidingNode[NeedInput, NeedOutput]):
    """Decides by a model, else by the classifier. In doubt, documents are searched."""

    input_model = NeedInput
    output_model = NeedOutput

    async def process(self, given: NeedInput, run: Run) -> NeedOutput:
        """Decide. A model's failure never fails the node."""
        found = await self._asked(run, _SHAPE, (RETRIEVE, DIRECT), given.question, given.history)
        if found is not None:
            return NeedOutput(
                needs_retrieval=found.needs_retrieval, follow_up=found.follow_up and bool(given.history)
            )
        return await need(given.question, given.history, self._classifier)


async def need(
    question: str, history: Sequence[Said], classifier: IntentClassifier | None = None
) -> NeedOutput:
    """The decision without a model. A message unlike all examples is searched for, since a document may be about it."""
    follow_up = refers_back(question, history)
    if classifier is None:
        return NeedOutput(needs_retrieval=follow_up or content_words(question) > 0, follow_up=follow_up)
    decided = await classifier.classify(question)
    return NeedOutput(needs_retrieval=not (decided.in_scope and decided.label == DIRECT), follow_up=follow_up)


KIND: Final = NodeKind(
    from_examples(RetrievalNeed),
    NeedInput,
    NeedOutput,
    NeedOptions,
    offers=OFFERED,
    labels=lambda _: (RETRIEVE, DIRECT),
)
