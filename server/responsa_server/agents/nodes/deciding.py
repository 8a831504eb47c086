"""What nodes share that decide something small about a message: by a model, with examples, else by a classifier or a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, create_model

from responsa_server.agents.engine.node import Announcement, Input, Node, Output, Policy, Run
from responsa_server.agents.engine.options import ExamplesName, NodeOptions, PromptName
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.engine.rewriting import standalone
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.asking import FAILURES, Asker, Shape, ask_typed, cause, offered
from responsa_server.domain.events import Fallback, FallbackKind, Intent, Step
from responsa_server.domain.ports.intents import OUT_OF_SCOPE as NO_INTENT
from responsa_server.domain.ports.intents import Example, IntentClassifier

OUT_OF_SCOPE: Final = Intent.OUT_OF_SCOPE.value
OFFERED: Final = offered("categories", "examples")
"""What a prompt of these nodes may speak of."""
_LAST: Final = 4
"""So many messages before it tell what a message is about."""
_SHOWN_EXAMPLES: Final = 4

Answer = TypeVar("Answer", bound=BaseModel)


class DecidingOptions(NodeOptions):
    """examples: what the classifier was trained with, and a model is shown a few of. prompt: to ask a model first."""

    examples: ExamplesName
    prompt: PromptName = ""


class Deciding(Node[Input, Output]):
    """Base of these nodes. asker: None asks no model. classifier: None leaves a rule. examples: as the classifier was trained with."""

    announcement = Announcement(Step.ROUTING, "Classifying your query...")
    has_rule = True
    # The two calls have limits of their own, and what came of them without a model is had again in no time.
    policy = Policy(timeout_seconds=60.0, keep_after_seconds=1.0)

    def __init__(
        self,
        name: str,
        options: DecidingOptions,
        asker: Asker | None = None,
        classifier: IntentClassifier | None = None,
        examples: Sequence[Example] = (),
    ) -> None:
        self.name = name
        self.calls_model = asker is not None
        self._asker = asker
        self._prompt = options.prompt
        self._classifier = classifier
        self._examples = few(examples)

    async def _asked(
        self,
        run: Run,
        shape: Shape[Answer],
        categories: Sequence[str],
        question: str,
        history: Sequence[Said],
    ) -> Answer | None:
        """What a model answers; None where none is asked, and where it fails, or the turn has nothing left for it, which is noted in the run. Raises PromptError."""
        if self._asker is None:
            return None
        trusted = {"categories": categories, "examples": self._examples}
        untrusted = Untrusted(question, history[-_LAST:])
        try:
            return await ask_typed(self._asker, run, self._prompt, shape, trusted, untrusted)
        except FAILURES as error:
            kind = FallbackKind.RULE if self._classifier is None else FallbackKind.CLASSIFIER
            run.fell_back(Fallback(kind, self._asker.model.name, self.name, cause(error)))
            return None


def refers_back(question: str, history: Sequence[Said]) -> bool:
    """By rule: whether a question needs what was said before it."""
    return standalone(question, history) is not None


def choice(shape: type[Answer], field: str, labels: Sequence[str]) -> Shape[Answer]:
    """A shape in which a field is one of some labels."""
    kind: Any = Literal[tuple(labels)]
    make: Any = create_model  # its types know no names of fields but those that are written out
    return Shape(make(shape.__name__, __base__=shape, **{field: (kind, ...)}))


def few(examples: Sequence[Example]) -> Sequence[Mapping[str, str]]:
    """The first examples of each label, for a prompt; whoever made the agent has written them."""
    shown: dict[str, list[str]] = {}
    for one in examples:
        texts = shown.setdefault(OUT_OF_SCOPE if one.label in NO_INTENT else one.label, [])
        if len(texts) < _SHOWN_EXAMPLES:
            texts.append(one.text)
    return tuple({"text": text, "label": label} for label, texts in shown.items() for text in texts)
