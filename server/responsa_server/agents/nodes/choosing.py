"""Chooses tools for a message and takes their arguments from it: with a model's help, or by examples and rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Literal, cast
from uuid import UUID

from pydantic import Field, JsonValue, create_model

from responsa_server.agents.engine.asked import asks, names_the_web
from responsa_server.agents.engine.asking import FAILURES, Asker, Shape, ask_typed, cause, offered
from responsa_server.agents.engine.calling import CallModel, ResultModel, argument_problem
from responsa_server.agents.engine.dividing import asks_for_total, clauses_of, questions_of, worded
from responsa_server.agents.engine.filling import (
    CALCULATOR,
    KNOWLEDGE_SEARCH,
    TIME,
    WEB_SEARCH,
    Arguments,
    Message,
    filled,
    names_place,
    needs_value,
    takes_choice,
    takes_pattern,
)
from responsa_server.agents.engine.form import form_of
from responsa_server.agents.engine.in_english import in_english
from responsa_server.agents.engine.kinds import NodeKind, NodeParts
from responsa_server.agents.engine.node import (
    Announcement,
    ExamplesName,
    Node,
    NodeModel,
    NodeOptions,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.engine.rewriting import content_words, points_back
from responsa_server.agents.engine.state import Said
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.events import Fallback, FallbackKind, Step
from responsa_server.domain.intents import Example, IntentClassifier, Trainer
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.tools import Candidate, Effect, ToolCard
from responsa_server.text.lexical import UNKNOWN, language_of

NO_TOOL: Final = "none"
"""The label of examples that need no tool."""
ANY_TOOL: Final = "tool"
"""The label of examples that need some tool with a value from the message, such as the number of an order. Declarations describe such tools."""
MOST_CALLS: Final = 8
"""The maximum number of calls for one message."""
_LAST: Final = 4
# Users with different roles may use different tools, and so do their classifiers.
_MOST_CLASSIFIERS: Final = 8
_MOST_QUERY: Final = 400
_ANYBODY: Final = Principal("", UUID(int=0), Role.USER, "turn")


class ChooserOptions(NodeOptions):
    """examples: the file with labelled messages. The labels are kinds and ids of tools, `tool` and `none`. The examples of the tools' declarations are added.

    prompt: the prompt with which a model chooses; "" to choose by the examples. web_prompt, search_prompt, api_prompt: the prompts with which a model writes the query of
    a web search, the query of a search in the documents, and the arguments of any other tool; "" to take them from the message. documents: whether to call the tools of the kind
    `knowledge_search`; false for a graph that searches the documents itself.
    """

    examples: ExamplesName = "examples/tools.jsonl"
    prompt: PromptName = ""
    web_prompt: PromptName = ""
    search_prompt: PromptName = ""
    api_prompt: PromptName = ""
    documents: bool = True


class ChooserInput(NodeModel):
    """The message, the conversation, and the results of the turn's earlier calls."""

    question: str
    standalone_question: str = ""
    history: tuple[Said, ...] = ()
    summary: str = ""
    results: tuple[ResultModel, ...] = ()


class ChooserOutput(NodeModel):
    """calls: the calls to make; empty if the message needs no tool, or no tool that the agent and the user may use. parts: if the message has several parts, those that ask something which
    no chosen tool answers by itself; empty if the message is one question, or if a model has chosen the tools. parts_called: the other parts of such a message, each with the ids of its
    calls.
    """

    calls: tuple[CallModel, ...]
    parts: tuple[str, ...] = ()
    parts_called: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])


class SelectionShape(NodeModel):
    """The model's reply. `_selection` lists the values that `tools` may have."""

    tools: tuple[str, ...] = Field(max_length=MOST_CALLS)


class QueryShape(NodeModel):
    """The model's reply: a query."""

    query: str = Field(min_length=1, max_length=4096)


class ArgumentsShape(NodeModel):
    """The model's reply. possible: whether the message has all that the call needs."""

    possible: bool
    arguments: dict[str, JsonValue]


class ToolChooser(Node[ChooserInput, ChooserOutput]):
    """Chooses among the tools that the agent uses and the user may use. It requests calls and makes none.

    Without a model, it chooses only tools without effects, and only if the message has all arguments that they require.
    """

    input_model = ChooserInput
    output_model = ChooserOutput
    announcement = Announcement(Step.ROUTING, "Choosing tools...")
    has_rule = True
    # The models' calls have their own time limits. The first choice may have to wait for the training of a classifier.
    policy = Policy(timeout_seconds=120.0, keep_after_seconds=1.0)

    def __init__(self, parts: NodeParts, name: str = "choose", options: ChooserOptions | None = None) -> None:
        self.name = name
        self._options = options or ChooserOptions()
        self._parts = parts
        self._selector = parts.decider(self._options.prompt)
        self._writers = {
            WEB_SEARCH: (parts.decider(self._options.web_prompt), self._options.web_prompt),
            KNOWLEDGE_SEARCH: (parts.decider(self._options.search_prompt), self._options.search_prompt),
        }
        self._builder = parts.decider(self._options.api_prompt)
        asks = (self._selector, self._builder, *(one for one, _ in self._writers.values()))
        self.calls_model = any(one is not None for one in asks)
        self._rules = ByExamples(
            parts.classifiers.get(self._options.examples),
            parts.examples.get(self._options.examples, ()),
            parts.trainer,
        )

    async def prepare(self) -> None:
        """Train the classifier for the tools that everybody may use."""
        await self._rules.classifiers(_usable(self._parts.candidates(_ANYBODY)))

    async def process(self, given: ChooserInput, run: Run) -> ChooserOutput:
        """Choose. A model's failure never fails the node."""
        candidates = self._parts.candidates(run.who)
        message = message_of(given, self._parts)
        if not candidates:
            return ChooserOutput(calls=(), parts=_open(message, ()))
        wanted = await self._selected(candidates, given, run)
        if wanted is None:
            return await self._by_rules(candidates, message, given, run)
        each = await asyncio.gather(*(self._arguments(one, message, given, run) for one in wanted))
        asked = [(one, arguments, "") for one, calls in zip(wanted, each, strict=True) for arguments in calls]
        return ChooserOutput(calls=self._calls(asked, given.results)[0])

    async def _by_rules(
        self, candidates: Sequence[Candidate], message: Message, given: ChooserInput, run: Run
    ) -> ChooserOutput:
        """The choice by examples and rules. A part counts as answered only while its calls can still answer it, or if an earlier call has done so."""
        found = await self._rules.chosen(candidates, message, given.history)
        asked = [
            (one.candidate, arguments, "" if one.candidate.kind in _SEARCHES else one.clause)
            for one in found
            for arguments in one.calls
        ]
        written = await asyncio.gather(
            *(self._rewritten(one, arguments, given, run) for one, arguments, _ in asked)
        )
        asked = [(one, arguments, clause) for (one, _, clause), arguments in zip(asked, written, strict=True)]
        calls, called = self._calls(asked, given.results)
        direct = {_key(one.call.tool, one.call.arguments) for one in given.results if one.direct}
        known = {clause for one, arguments, clause in asked if _key(one.tool.card.id, arguments) in direct}
        answered = {*called, *known}
        parts = _open(message, answered)
        # A clause that has all arguments of a tool says enough without the others, even with a pronoun ("What time is it?").
        several = bool(parts) or len(answered) > 1
        by_part = {worded(clause): tuple(ids) for clause, ids in called.items() if several}
        return ChooserOutput(calls=calls, parts=parts, parts_called=by_part)

    def _calls(
        self, asked: Sequence[tuple[Candidate, Arguments, str]], results: Sequence[ResultModel]
    ) -> tuple[tuple[CallModel, ...], Mapping[str, Sequence[str]]]:
        """The calls with arguments that fit, without those that have a result. And the ids of those that each clause of the message asks for."""
        calls = dict[str, CallModel]()
        called = dict[str, list[str]]()
        before = {_key(one.call.tool, one.call.arguments) for one in results}
        for one, arguments, clause in asked:
            if one.kind == KNOWLEDGE_SEARCH and not self._options.documents:
                continue
            card = one.tool.card
            call = CallModel.model_validate(
                {
                    "call_id": f"{self.name}-{len(results) + len(calls) + 1}",
                    "tool": card.id,
                    "arguments": dict(arguments),
                }
            )
            key = _key(card.id, call.arguments)
            if key in before or len(calls) == MOST_CALLS or argument_problem(card, call):
                continue
            # Two clauses may ask for the same call.
            made = calls.setdefault(key, call)
            if clause:
                called.setdefault(clause, []).append(made.call_id)
        return tuple(calls.values()), called

    async def _selected(
        self, candidates: Sequence[Candidate], given: ChooserInput, run: Run
    ) -> Sequence[Candidate] | None:
        """The tools that a model chooses; None if no model chooses."""
        if self._selector is None:
            return None
        by_id = {one.tool.card.id: one for one in candidates}
        trusted = {"tools": [_shown(one.tool.card) for one in candidates]}
        try:
            found = await self._asked(
                self._selector, self._options.prompt, _selection(tuple(by_id)), trusted, given, run
            )
        except FAILURES as error:
            self._fell_back(self._selector, error, run, FallbackKind.CLASSIFIER)
            return None
        return [by_id[one] for one in dict.fromkeys(found.tools)]

    async def _arguments(
        self, one: Candidate, message: Message, given: ChooserInput, run: Run
    ) -> Sequence[Arguments]:
        """The arguments of the calls of a tool that a model has chosen."""
        card = one.tool.card
        if one.kind in self._writers:
            by_rule = filled(one.kind, card, message)
            return [await self._rewritten(one, arguments, given, run) for arguments in by_rule]
        if self._builder is None:
            return filled(one.kind, card, message)
        shape = _arguments_shape(json.dumps(card.parameters, sort_keys=True))
        trusted = {"tool": ": ".join(_shown(card).values())}
        try:
            found = await self._asked(self._builder, self._options.api_prompt, shape, trusted, given, run)
        except FAILURES as error:
            self._fell_back(self._builder, error, run, FallbackKind.RULE)
            return filled(one.kind, card, message)
        return [found.arguments] if found.possible else []

    async def _rewritten(
        self, one: Candidate, arguments: Arguments, given: ChooserInput, run: Run
    ) -> Arguments:
        """The arguments of a search with a query that a model has written. Other arguments stay as they are."""
        asker, prompt = self._writers.get(one.kind, (None, ""))
        # A question that stands alone finds documents as it is.
        if asker is None or (one.kind == KNOWLEDGE_SEARCH and not given.history and not given.summary):
            return arguments
        try:
            found = await self._asked(asker, prompt, _QUERY, {}, given, run)
        except FAILURES as error:
            self._fell_back(asker, error, run, FallbackKind.RULE)
            return arguments
        query = " ".join(found.query.split())[:_MOST_QUERY].strip()
        return {**arguments, "query": query} if query else arguments

    async def _asked(
        self,
        asker: Asker,
        prompt: str,
        shape: Shape[Any],
        trusted: Mapping[str, object],
        given: ChooserInput,
        run: Run,
    ) -> Any:
        question = given.standalone_question or given.question
        untrusted = Untrusted(question, given.history[-_LAST:], others={"summary": given.summary})
        return await ask_typed(asker, run, prompt, shape, trusted, untrusted)

    def _fell_back(self, asker: Asker, error: Exception, run: Run, kind: FallbackKind) -> None:
        run.fell_back(Fallback(kind, asker.model.name, self.name, cause(error)))


_QUERY: Final = Shape(QueryShape)


@lru_cache(maxsize=64)
def _selection(tools: tuple[str, ...]) -> Shape[SelectionShape]:
    make: Any = create_model  # the type hints of `create_model` do not allow a type from variables
    one: Any = Literal[tools]
    choice: Any = cast("Any", tuple)[one, ...]
    return Shape(
        make("SelectionShape", __base__=SelectionShape, tools=(choice, Field(max_length=MOST_CALLS)))
    )


@lru_cache(maxsize=256)
def _arguments_shape(parameters: str) -> Shape[ArgumentsShape]:
    """The shape with the tool's own schema. parameters: this schema as JSON."""
    shape = Shape(ArgumentsShape)
    schema: dict[str, Any] = json.loads(json.dumps(shape.schema))
    schema["properties"]["arguments"] = json.loads(parameters)
    shape.schema, shape.text = schema, json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return shape


def _shown(card: ToolCard) -> Mapping[str, str]:
    return {"name": card.id, "description": card.description or card.title or card.id}


def _key(tool: str, arguments: Mapping[str, object]) -> str:
    return json.dumps([tool, arguments], sort_keys=True)


# The choice without a model.

_GOES_ON: Final = re.compile(
    r"^\W*(?:and|what about|how about|und|et|y)\b|\b(?:as well|too)\W*$", re.IGNORECASE
)
_MOST_GOING_ON: Final = 6
_THERE: Final = re.compile(
    r"(?<!is )(?<!are )(?<!was )(?<!were )\bthere\b(?!['’]| (?:is|are|was|were|be|been|has|have)\b)",
    re.IGNORECASE,
)
_MOST_CHARACTERS: Final = 2000
# Their arguments may stand in several sentences.
_FROM_ALL: Final = frozenset({CALCULATOR, TIME})
# How much surer a tool is because the message has its arguments, as log odds. What the rules for computations read, or what has the form of an order's number, is hardly ever anything else.
_EVIDENCE: Final = 2.0
# How many times likelier than the company's documents the web must be if a question fits both searches.
_WEB_LIKELIER: Final = 2.0
_SEARCHES: Final = frozenset({KNOWLEDGE_SEARCH, WEB_SEARCH})
# Chosen on all English parts of evals/tools by cross-validation: the least need for a tool, as a sum of log odds.
_LEAST_NEED: Final = 0.0
# The least share of a tool among the scores of all tools.
_LEAST_SHARE: Final = 0.2
# Chosen on evals/tools/languages.jsonl: forms are English, so in other languages, a sign of a question counts in their place.
_FOREIGN_QUESTION: Final = 0.5
_FOREIGN_STATEMENT: Final = -4.5


def message_of(given: ChooserInput, parts: NodeParts) -> Message:
    """The message for the rules."""
    follows = bool(given.history) and bool(_GOES_ON.search(given.question))
    follows = follows and len(given.question.split()) <= _MOST_GOING_ON
    full = given.standalone_question or given.question
    if follows and not given.standalone_question and (before := _before(given.history)):
        full = f"{before.rstrip('?!. ')} {given.question}"
    # Rules read no more, so that their patterns end soon in any text.
    text = in_english(given.question) or given.question
    return Message(text[:_MOST_CHARACTERS], full[:_MOST_CHARACTERS], parts.clock(), follows)


def _before(history: Sequence[Said]) -> str:
    """The user's last message before this one."""
    return next((one.text for one in reversed(history) if one.speaker is Speaker.USER), "")


@dataclass(frozen=True, slots=True)
class ChosenTool:
    """A tool with the arguments of its calls, and the clause of the message for which it was chosen."""

    candidate: Candidate
    calls: Sequence[Arguments]
    clause: str


def _open(message: Message, answered: Collection[str]) -> tuple[str, ...]:
    """The questions of the message that are not among `answered`. Empty if the message continues the question before: its clauses alone say too little. Empty, too, if a
    call was chosen for the whole message.
    """
    return (
        ()
        if message.follows or message.text in answered
        else questions_of(message.text, answered, message.full)
    )


def _digest(examples: Sequence[Example]) -> bytes:
    return hashlib.sha256(json.dumps([[one.text, one.label] for one in examples]).encode()).digest()


async def forms_trained(examples: Sequence[Example], trainer: Trainer) -> IntentClassifier:
    """The classifier that decides by the form of a message whether it needs a tool. examples: messages, labelled with tools and `none`."""
    forms, key = forms_of(examples)
    return await trainer.trained(forms, key=key)


def forms_of(examples: Sequence[Example]) -> tuple[Sequence[Example], bytes]:
    """The forms of these messages, labelled with `tool` and `none`, and the key of their classifier."""
    forms = [Example(form_of(one.text), NO_TOOL if one.label == NO_TOOL else ANY_TOOL) for one in examples]
    return forms, _digest(forms)


@dataclass(frozen=True, slots=True)
class Judged:
    """need: how much a text needs a tool, as a sum of log odds: 0 if this is as likely as not. scores: the score of every label."""

    need: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Classifiers:
    """tools: decides by a message which tool it needs. forms: decides by the form of an English message whether it needs one. None: there are no examples."""

    tools: IntentClassifier | None
    forms: IntentClassifier | None

    async def judge(self, text: str) -> Judged:
        """Judge one clause or message."""
        if self.tools is None:
            return Judged(-math.inf, {})
        scores = (await self.tools.classify(text)).all
        # Each label has the same weight in the training. Here, "a tool" and "no tool" have the same weight.
        need = _needed(scores) - math.log(max(len(scores) - 1, 1))
        if self.forms is not None and language_of(text) in ("en", UNKNOWN):
            need += _needed((await self.forms.classify(form_of(text))).all)
        else:
            need += _FOREIGN_QUESTION if asks(text) else _FOREIGN_STATEMENT
        return Judged(need, scores)


def _needed(scores: Mapping[str, float]) -> float:
    """The log odds of any label but `none`."""
    none = min(max(scores.get(NO_TOOL, 0.0), 1e-6), 1 - 1e-6)
    return math.log((1 - none) / none)


@dataclass(slots=True)
class ByExamples:
    """Chooses tools by a classifier and rules.

    ready: the classifier of the agent's examples, or None if the agent has no examples. examples: these examples. trainer: trains classifiers of the forms
    of messages, and of the examples of declarations; None to do without both.
    """

    ready: IntentClassifier | None
    examples: Sequence[Example]
    trainer: Trainer | None
    _trained: dict[bytes, Classifiers] = field(default_factory=dict[bytes, Classifiers])
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def chosen(
        self, candidates: Sequence[Candidate], message: Message, history: Sequence[Said] = ()
    ) -> Sequence[ChosenTool]:
        """The tools for each clause of the message that needs one, with the arguments of their calls."""
        usable = _usable(candidates)
        classifiers = await self.classifiers(usable)
        if message.follows and (before := _before(history)):
            # "And in Rome?" needs the tool of the question before, with other arguments.
            one = await _best(classifiers, usable, before, message)
            return [ChosenTool(*one, message.text)] if one else []
        found = list[ChosenTool]()
        clauses = [one for one in clauses_of(message.text) if not asks_for_total(one)]
        if len(clauses) > 1 and (whole := await _best(classifiers, usable, message.text, message)):
            one, _ = whole
            parts = [Message(clause, clause, message.now) for clause in clauses]
            # "It cost 132 after 20 % was taken off. What was it before?"
            if one.kind in _FROM_ALL and not any(filled(one.kind, one.tool.card, part) for part in parts):
                return [ChosenTool(*whole, message.text)]
        if len(clauses) > 1:
            if (await classifiers.judge(message.text)).need < _LEAST_NEED:
                return found
            for clause in clauses:
                follows_on = points_back(clause) or _THERE.search(clause) is not None
                # "FH-12345 was due on Monday. Has it been sent?"
                part = Message(clause, clause, message.now, around=message.text if follows_on else "")
                if content_words(clause) and (best := await _best(classifiers, usable, clause, part)):
                    found.append(ChosenTool(*_as_before(best, found, follows_on=follows_on), clause))
        # Sentences that say too little alone may ask for something together.
        if not found and (best := await _best(classifiers, usable, message.text, message)):
            found.append(ChosenTool(*best, clauses[0] if len(clauses) == 1 else message.text))
        # The calls of one tool follow each other.
        tools = [one.candidate.tool.card.id for one in found]
        return sorted(found, key=lambda one: tools.index(one.candidate.tool.card.id))

    async def classifiers(self, candidates: Sequence[Candidate]) -> Classifiers:
        """The classifiers for these tools. The first caller trains them, and the others wait."""
        declared = [Example(text, one.tool.card.id) for one in candidates for text in one.examples]
        every = [*self.examples, *declared]
        if not every or self.trainer is None:
            return Classifiers(self.ready, None)
        key = _digest(every)
        async with self._lock:
            # The newest is last.
            found = self._trained.pop(key, None)
            if found is None:
                tools = await self.trainer.trained(every, key=key) if declared else self.ready
                found = Classifiers(tools, await forms_trained(every, self.trainer))
            self._trained[key] = found
            if len(self._trained) > _MOST_CLASSIFIERS:
                del self._trained[next(iter(self._trained))]
        return found


async def _best(
    classifiers: Classifiers, candidates: Sequence[Candidate], asked: str, message: Message
) -> tuple[Candidate, Sequence[Arguments]] | None:
    """The best tool for one clause whose arguments the clause has, or None if the clause needs no tool. asked: the text that decides about the tool."""
    able = [(one, calls) for one in candidates if (calls := filled(one.kind, one.tool.card, message))]
    if not able:
        return None
    if (web := next((pair for pair in able if pair[0].kind == WEB_SEARCH), None)) and names_the_web(
        message.text
    ):
        return web
    judged = await classifiers.judge(asked)
    need = judged.need + _EVIDENCE * any(one.kind == CALCULATOR for one, _ in able)
    scored = [
        (_score(one, judged.scores) * math.exp(_EVIDENCE * _has_evidence(one, message)), (one, calls))
        for one, calls in able
    ]
    if names_place(message.text):
        # A tool that knows some places, such as the weather at the shops, says nothing about another; the web does.
        elsewhere = sum(
            _score(one, judged.scores)
            for one in candidates
            if takes_choice(one.tool.card) and one not in [each for each, _ in able]
        )
        scored = [(score + elsewhere * (pair[0].kind == WEB_SEARCH), pair) for score, pair in scored]
    score, (best, calls) = max(scored, key=lambda pair: pair[0])
    if best.kind == WEB_SEARCH:
        nearer = next((each for each in scored if each[1][0].kind == KNOWLEDGE_SEARCH), (0.0, (best, calls)))
        if nearer[0] * _WEB_LIKELIER > score:
            score, (best, calls) = nearer
    if best.kind in _SEARCHES:
        # Which search is better is less certain than whether to search.
        score = max(score, sum(judged.scores.get(label, 0.0) for label in {best.tool.card.id, *_SEARCHES}))
    some = 1 - judged.scores.get(NO_TOOL, 0.0)
    return (best, calls) if need > _LEAST_NEED and score > _LEAST_SHARE * some else None


def _has_evidence(one: Candidate, message: Message) -> bool:
    """Whether the clause itself has arguments that hardly stand in a message for another tool. A statement may name an order, too, so such a number does not say that a tool is needed."""
    card = one.tool.card
    return one.kind == CALCULATOR or (
        takes_pattern(card) and bool(filled(one.kind, card, replace(message, around="")))
    )


def _as_before(
    best: tuple[Candidate, Sequence[Arguments]], found: Sequence[ChosenTool], *, follows_on: bool
) -> tuple[Candidate, Sequence[Arguments]]:
    """The tool for a clause. A search that follows on from another one ("… and what does it cost?") is of the same kind."""
    one, calls = best
    earlier = next((each.candidate for each in found if each.candidate.kind in _SEARCHES), one)
    return (earlier, calls) if follows_on and one.kind in _SEARCHES else best


def _usable(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The tools that may be chosen without a model."""
    return [one for one in candidates if one.tool.effect is Effect.NONE]


def _score(one: Candidate, scores: Mapping[str, float]) -> float:
    """How well a tool fits whose arguments a message has. A tool whose declaration has no examples has those of its kind."""
    own = scores.get(one.tool.card.id, 0.0)
    if not one.examples:
        return max(own, scores.get(one.kind, 0.0))
    return own + (scores.get(ANY_TOOL, 0.0) if needs_value(one.tool.card) else 0.0)


TOOL_CHOOSER: Final = NodeKind(
    lambda parts, options, name: ToolChooser(parts, name, options),
    ChooserInput,
    ChooserOutput,
    ChooserOptions,
    offers=offered("tools", "tool", untrusted=("question", "history", "summary")),
)
