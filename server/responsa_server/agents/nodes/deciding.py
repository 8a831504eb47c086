"""The nodes that make decisions about a message: its intent, its category, whether it needs documents, and the next node
of the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, JsonValue, create_model

from responsa_server.agents.engine.asking import FAILURES, Answer, AnswerShape, ask_typed, cause, offer
from responsa_server.agents.engine.config import Texts
from responsa_server.agents.engine.kinds import NodeKind, NodeParts
from responsa_server.agents.engine.node import (
    Announcement,
    ExamplesName,
    Input,
    Node,
    NodeModel,
    NodeOptions,
    Output,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted, neutral
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Fallback, FallbackKind, Step
from responsa_server.domain.intents import OUT_OF_SCOPE as NO_INTENT
from responsa_server.domain.intents import Example
from responsa_server.domain.people import with_files

OUT_OF_SCOPE: Final = "out_of_scope"
"""The intent or category of a message to which no other label applies."""
OFFERED: Final = offer("categories", "examples")
"""The variables for the prompts of these nodes."""
_LAST: Final = 4
"""How many earlier messages a model reads."""
_SHOWN_EXAMPLES: Final = 4


class DecidingOptions(NodeOptions):
    """examples: the file of examples. The classifier is trained with all examples, and a model's prompt shows a few of them.
    prompt: the prompt with which to ask a model first; "" to ask no model.
    """

    examples: ExamplesName
    prompt: PromptName = ""


class DecidingNode(Node[Input, Output]):
    """Base of the nodes that make a small decision about a message. A model decides; without a model's answer, a classifier
    decides; without a classifier, a rule decides.
    """

    talk: ClassVar = ""
    """The label of examples of small talk."""

    announcement = Announcement(Step.ROUTING, "Classifying your query...")
    has_rule = True
    # The calls have their own time limits.
    policy = Policy(timeout_seconds=60.0)

    def __init__(self, parts: NodeParts, options: DecidingOptions, name: str) -> None:
        self.name = name
        self._parts = parts
        self._prompt = options.prompt
        self._asker = parts.deciding_asker(options.prompt)
        self.calls_model = self._asker is not None
        self._classifier = parts.classifiers.get(options.examples)
        examples = parts.examples.get(options.examples, ())
        self._examples = few(examples)
        talk = (example.text for example in examples if example.label == self.talk)
        self._talk = frozenset(_fold(word) for text in talk for word in text.split())

    async def _is_in_documents(self, question: str, named: tuple[str, ...], run: Run) -> bool:
        """Whether documents have a rare word of the message that no example of small talk has, as at least half of its
        words. named: the collections that the request names."""
        every = question.split()
        words = [word for word in every if _fold(word) not in self._talk]
        if self._parts.source is None or 2 * len(words) < len(every):
            return False
        usual = self._parts.traits.retrieval.collections
        where = named or (with_files(run.caller, usual) if usual else ())
        try:
            return await self._parts.source.has_rare_word(run.caller, " ".join(words), where)
        except Unavailable:  # nothing can be searched
            return False

    def _goes_on(self, history: Sequence[StateMessage]) -> bool:
        """Whether a message may refer to earlier ones, if no model has decided that: a model rewrites it then, or leaves
        it; without one, the search adds the question before."""
        return self._parts.model is not None and bool(history)

    async def _ask(
        self,
        run: Run,
        shape: AnswerShape[Answer],
        categories: Sequence[str],
        question: str,
        history: Sequence[StateMessage],
    ) -> Answer | None:
        """A model's answer; None if there is no model. The result is also None after a failure or if the budget is
        spent, and the run then records a fallback. Raises PromptError.
        """
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


def _fold(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold()


def choice(shape: type[Answer], field: str, labels: Sequence[str]) -> AnswerShape[Answer]:
    """A shape whose field `field` must be one of the labels."""
    kind: Any = Literal[tuple(labels)]
    make: Any = create_model  # the type hints of `create_model` do not allow field names from variables
    return AnswerShape(make(shape.__name__, __base__=shape, **{field: (kind, ...)}))


def few(examples: Sequence[Example]) -> Sequence[Mapping[str, str]]:
    """The first examples of each label, for a prompt. The examples are trusted, because they are part of the agent."""
    shown: dict[str, list[str]] = {}
    for example in examples:
        texts = shown.setdefault(OUT_OF_SCOPE if example.label in NO_INTENT else example.label, [])
        if len(texts) < _SHOWN_EXAMPLES:
            texts.append(neutral(example.text))
    return tuple({"text": text, "label": label} for label, texts in shown.items() for text in texts)


QA: Final = "qa"
"""The intent of every message if the node has no classifier and the agent has this intent."""
POST: Final = "post"
LINKEDIN: Final = "linkedin"
"""An intent. In the parameter `intent`, this name also stands for `post` if the agent has no intent `linkedin`."""


class IntentOptions(DecidingOptions):
    """intents: the possible intents."""

    intents: Annotated[Texts, Field(min_length=1, max_length=32)] = (
        "chitchat",
        QA,
        POST,
    )


class IntentInput(NodeModel):
    """The message, the collections that its request names, the history, and the question's parameters."""

    question: str
    collections: tuple[str, ...] = ()
    history: tuple[StateMessage, ...] = ()
    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class IntentOutput(NodeModel):
    """intent: one of the options, or out_of_scope. follow_up: whether the message refers to earlier messages."""

    intent: str
    follow_up: bool


class RouteShape(NodeModel):
    """The model's reply. The options list the values that `intent` may have."""

    intent: str
    follow_up: bool


class IntentRouter(DecidingNode[IntentInput, IntentOutput]):
    """Takes the intent from the parameter `intent`. Without this parameter, the node asks a model; without the model's
    answer, it asks the classifier.
    """

    input_model = IntentInput
    output_model = IntentOutput
    talk = "chitchat"

    def __init__(self, parts: NodeParts, options: IntentOptions, name: str) -> None:
        super().__init__(parts, options, name)
        self._intents = tuple(options.intents)
        self._shape = choice(RouteShape, "intent", (*self._intents, OUT_OF_SCOPE))

    async def process(self, inputs: IntentInput, run: Run) -> IntentOutput:
        """Choose. A model's failure never fails the node."""
        follow_up = self._goes_on(inputs.history)
        chosen = inputs.parameters.get("intent")
        wanted = POST if chosen == LINKEDIN and LINKEDIN not in self._intents else chosen
        if isinstance(wanted, str) and wanted in self._intents:
            return IntentOutput(intent=wanted, follow_up=follow_up)
        answer = await self._ask(run, self._shape, self._intents, inputs.question, inputs.history)
        if answer is not None:
            return IntentOutput(intent=answer.intent, follow_up=answer.follow_up and bool(inputs.history))
        intent = await self._classify(inputs.question)
        if intent == self.talk and await self._is_in_documents(inputs.question, inputs.collections, run):
            intent = QA
        return IntentOutput(intent=intent, follow_up=follow_up)

    async def _classify(self, text: str) -> str:
        if self._classifier is None:
            return QA if QA in self._intents else self._intents[0]
        result = await self._classifier.classify(text)
        return result.label if result.in_scope and result.label in self._intents else OUT_OF_SCOPE


INTENT_ROUTER: Final = NodeKind(
    IntentRouter,
    IntentInput,
    IntentOutput,
    IntentOptions,
    offers=OFFERED,
    labels=lambda options: options.intents,
)


class CategoryOptions(DecidingOptions):
    """examples: a file whose labels are the categories."""


class CategoryInput(NodeModel):
    """The question."""

    question: str
    standalone_question: str = ""
    history: tuple[StateMessage, ...] = ()


class CategoryOutput(NodeModel):
    """category: the question's category; "" if it is unknown."""

    category: str


class CategoryShape(NodeModel):
    """The model's reply. The examples give the values that `category` may have."""

    category: str


class QuestionCategoriser(DecidingNode[CategoryInput, CategoryOutput]):
    """Asks a model for the category; without a model's answer, asks the classifier."""

    input_model = CategoryInput
    output_model = CategoryOutput

    def __init__(self, parts: NodeParts, options: CategoryOptions, name: str) -> None:
        super().__init__(parts, options, name)
        known = () if self._classifier is None else self._classifier.labels
        shown = (example.label for example in parts.examples.get(options.examples, ()))
        self._labels = tuple(sorted({*known, *shown} - NO_INTENT))
        # Without categories, the node asks no model.
        self.calls_model = self.calls_model and bool(self._labels)
        self._shape = choice(CategoryShape, "category", self._labels) if self.calls_model else None

    async def process(self, inputs: CategoryInput, run: Run) -> CategoryOutput:
        """Choose. A model's failure never fails the node."""
        question = inputs.standalone_question or inputs.question
        if self._shape is not None:
            answer = await self._ask(run, self._shape, self._labels, question, inputs.history)
            if answer is not None:
                return CategoryOutput(category=answer.category)
        if self._classifier is None:
            return CategoryOutput(category="")
        decided = await self._classifier.classify(question)
        return CategoryOutput(category=decided.label if decided.in_scope else "")


QUESTION_CATEGORISER: Final = NodeKind(
    QuestionCategoriser, CategoryInput, CategoryOutput, CategoryOptions, offers=OFFERED
)


RETRIEVE: Final = "retrieve"
DIRECT: Final = "direct"


class NeedOptions(DecidingOptions):
    """examples: a file with the labels `retrieve` and `direct`. sure: the least confidence with which the classifier decides that a
    message needs no documents; a model's decision needs none.
    """

    sure: Annotated[float, Field(ge=0.5, le=1)] = 0.5


class NeedInput(NodeModel):
    """The message, the collections that its request names, and the history."""

    question: str
    collections: tuple[str, ...] = ()
    history: tuple[StateMessage, ...] = ()


class NeedOutput(NodeModel):
    """needs_retrieval: whether to search the documents. follow_up: whether the message refers to earlier messages."""

    needs_retrieval: bool
    follow_up: bool


class NeedShape(NodeModel):
    """The model's reply."""

    needs_retrieval: bool
    follow_up: bool


_SHAPE: Final = AnswerShape(NeedShape)


class RetrievalNeed(DecidingNode[NeedInput, NeedOutput]):
    """Asks a model whether a message needs documents; without a model's answer, asks the classifier. In doubt, or if a message resembles
    no example, documents are searched, because one may contain the answer; also if they have a rare word of it that no
    example of small talk has.
    """

    input_model = NeedInput
    output_model = NeedOutput
    talk = DIRECT

    def __init__(self, parts: NodeParts, options: NeedOptions, name: str) -> None:
        super().__init__(parts, options, name)
        self._sure = options.sure

    async def process(self, inputs: NeedInput, run: Run) -> NeedOutput:
        """Decide. A model's failure never fails the node."""
        answer = await self._ask(run, _SHAPE, (RETRIEVE, DIRECT), inputs.question, inputs.history)
        if answer is not None:
            return NeedOutput(
                needs_retrieval=answer.needs_retrieval, follow_up=answer.follow_up and bool(inputs.history)
            )
        follow_up = self._goes_on(inputs.history)
        if self._classifier is None:
            return NeedOutput(needs_retrieval=True, follow_up=follow_up)
        decided = await self._classifier.classify(inputs.question)
        direct = decided.in_scope and decided.label == DIRECT and decided.confidence >= self._sure
        needs = not direct or await self._is_in_documents(inputs.question, inputs.collections, run)
        return NeedOutput(needs_retrieval=needs, follow_up=follow_up)


RETRIEVAL_NEED: Final = NodeKind(
    RetrievalNeed,
    NeedInput,
    NeedOutput,
    NeedOptions,
    offers=OFFERED,
    labels=lambda _: (RETRIEVE, DIRECT),
)
