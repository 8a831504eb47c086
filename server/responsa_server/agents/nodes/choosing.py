"""Lets a language model that cannot request tools itself choose tools for a message, by prompts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, cast

from pydantic import Field, JsonValue, create_model

from responsa_server.agents.engine.asking import FAILURES, AnswerShape, Asker, ask_typed, cause, offer
from responsa_server.agents.engine.calling import CallModel, ResultModel, argument_problem
from responsa_server.agents.engine.failed_tools import NO_MODEL, SMALL_MODEL, tools_unused
from responsa_server.agents.engine.kinds import NodeKind, NodeParts
from responsa_server.agents.engine.node import (
    Announcement,
    Node,
    NodeModel,
    NodeOptions,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.events import Fallback, FallbackKind, Step
from responsa_server.domain.tools import KNOWLEDGE_SEARCH, WEB_SEARCH, Candidate, ToolCard

MOST_CALLS: Final = 8
"""The maximum number of calls for one message."""
_LAST: Final = 4
_MOST_QUERY: Final = 400
_SEARCHES: Final = frozenset({KNOWLEDGE_SEARCH, WEB_SEARCH})

Arguments = Mapping[str, JsonValue]


class ChooserOptions(NodeOptions):
    """prompt: the prompt with which a model chooses. web_prompt, search_prompt: the prompts with which a model writes
    the query of a web search and of a search in the documents; "" to search for the message itself. api_prompt: the
    prompt with which a model writes the arguments of any other tool; "" to call no other tool. documents: whether to
    call the tools of the kind `knowledge_search`; false for a graph that searches the documents itself.
    """

    prompt: PromptName
    web_prompt: PromptName = ""
    search_prompt: PromptName = ""
    api_prompt: PromptName = ""
    documents: bool = True


class ChooserInput(NodeModel):
    """The message, the conversation, and the results of the turn's earlier calls."""

    question: str
    standalone_question: str = ""
    history: tuple[StateMessage, ...] = ()
    summary: str = ""
    results: tuple[ResultModel, ...] = ()


class ChooserOutput(NodeModel):
    """calls: the calls to make; empty if the message needs no tool, if no tool is granted, or if no model chooses."""

    calls: tuple[CallModel, ...]


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

    Without a model, it requests nothing, and the turn reports the tools that could not be used.
    """

    input_model = ChooserInput
    output_model = ChooserOutput
    announcement = Announcement(Step.ROUTING, "Choosing tools...")
    has_rule = True
    # The models' calls have their own time limits.
    policy = Policy(timeout_seconds=120.0)

    def __init__(self, parts: NodeParts, name: str, options: ChooserOptions) -> None:
        self.name = name
        self._options = options
        self._parts = parts
        self._selector = parts.deciding_asker(options.prompt)
        self.calls_model = self._selector is not None
        self._writers = {
            WEB_SEARCH: (parts.deciding_asker(options.web_prompt), options.web_prompt),
            KNOWLEDGE_SEARCH: (parts.deciding_asker(options.search_prompt), options.search_prompt),
        }
        self._builder = parts.deciding_asker(options.api_prompt)

    async def process(self, inputs: ChooserInput, run: Run) -> ChooserOutput:
        """Choose. A model's failure never fails the node."""
        candidates = [
            candidate
            for candidate in self._parts.candidates(run.caller)
            if self._options.documents or candidate.kind != KNOWLEDGE_SEARCH
        ]
        if not candidates:
            return ChooserOutput(calls=())
        if self._selector is None:
            tools_unused(self._parts, run, SMALL_MODEL if self._parts.small else NO_MODEL)
            return ChooserOutput(calls=())
        chosen = await self._select(self._selector, candidates, inputs, run)
        arguments = await asyncio.gather(*(self._arguments(candidate, inputs, run) for candidate in chosen))
        calls = list[CallModel]()
        known = {_key(result.call.tool, result.call.arguments) for result in inputs.results}
        for candidate, values in zip(chosen, arguments, strict=True):
            if values is None:
                continue
            card = candidate.tool.card
            number = len(inputs.results) + len(calls) + 1
            call = CallModel(call_id=f"{self.name}-{number}", tool=card.id, arguments=dict(values))
            if _key(card.id, call.arguments) not in known and not argument_problem(card, call):
                calls.append(call)
        return ChooserOutput(calls=tuple(calls))

    async def _select(
        self, asker: Asker, candidates: Sequence[Candidate], inputs: ChooserInput, run: Run
    ) -> Sequence[Candidate]:
        by_id = {candidate.tool.card.id: candidate for candidate in candidates}
        trusted = {"tools": [_describe(candidate.tool.card) for candidate in candidates]}
        try:
            selection = await self._ask(
                asker, self._options.prompt, _selection(tuple(by_id)), trusted, inputs, run
            )
        except FAILURES as error:
            tools_unused(self._parts, run, cause(error))
            return ()
        return [by_id[tool] for tool in dict.fromkeys(selection.tools)]

    async def _arguments(self, candidate: Candidate, inputs: ChooserInput, run: Run) -> Arguments | None:
        """The arguments of the tool's call; None if the message does not have them."""
        if candidate.kind in _SEARCHES:
            return {"query": await self._query(candidate, inputs, run)}
        if self._builder is None:
            return None
        card = candidate.tool.card
        shape = _arguments_shape(json.dumps(card.parameters, sort_keys=True))
        trusted = {"tool": ": ".join(_describe(card).values())}
        try:
            answer = await self._ask(self._builder, self._options.api_prompt, shape, trusted, inputs, run)
        except FAILURES as error:
            run.fell_back(Fallback(FallbackKind.WITHOUT_TOOL, card.id, "", cause(error)))
            return None
        return answer.arguments if answer.possible else None

    async def _query(self, candidate: Candidate, inputs: ChooserInput, run: Run) -> str:
        """What to search for: the message, or a query that a model makes of it."""
        question = (inputs.standalone_question or inputs.question)[:_MOST_QUERY]
        asker, prompt = self._writers[candidate.kind]
        # A question that stands alone finds documents as it is.
        if asker is None or (
            candidate.kind == KNOWLEDGE_SEARCH and not inputs.history and not inputs.summary
        ):
            return question
        try:
            answer = await self._ask(asker, prompt, _QUERY, {}, inputs, run)
        except FAILURES as error:
            run.fell_back(Fallback(FallbackKind.RULE, asker.model.name, self.name, cause(error)))
            return question
        return " ".join(answer.query.split())[:_MOST_QUERY].strip() or question

    async def _ask(
        self,
        asker: Asker,
        prompt: str,
        shape: AnswerShape[Any],
        trusted: Mapping[str, object],
        inputs: ChooserInput,
        run: Run,
    ) -> Any:
        question = inputs.standalone_question or inputs.question
        untrusted = Untrusted(question, inputs.history[-_LAST:], others={"summary": inputs.summary})
        return await ask_typed(asker, run, prompt, shape, trusted, untrusted)


_QUERY: Final = AnswerShape(QueryShape)


@lru_cache(maxsize=64)
def _selection(tools: tuple[str, ...]) -> AnswerShape[SelectionShape]:
    make: Any = create_model  # the type hints of `create_model` do not allow a type from variables
    name: Any = Literal[tools]
    choice: Any = cast("Any", tuple)[name, ...]
    return AnswerShape(
        make("SelectionShape", __base__=SelectionShape, tools=(choice, Field(max_length=MOST_CALLS)))
    )


@lru_cache(maxsize=256)
def _arguments_shape(parameters: str) -> AnswerShape[ArgumentsShape]:
    """The shape with the tool's own schema. parameters: this schema as JSON."""
    shape = AnswerShape(ArgumentsShape)
    schema: dict[str, Any] = json.loads(json.dumps(shape.schema))
    schema["properties"]["arguments"] = json.loads(parameters)
    shape.schema, shape.text = schema, json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return shape


def _describe(card: ToolCard) -> Mapping[str, str]:
    return {"name": card.id, "description": card.description or card.title or card.id}


def _key(tool: str, arguments: Mapping[str, object]) -> str:
    return json.dumps([tool, arguments], sort_keys=True)


SELECTION: Final = ChooserOptions(
    prompt="tool_selection",
    web_prompt="web_search_query",
    search_prompt="kb_search_query",
    api_prompt="api_query_builder",
)
"""The shared prompts, with which tools are chosen for a model that cannot request them."""


def requests_tools(parts: NodeParts) -> bool:
    """Whether the agent's model can request tools. A small model requests none, because it chooses badly."""
    return parts.requests_tools and not (parts.small and parts.larger is None)


def chooser_for(parts: NodeParts, name: str) -> ToolChooser | None:
    """The chooser for a model that cannot request tools; None for one that can. name: the name of the node that uses the chooser."""
    return None if requests_tools(parts) else ToolChooser(parts, name, SELECTION)


TOOL_CHOOSER: Final = NodeKind(
    lambda parts, options, name: ToolChooser(parts, name, options),
    ChooserInput,
    ChooserOutput,
    ChooserOptions,
    offers=offer("tools", "tool", untrusted=("question", "history", "summary")),
)
