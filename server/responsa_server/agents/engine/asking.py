"""Asks the agent's model for small structured answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Generic, Literal, TypeVar, cast

import jsonschema_rs
from pydantic import BaseModel, ValidationError, create_model

from responsa_server.agents.engine.calling import ModelCall, Pricing, may_write, no_price, patience
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.fences import fenced, neutral, unfenced
from responsa_server.agents.engine.node import (
    Announcement,
    ExamplesName,
    Input,
    Node,
    NodeOptions,
    Offered,
    Output,
    OverBudget,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import PromptSet, Untrusted
from responsa_server.agents.engine.rewriting import standalone
from responsa_server.agents.engine.state import Said
from responsa_server.domain import names
from responsa_server.domain.events import Fallback, FallbackKind, Step
from responsa_server.domain.intents import OUT_OF_SCOPE as NO_INTENT
from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Role,
    Stop,
    TextPiece,
)
from responsa_server.domain.tools import ToolCard

Answer = TypeVar("Answer", bound=BaseModel)

PATIENCE_SECONDS: Final = 10.0
"""The most seconds for one call; after that the node uses its own rule."""
_FIRST_WORD: Final = 0.9
COMMON: Final = frozenset({"agent", "language", "questions", "formats"})
"""The trusted variables that every node offers to its prompts."""
_MAX_BYTES: Final = 16 * 1024
_MAX_COMPLAINT: Final = 300


def offered(*trusted: str, untrusted: Sequence[str] = ("question", "history")) -> Offered:
    """The variables that a kind offers to prompts, those of all kinds included."""
    return Offered(COMMON | frozenset(trusted), frozenset(untrusted))


class StructuredInvalid(Exception):
    """A model's answer does not have the required shape, not even after a second request; the message says why, for the log."""


FAILURES: Final = (ModelError, StructuredInvalid, OverBudget)
"""The errors of `ask_typed` after which a node uses its own rule. A turn whose budget is spent can still do that."""


def cause(error: Exception) -> str:
    """The cause of one of FAILURES in a fallback."""
    match error:
        case ModelError():
            return f"model_unavailable:{error.fault.value}"
        case OverBudget():
            return error.cause
        case _:
            return "structured_invalid"


class Shape(Generic[Answer]):
    """The required form of an answer: a Pydantic model without unknown fields. text: its JSON Schema, for a prompt."""

    def __init__(self, output: type[Answer]) -> None:
        self.output = output
        self.schema, self.text, self._validator = _described(output)

    def read(self, text: str, mark: str = "") -> Answer:
        """The answer as the model, without marks of data in its texts. mark: the turn's number in the marks. Raises StructuredInvalid."""
        value = _unfenced(_object(text), mark)
        try:
            self._validator.validate(value)
            return self.output.model_validate(value)
        except jsonschema_rs.ValidationError as error:
            place = "/".join(map(str, error.instance_path))
            raise StructuredInvalid(f"{place or 'the object'}: {error.message}") from error
        except ValidationError as error:
            raise StructuredInvalid(error.errors(include_url=False)[0]["msg"]) from error


# Making the schema takes longer than the rest of a node's construction, and most kinds have one model for all their nodes.
@lru_cache(maxsize=256)
def _described(
    output: type[BaseModel],
) -> tuple[Mapping[str, object], str, jsonschema_rs.Draft202012Validator]:
    """A model's JSON Schema, the same as text, and its validator."""
    schema = cast("dict[str, object]", _untitled(output.model_json_schema()))
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return schema, text, jsonschema_rs.Draft202012Validator(schema)


@dataclass(frozen=True, slots=True)
class Asker:
    """The agent's model, its prompts, and its settings for both. price: of the chain, at the time of a call."""

    model: ChatModel
    prompts: PromptSet
    traits: Traits
    price: Pricing = no_price

    def prompt(
        self,
        run: Run,
        name: str,
        trusted: Mapping[str, object],
        untrusted: Untrusted,
        schema: Mapping[str, object] | None = None,
        *,
        after: Sequence[PromptMessage] = (),
        tools: Sequence[ToolCard] = (),
    ) -> ModelPrompt:
        """A prompt, filled in. Its hints take precedence over the agent's settings, but cannot raise the limit of tokens. after: messages to append. Raises OverBudget, PromptError."""
        common = {
            "agent": self.traits.name,
            "language": "",
            "questions": tuple(self.traits.questions),
            "formats": "",
        }
        messages = [*self.prompts.render(name, {**common, **trusted}, untrusted, run.nonce), *after]
        hints, table = self.prompts.front(name).hints, self.traits.model
        configured = min(hints.max_output_tokens or table.max_output_tokens, table.max_output_tokens)
        return ModelPrompt(
            messages,
            label_of(run),
            tools,
            schema=schema,
            max_tokens=may_write(run, configured, messages, self.price()),
            temperature=hints.temperature if hints.temperature is not None else table.temperature,
            purpose=name,
        )

    async def text(self, prompt: ModelPrompt, run: Run) -> str:
        """The whole answer without marks of data, at most 16 KiB. Raises ModelError."""
        text = unfenced(await self.raw(prompt, run), run.nonce).strip()
        if not text:
            raise ModelError(ModelFault.EMPTY, "no text", model=self.model.name)
        return text

    async def raw(self, prompt: ModelPrompt, run: Run) -> str:
        """The whole answer as the model wrote it. Raises ModelError."""
        told, size = list[str](), 0
        seconds = patience(run, PATIENCE_SECONDS) or 0.0
        # A silent model is given up a little earlier, so that the next one of the chain has some of the time.
        prompt = replace(prompt, patience_seconds=_FIRST_WORD * seconds)
        try:
            async with (
                asyncio.timeout(seconds),
                aclosing(ModelCall(self.model, prompt, run, self.price).pieces()) as pieces,
            ):
                async for piece in pieces:
                    if isinstance(piece, TextPiece):
                        told.append(piece.text)
                        size += len(piece.text.encode())
                        if size > _MAX_BYTES:
                            raise ModelError(
                                ModelFault.MALFORMED, "more than was asked for", model=self.model.name
                            )
                    elif isinstance(piece, Ended) and piece.stop is Stop.UNSAFE:
                        raise ModelError(ModelFault.REFUSED, "it will not say it", model=self.model.name)
        except TimeoutError as error:
            raise ModelError(
                ModelFault.TIMEOUT, f"no end within {seconds:g} s", model=self.model.name
            ) from error
        text = "".join(told).replace("\x00", "\ufffd").strip()
        if not text:
            raise ModelError(ModelFault.EMPTY, "no text", model=self.model.name)
        return text


async def ask_typed(
    asker: Asker,
    run: Run,
    name: str,
    shape: Shape[Answer],
    trusted: Mapping[str, object],
    untrusted: Untrusted,
) -> Answer:
    """Ask for an answer of a shape with the prompt `name`; if the answer has another shape, ask once more and say what is wrong.

    Raises StructuredInvalid, ModelError, OverBudget (the node then uses its own rule), PromptError.
    """
    prompt = asker.prompt(run, name, {**trusted, "formats": shape.text}, untrusted, shape.schema)
    text = await asker.raw(prompt, run)
    try:
        return shape.read(text, run.nonce)
    except StructuredInvalid as error:
        complaint = fenced("complaint", str(error)[:_MAX_COMPLAINT], run.nonce)
    # The answer goes back in the model's role; the complaint, which quotes it, goes back as data.
    messages = [
        *prompt.messages,
        PromptMessage(Role.ASSISTANT, neutral(text)),
        PromptMessage(
            Role.USER,
            f"That is not what was asked for:\n{complaint}\nAnswer again with one JSON object that fits the schema, and nothing else.",
        ),
    ]
    most = may_write(run, prompt.max_tokens, messages, asker.price())
    return shape.read(await asker.raw(replace(prompt, messages=messages, max_tokens=most), run), run.nonce)


def label_of(run: Run) -> str:
    """The label of a request in the provider's logs."""
    return names.turn(run.turn_id) if run.turn_id is not None else ""


def _object(text: str) -> Any:
    """The JSON object in a text, without surroundings such as a code fence. Raises StructuredInvalid."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise StructuredInvalid("there is no JSON object")
    try:
        return json.loads(text[start : end + 1])
    except (ValueError, RecursionError) as error:
        raise StructuredInvalid(f"it is no JSON: {error}") from error


def _unfenced(value: object, mark: str) -> object:
    """A JSON value without marks in its texts. Marks may have been escaped in the JSON."""
    if isinstance(value, str):
        return unfenced(value, mark)
    if isinstance(value, dict):
        return {key: _unfenced(one, mark) for key, one in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_unfenced(one, mark) for one in cast("list[object]", value)]
    return value


def _untitled(value: object) -> object:
    """A schema without Pydantic's generated titles."""
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return {key: _untitled(one) for key, one in pairs if not (key == "title" and isinstance(one, str))}
    if isinstance(value, list):
        return [_untitled(one) for one in cast("list[object]", value)]
    return value


OUT_OF_SCOPE: Final = "out_of_scope"
"""The intent, and the category, of a message that has none of the others."""
OFFERED: Final = offered("categories", "examples")
"""The variables for the prompts of these nodes."""
_LAST: Final = 4
"""How many earlier messages a model is shown."""
_SHOWN_EXAMPLES: Final = 4


class DecidingOptions(NodeOptions):
    """examples: a file; the classifier is trained with all of them, and a model is shown a few. prompt: to ask a model first."""

    examples: ExamplesName
    prompt: PromptName = ""


class DecidingNode(Node[Input, Output]):
    """Base of the nodes that make a small decision about a message: by a model, else by a classifier, else by a rule.

    asker, classifier: None for none. examples: those that the classifier was trained with.
    """

    announcement = Announcement(Step.ROUTING, "Classifying your query...")
    has_rule = True
    # The calls have their own time limits, and a decision without a model is quickly repeated.
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
        """The answer of a model; None without a model, and after a failure or without a budget, which the run records. Raises PromptError."""
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
    """Whether, by rule, a question refers to earlier messages."""
    return standalone(question, history) is not None


def choice(shape: type[Answer], field: str, labels: Sequence[str]) -> Shape[Answer]:
    """A shape whose field is one of the labels."""
    kind: Any = Literal[tuple(labels)]
    make: Any = create_model  # its types know no names of fields but those that are written out
    return Shape(make(shape.__name__, __base__=shape, **{field: (kind, ...)}))


def few(examples: Sequence[Example]) -> Sequence[Mapping[str, str]]:
    """The first examples of each label, for a prompt. They are trusted, as a part of the agent."""
    shown: dict[str, list[str]] = {}
    for one in examples:
        texts = shown.setdefault(OUT_OF_SCOPE if one.label in NO_INTENT else one.label, [])
        if len(texts) < _SHOWN_EXAMPLES:
            texts.append(one.text)
    return tuple({"text": text, "label": label} for label, texts in shown.items() for text in texts)
