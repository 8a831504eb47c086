"""Recognises the intent of a message, for edges to test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from responsa_server.agents.engine.asking import (
    OFFERED,
    OUT_OF_SCOPE,
    Asker,
    DecidingNode,
    DecidingOptions,
    choice,
    refers_back,
)
from responsa_server.agents.engine.config import Texts
from responsa_server.agents.engine.kinds import NodeKind, from_examples
from responsa_server.agents.engine.node import NodeModel, Run
from responsa_server.agents.engine.state import Said
from responsa_server.domain.intents import Example, IntentClassifier

QA: Final = "qa"
"""What a message without a classifier is taken for, if the agent has this intent."""
POST: Final = "post"
LINKEDIN: Final = "linkedin"
"""Another name for the intent `post` in the parameter."""


class IntentOptions(DecidingOptions):
    """intents: the possible ones."""

    intents: Annotated[Texts, Field(min_length=1, max_length=32)] = (
        "chitchat",
        QA,
        POST,
    )


class IntentInput(NodeModel):
    """The message, the history, and the question's parameters."""

    question: str
    history: tuple[Said, ...] = ()
    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class IntentOutput(NodeModel):
    """intent: one of the options, or out_of_scope. follow_up: whether the message refers to earlier ones."""

    intent: str
    follow_up: bool


class RouteShape(BaseModel):
    """What a model answers; `intent` has its values from the options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: str
    follow_up: bool


class IntentRouter(DecidingNode[IntentInput, IntentOutput]):
    """Decides by the parameter `intent`, else by a model, else by the classifier."""

    input_model = IntentInput
    output_model = IntentOutput

    def __init__(
        self,
        name: str,
        options: IntentOptions,
        asker: Asker | None = None,
        classifier: IntentClassifier | None = None,
        examples: Sequence[Example] = (),
    ) -> None:
        super().__init__(name, options, asker, classifier, examples)
        self._intents = tuple(options.intents)
        self._shape = choice(RouteShape, "intent", (*self._intents, OUT_OF_SCOPE))

    async def process(self, given: IntentInput, run: Run) -> IntentOutput:
        """Choose. A model's failure never fails the node."""
        follow_up = refers_back(given.question, given.history)
        chosen = given.parameters.get("intent")
        wanted = POST if chosen == LINKEDIN else chosen
        if isinstance(wanted, str) and wanted in self._intents:
            return IntentOutput(intent=wanted, follow_up=follow_up)
        found = await self._asked(run, self._shape, self._intents, given.question, given.history)
        if found is not None:
            return IntentOutput(intent=found.intent, follow_up=found.follow_up and bool(given.history))
        return IntentOutput(intent=await self._classified(given.question), follow_up=follow_up)

    async def _classified(self, text: str) -> str:
        if self._classifier is None:
            return QA if QA in self._intents else self._intents[0]
        found = await self._classifier.classify(text)
        return found.label if found.in_scope and found.label in self._intents else OUT_OF_SCOPE


def values(options: IntentOptions) -> Mapping[str, Sequence[str]]:
    """The possible values of the node's outputs."""
    return {"intent": [*options.intents, OUT_OF_SCOPE]}


KIND: Final = NodeKind(
    from_examples(IntentRouter),
    IntentInput,
    IntentOutput,
    IntentOptions,
    offers=OFFERED,
    values=values,
    labels=lambda options: options.intents,
)
