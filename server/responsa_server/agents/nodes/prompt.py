"""Asks a language model, and sends its answer as it arrives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field, JsonValue

from responsa_server.agents.engine.answer_text import AnswerWriter, emit_text
from responsa_server.agents.engine.asking import (
    ModelCall,
    label_of,
    may_write,
    model_unavailable,
    offer,
    patience,
)
from responsa_server.agents.engine.calling import CallModel, ResultModel
from responsa_server.agents.engine.citations import Mark, claims, sources_of_results
from responsa_server.agents.engine.declining import DECLINED, NO_ANSWER, UNCITED
from responsa_server.agents.engine.declining import VARIABLE as NO_ANSWER_VARIABLE
from responsa_server.agents.engine.failed_tools import without_documents
from responsa_server.agents.engine.kinds import NodeKind, NodeParts, require
from responsa_server.agents.engine.node import (
    BY,
    DEFAULT,
    Announcement,
    ModelDeclined,
    Node,
    NodeModel,
    NodeOptions,
    OverBudget,
    Policy,
    PromptChoice,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted, fence, unfence_within
from responsa_server.agents.engine.state import StateMessage
from responsa_server.agents.nodes.checking import NO_MARKS
from responsa_server.agents.nodes.choosing import (
    SELECTION,
    TOOL_CHOOSER,
    ChooserInput,
    chooser_for,
    requests_tools,
)
from responsa_server.domain.answers import CheckedClaim, Evidence, ShownPassage
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Fallback,
    FallbackKind,
    Step,
    ToolOutcome,
)
from responsa_server.domain.faults import Fault
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Provenance,
    Role,
    Stop,
    TextPiece,
    ToolRequest,
    Withdrawn,
)
from responsa_server.domain.tools import Effect, ToolCard
from responsa_server.text.instructing import without_instructions

GENERATING: Final = Announcement(Step.GENERATING, "Generating response...")
OFFERED: Final = offer(
    "persona",
    "without_retrieval",
    NO_ANSWER_VARIABLE,
    untrusted=("question", "history", "summary", "passages", "parameters", "problem"),
)
"""The variables for this node's prompts."""
# Long work must not be stopped here, because the turn and each tool have their own time limits, and the model's client
# limits silence.
_LONGEST_SECONDS: Final = 3600.0
HELD_SECONDS: Final = 15.0
"""The maximum number of seconds for which a small model's text is held back while the model writes."""
_LATE_MARK: Final = "late_mark"


class PromptOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`, or a file for each value of a field; "" to send only the conversation.

    cites: whether the model marks the passages that support its sentences; the marks are removed from the text. If the
    prompt uses the variable `no_answer`, the model can also say by this mark that the passages do not answer
    (`declined`). tools: whether the model may request tools; if so, it need not write text. If no model of the chain
    can request tools, they are chosen as by a `tool_chooser` with the shared prompts, once in a turn, before the model
    writes. stream: whether the text is sent as it arrives; if not, a later node must send it. history: whether the
    model sees the earlier messages of the conversation.
    """

    prompt: PromptChoice = ""
    cites: bool = False
    tools: bool = False
    stream: bool = True
    history: bool = True


class PromptInput(NodeModel):
    """The question, the history, and the turn so far: the text that was sent and the results of tools.

    choice: the value of the field that chooses among prompts. evidence: the evidence to show to the model.
    fallbacks: the fallbacks of the turn so far. problem: why a checker rejected the model's last text; "" if none was rejected.
    """

    question: str
    standalone_question: str = ""
    history: tuple[StateMessage, ...] = ()
    text: str = ""
    results: tuple[ResultModel, ...] = ()
    choice: str = ""
    summary: str = ""
    persona: str = ""
    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    evidence: Evidence | None = None
    fallbacks: tuple[Fallback, ...] = ()
    problem: str = ""


class PromptOutput(NodeModel):
    """The answer's text from its beginning, whether the model has finished it, and the requested calls of tools.

    declined: whether the model says that neither the passages nor the results of tools answer; the text is then empty.
    model: the model that wrote the text, as `provider:model`. marks: for each mark, its byte offset in the text and the
    number of the passage or the tool's source that it names. shown: how many passages the prompt contained.
    """

    text: str
    complete: bool
    calls: tuple[CallModel, ...]
    model: str = ""
    marks: tuple[Mark, ...] = ()
    shown: Annotated[int, Field(ge=0)] = 0
    declined: bool = False


class Prompt(Node[PromptInput, PromptOutput]):
    """One call of a model. The model's text continues the answer.

    If a stream breaks off, the next model of the chain takes the answer up. If the documents could not be searched,
    the answer begins with the sentence that the agent has for this case. This sentence is sent together with the
    model's first words.

    When a small model answers from passages, its text is sent only after the model has finished, and only if at least
    one sentence names a passage that supports this sentence. Otherwise the model counts as unavailable. It also counts
    as unavailable if it declines, because small models decide badly.
    """

    input_model = PromptInput
    output_model = PromptOutput
    policy = Policy(timeout_seconds=_LONGEST_SECONDS)
    calls_model = True

    def __init__(
        self,
        parts: NodeParts,
        name: str = "prompt",
        options: PromptOptions | None = None,
        *,
        announcement: Announcement | None = GENERATING,
        reports_usage: bool = True,
    ) -> None:
        """reports_usage: whether the cost of the call is sent as an event. Raises PartMissing if there is no model."""
        self.name = name
        self.announcement = announcement
        self._parts = parts
        self._options = options or PromptOptions()
        self._model = require(parts.model, "model")
        self._asker = parts.asker(self._options.prompt)
        self._chooser = chooser_for(parts, name) if self._options.tools else None
        self._reports_usage = reports_usage
        if isinstance(prompt := self._options.prompt, dict):
            self.reads = {"choice": prompt[BY]}

    async def process(self, inputs: PromptInput, run: Run) -> PromptOutput:
        """Stream the model's text as deltas. Raises OverBudget, Declined, and Unavailable (MODEL_UNAVAILABLE), which may
        follow some deltas.
        """
        if self._chooser is not None and not inputs.results:
            message = ChooserInput(
                question=inputs.question,
                standalone_question=inputs.standalone_question,
                history=inputs.history,
                summary=inputs.summary,
            )
            if calls := (await self._chooser.process(message, run)).calls:
                return PromptOutput(text=inputs.text, complete=True, calls=calls)
        if not self._options.history:
            inputs = inputs.model_copy(update={"history": (), "summary": ""})
        shown, cards = await self._passages(inputs, run), self.cards(run)
        passages = [_add_label(passage) for passage in shown]
        try:
            prompt = await self._make(inputs, passages, run, cards)
        except OverBudget as over:
            over.text = inputs.text
            raise
        prompt = replace(
            prompt,
            cites=self._options.cites,
            patience_seconds=patience(run),
            max_tokens=min(prompt.max_tokens, run.most_tokens or prompt.max_tokens),
        )
        text = AnswerWriter(
            run,
            inputs.text,
            lead=self._lead(inputs),
            cites=self._options.cites,
            passages=len(passages),
            declines=bool(self._no_answer(inputs, passages)),
            sends=self._options.stream,
            sources=lambda: _sources(shown, inputs.results),
        )
        call = ModelCall(
            self._model,
            prompt,
            run,
            self._parts.price,
            reports=self._reports_usage,
            shows=lambda: text.shown,
            waits=True,
        )
        holding = self._parts.small if self._checks(passages, cards, inputs) else frozenset[str]()
        calls = list[CallModel]()
        try:
            end, writer = await self._read(call, run, text, calls, holding)
            text.finish()
            if end.stop is Stop.UNSAFE:
                # The provider stopped the text, so the part that was sent is not an answer.
                raise ModelDeclined(begun=bool(text.end) and text.sends)
            if not self._options.tools and not text.end and not text.declined:
                raise ModelError(ModelFault.EMPTY, "an answer without text", model=call.model)
        except ModelError as error:
            raise model_unavailable(error, self._model.name) from error
        if text.declined and not calls:
            if writer in holding:
                raise _unusable(writer, DECLINED)
            return PromptOutput(
                text="", complete=True, calls=(), model=writer, shown=len(passages), declined=True
            )
        if text.end and writer in holding:
            await self._send_checked(text, writer, inputs, run)
        elif (
            text.end
            and self._options.stream
            and not text.marks
            and not calls
            and self._must_cite(inputs, passages)
        ):
            run.fell_back(Fallback(FallbackKind.UNCITED, writer, self.name, NO_MARKS))
        if text.late_marks:
            run.fell_back(Fallback(FallbackKind.RULE, writer, self.name, _LATE_MARK))
        return PromptOutput(
            text=text.text,
            complete=end.complete,
            calls=tuple(calls),
            model=writer or call.model,
            marks=text.marks,
            shown=len(passages),
        )

    def _checks(self, passages: Sequence[str], cards: Sequence[ToolCard], inputs: PromptInput) -> bool:
        """Whether a small model's text is checked before it is sent. The text is checked if all of this holds: the
        node cites, it has passages, it offers no tools, and no text of the answer has been sent yet.
        """
        return self._options.cites and bool(passages) and not inputs.text and not cards

    def cards(self, run: Run) -> Sequence[ToolCard]:
        """The cards of the tools that the model may request."""
        if not self._options.tools or not requests_tools(self._parts):
            return []
        tools = self._parts.list_granted(run.caller)
        return [replace(tool.card, written=tool.effect is not Effect.ONCE) for tool in tools]

    async def _read(
        self, call: ModelCall, run: Run, text: AnswerWriter, calls: list[CallModel], holding: frozenset[str]
    ) -> tuple[Ended, str]:
        """Read the stream, and return its last piece, and the model that wrote the text; "" if there is no text. Raises ModelError.

        holding: the models whose text is held back, for at most 15 seconds and at most half of the turn's remaining time.
        """
        limited = bool(run.limits.tokens or run.limits.cost_micros)
        end, writer = Ended(complete=True), ""
        limit = asyncio.timeout(None)
        try:
            async with limit, aclosing(call.pieces()) as pieces:
                async for piece in pieces:
                    match piece:
                        case TextPiece():
                            # When a model breaks off, the call names the next model before that model has written anything.
                            writer = call.model
                            if holding and limit.when() is None and writer in holding:
                                text.sends = False
                                seconds = patience(run, HELD_SECONDS) or 0.0
                                limit.reschedule(asyncio.get_running_loop().time() + seconds)
                            fits = text.add(piece.text)
                            await run.faults.at(Fault.BETWEEN_CHUNKS, run.turn_id)
                            if not fits or (limited and run.limits.forbids(run.spent())):
                                return Ended(complete=False), writer
                        case Withdrawn():
                            text.withdraw(piece.keep)
                            if not piece.keep:
                                # The next model may be a larger one, whose text is sent as it arrives.
                                text.sends = self._options.stream
                                if not limit.expired():
                                    limit.reschedule(None)
                        case ToolRequest():
                            calls.append(self._to_call(piece, run))
                        case Ended():
                            end = piece
        except TimeoutError:
            if not limit.expired():
                raise
            return Ended(complete=False), writer
        return end, writer

    async def _send_checked(self, text: AnswerWriter, model: str, inputs: PromptInput, run: Run) -> None:
        """Send a text that was held back. Raises Unavailable if no part of the text quotes a passage."""
        text_claims = claims(text.text, text.marks)
        checks: Sequence[CheckedClaim | None] = ()
        if text_claims and self._parts.judge is not None and inputs.evidence is not None:
            most_bytes = self._parts.traits.retrieval.context_bytes
            checks = await self._parts.judge.check(text_claims, inputs.evidence, most_bytes)
        if not any(check is not None and check.quote.text for check in checks):
            raise _unusable(model, UNCITED)
        if self._options.stream:
            emit_text(text.text, run)

    async def _passages(self, inputs: PromptInput, run: Run) -> Sequence[ShownPassage]:
        if inputs.evidence is None or self._parts.source is None or self._asker is None:
            return ()
        shown = await self._parts.source.passages(inputs.evidence, self._parts.traits.retrieval.context_bytes)
        run.read(passage.version for passage in shown)
        return shown

    def _must_cite(self, inputs: PromptInput, passages: Sequence[str]) -> bool:
        """Whether the model must cite: it reads passages or sources."""
        if not self._options.cites or self._asker is None:
            return False
        return bool(passages) or any(result.sources for result in inputs.results)

    def _no_answer(self, inputs: PromptInput, passages: Sequence[str]) -> str:
        """The mark that the model may write instead of an answer; "" if it must write a text."""
        if self._asker is None or not self._must_cite(inputs, passages):
            return ""
        name = self._choose(inputs.choice)
        used = self._asker.prompts.variables(name).all if name else ()
        return NO_ANSWER if NO_ANSWER_VARIABLE in used else ""

    async def _make(
        self, inputs: PromptInput, passages: Sequence[str], run: Run, tools: Sequence[ToolCard]
    ) -> ModelPrompt:
        name = self._choose(inputs.choice)
        if self._asker is None or not name:
            messages = await asyncio.to_thread(prompt_messages, inputs, cites=self._options.cites)
            limit = may_write(run, self._parts.traits.model.max_output_tokens, messages, self._parts.price())
            temperature = self._parts.traits.model.temperature
            return ModelPrompt(messages, label_of(run), tools, max_tokens=limit, temperature=temperature)
        shown = self._parts.traits.shown
        others = {
            "summary": inputs.summary,
            "parameters": "\n".join(
                f"{name}: {value}" for name, value in inputs.parameters.items() if name in shown
            ),
            "problem": inputs.problem,
        }
        untrusted = Untrusted(
            inputs.standalone_question or inputs.question, inputs.history, passages, others=others
        )
        trusted = {
            "persona": inputs.persona,
            "without_retrieval": self._lead(inputs),
            NO_ANSWER_VARIABLE: self._no_answer(inputs, passages),
        }
        numbered = len(passages) if self._options.cites else None
        # To look for instructions in a long result takes a quarter of a second.
        after = await asyncio.to_thread(turn_messages, inputs, run.nonce, numbered)
        return self._asker.prompt(run, name, trusted, untrusted, after=after, tools=tools)

    def _choose(self, choice: str) -> str:
        prompt = self._options.prompt
        if isinstance(prompt, str):
            return prompt
        return prompt[choice] if choice in prompt and choice not in (BY, DEFAULT) else prompt[DEFAULT]

    def _lead(self, inputs: PromptInput) -> str:
        """The sentence with which the answer must begin; "" if the answer may begin in any way."""
        if self._asker is None:
            return ""
        return without_documents(inputs.fallbacks, self._parts.traits)

    def _to_call(self, request: ToolRequest, run: Run) -> CallModel:
        """The call that a model requests, without marks that the model copied into its arguments."""
        if not self._options.tools:
            raise ModelError(ModelFault.MALFORMED, f"a request for {request.tool!r}, but no tool was offered")
        return CallModel.model_validate(
            {
                "call_id": request.call_id,
                "tool": request.tool,
                "arguments": unfence_within(dict(request.arguments), run.nonce),
                "signature": request.signature,
                "problem": request.problem,
            }
        )


def _unusable(model: str, cause: str) -> Unavailable:
    """The error for a small model's text that must not be sent."""
    message = f"The documents support nothing that the model {model} has written; ask again."
    return Unavailable(Reason.MODEL_UNAVAILABLE, message, {"model": model, "cause": cause}, retry_after=1.0)


def _sources(passages: Sequence[ShownPassage], results: Sequence[ResultModel]) -> Iterator[str]:
    """The texts that the model was shown, and their addresses."""
    for passage in passages:
        yield from (passage.text, passage.uri)
    for result in results:
        yield result.content
        for source in result.sources:
            yield from (source.text, source.uri)


_KEPT_CODE: Final = r"(?P<code>```(?:[^`]|`(?!``))*(?:```|\Z)|`[^`\n]{1,1000}`)"
_NOISE: Final = re.compile(
    rf"{_KEPT_CODE}| ?{{#[\w.:-]{{1,100}}}}|{{%[^{{}}\n]{{0,200}}%}}|(?P<site>https?://[^\s/()<>\[\]\"']{{1,200}}/)[^\s()<>\[\]\"']{{40,}}"
)
"""What costs tokens and says nothing: anchors, tags of templates, and what long addresses have after their site. Code
stays."""


def without_noise(text: str) -> str:
    """A text as a prompt shows it. The words that a model copies from it still stand in the original (`quoting.py`)."""
    return _NOISE.sub(lambda match: match["code"] or (f"{match['site']}…" if match["site"] else ""), text)


def _add_label(passage: ShownPassage) -> str:
    label = " › ".join(dict.fromkeys(part for part in (passage.title, *passage.headings) if part))
    label = " ".join(filter(None, (without_noise(label), f"({passage.date})" if passage.date else "")))
    text = without_noise(passage.text)
    return f"{label}\n\n{text}" if label else text


def prompt_messages(inputs: PromptInput, *, cites: bool = False) -> Sequence[PromptMessage]:
    """The messages for a model without a prompt: the history, the question, and the text and tool calls of this turn so far."""
    messages: list[PromptMessage] = []
    for message in inputs.history:
        role = Role.USER if message.speaker is Speaker.USER else Role.ASSISTANT
        messages.append(PromptMessage(role, message.text, history=True))
    messages.append(PromptMessage(Role.USER, inputs.standalone_question or inputs.question))
    return [*messages, *turn_messages(inputs, shown=0 if cites else None)]


def turn_messages(inputs: PromptInput, mark: str = "", shown: int | None = None) -> Sequence[PromptMessage]:
    """The text and the tool calls of this turn so far.

    mark: the turn's number in the marks around the tools' results; "" for no marks. shown: the number of passages in
    the prompt, after which the tools' sources are numbered; None if the model does not cite.
    """
    messages: list[PromptMessage] = []
    results = inputs.results
    if inputs.text or results:
        asked = [
            ToolRequest(result.call.call_id, result.call.tool, result.call.arguments, result.call.signature)
            for result in results
        ]
        messages.append(PromptMessage(Role.ASSISTANT, inputs.text, asked, place=Provenance.MODEL))
    numbers = _numbers(results, shown)
    for result in results:
        content = _with_sources(result, numbers, mark)
        content = content if result.outcome is ToolOutcome.OK else f"{result.outcome}: {content}"
        messages.append(PromptMessage(Role.TOOL, content, answers=result.call.call_id))
    return messages


def _numbers(results: Sequence[ResultModel], shown: int | None) -> Mapping[tuple[str, int], int]:
    """The number of each source, by the id of its call and its position in the result. None of them has a number if the
    model does not cite."""
    if shown is None:
        return {}
    origins = [source.origin for source in sources_of_results(results)]
    return {(origin.call_id, origin.source_index): number for number, origin in enumerate(origins, shown + 1)}


def _with_sources(result: ResultModel, numbers: Mapping[tuple[str, int], int], mark: str) -> str:
    """A result and its sources. The number of a source stands before its text, in the result itself if the result contains the text."""
    content, at = result.content, 0
    others: list[str] = []
    for index, source in enumerate(result.sources):
        number = numbers.get((result.id, index))
        if number is None or not source.text:
            continue
        position = content.find(source.text, at)
        if position >= 0:
            before = f"{content[:position]}[{number}] {source.text}"
            content, at = before + content[position + len(source.text) :], len(before)
        else:
            named = f"{source.title or source.uri}\n{source.text}"
            others.append(f"[{number}]\n{_fence('source', named, mark)}")
    return "\n\n".join([_fence("result", content, mark), *others])


def _fence(what: str, text: str, mark: str) -> str:
    shown = without_instructions(text)
    return fence(what, shown, mark) if mark else shown


PROMPT: Final = NodeKind(
    lambda parts, options, name: Prompt(parts, name, options),
    PromptInput,
    PromptOutput,
    PromptOptions,
    fallback=FallbackKind.PASSAGES,
    offers=OFFERED,
    needs_model=True,
    uses=lambda options: (TOOL_CHOOSER, SELECTION) if options.tools else None,
)
