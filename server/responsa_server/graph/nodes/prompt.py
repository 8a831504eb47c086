"""Asks a language model, and passes its answer on as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

from pydantic import JsonValue

from responsa_server.domain import names
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.ports.faults import Fault
from responsa_server.domain.ports.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.ports.tools import ToolCard
from responsa_server.domain.turns import MAX_ANSWER_BYTES, Delta, Step, ToolOutcome, Usage
from responsa_server.graph.compose import split
from responsa_server.graph.node import Announcement, Node, NodeModel, Policy, Run
from responsa_server.graph.state import Said

GENERATING: Final = Announcement(Step.GENERATING, "Generating response...")
_MAX_DELTA_BYTES: Final = 1024
_BYTES_A_TOKEN: Final = 4
# The turn has its limit, and the model's client one for silence: the node itself needs none that a long answer could meet.
_LONGEST_SECONDS: Final = 3600.0


class CallModel(NodeModel):
    """A tool that the model wants to be called. call_id is the model's own."""

    call_id: str
    tool: str
    arguments: dict[str, JsonValue]


class ResultModel(NodeModel):
    """What became of a call."""

    call: CallModel
    outcome: ToolOutcome
    content: str


class PromptInput(NodeModel):
    """The question, what was said before it, and what has come of it so far: text that was told, tools that were called."""

    question: str
    standalone_question: str = ""
    history: tuple[Said, ...] = ()
    text: str = ""
    results: tuple[ResultModel, ...] = ()


class PromptOutput(NodeModel):
    """The answer's text from its beginning, whether the model said all of it, and the tools that it wants called."""

    text: str
    complete: bool
    calls: tuple[CallModel, ...]


class Prompt(Node[PromptInput, PromptOutput]):
    """One call of a model, whose text becomes the next of the answer's.

    tools: what the model may ask for. answers: whether there must be text at its end. A stream that breaks off is not begun again here, since its text was told.
    """

    input_model = PromptInput
    output_model = PromptOutput
    policy = Policy(timeout_seconds=_LONGEST_SECONDS)
    calls_model = True

    def __init__(
        self,
        model: ChatModel,
        name: str = "prompt",
        *,
        announcement: Announcement | None = GENERATING,
        system: str = "",
        tools: Sequence[ToolCard] = (),
        answers: bool = True,
    ) -> None:
        self.name = name
        self.announcement = announcement
        self._model = model
        self._system = system
        self._tools = tools
        self._answers = answers

    async def process(self, given: PromptInput, run: Run) -> PromptOutput:
        """Stream the model's text as deltas. Raises Unavailable (MODEL_UNAVAILABLE), before or after some of it."""
        messages = prompt_messages(self._system, given)
        label = names.turn(run.turn_id) if run.turn_id is not None else ""
        spending = _Spending(run.spend, messages)
        told, calls, complete = [given.text], list[CallModel](), True
        end = len(given.text.encode())
        try:
            async with aclosing(self._model.stream(ModelPrompt(messages, label, self._tools))) as pieces:
                async for piece in pieces:
                    match piece:
                        case TextPiece(text=text):
                            spending.piece()
                            # U+0000 cannot be stored.
                            text = text.replace("\x00", "\ufffd")
                            fitting = _fitting(text, MAX_ANSWER_BYTES - end)
                            for part in split(fitting, _MAX_DELTA_BYTES):
                                run.emit(Delta(part, end))
                                end += len(part.encode())
                            told.append(fitting)
                            await run.faults.at(Fault.BETWEEN_CHUNKS, run.turn_id)
                            if fitting != text:
                                complete = False
                                break
                        case ToolRequest():
                            calls.append(self._wanted(piece))
                        case Spent(usage=usage):
                            spending.exactly(usage)
                        case Ended():
                            complete = piece.complete
            if self._answers and not end:
                raise ModelError(ModelFault.MALFORMED, "an answer without text")
        except ModelError as error:
            raise self._unavailable(error) from error
        return PromptOutput(text="".join(told), complete=complete, calls=tuple(calls))

    def _wanted(self, request: ToolRequest) -> CallModel:
        if request.tool not in {card.id for card in self._tools}:
            raise ModelError(ModelFault.MALFORMED, f"a request for {request.tool!r}, which was not offered")
        return CallModel.model_validate(
            {"call_id": request.call_id, "tool": request.tool, "arguments": request.arguments}
        )

    def _unavailable(self, error: ModelError) -> Unavailable:
        match error.fault:
            case ModelFault.UNREACHABLE:
                said = "could not be reached"
            case ModelFault.TIMEOUT:
                said = "fell silent"
            case ModelFault.REFUSED:
                said = "did not take the request"
            case ModelFault.MALFORMED:
                said = "answered in a way that cannot be understood"
            case ModelFault.CUT:
                said = "broke off"
        message = f"The server of the model {self._model.name} {said}; ask again."
        return Unavailable(Reason.MODEL_UNAVAILABLE, message, {"model": self._model.name}, retry_after=1.0)


def prompt_messages(system: str, given: PromptInput) -> Sequence[PromptMessage]:
    """What the model reads: instructions, the talk so far, the question, and what this turn has said and done already."""
    messages = [PromptMessage(Role.SYSTEM, system)] if system else []
    for one in given.history:
        role = Role.USER if one.speaker is Speaker.USER else Role.ASSISTANT
        messages.append(PromptMessage(role, one.text))
    messages.append(PromptMessage(Role.USER, given.standalone_question or given.question))
    if given.text or given.results:
        asked = [ToolRequest(one.call.call_id, one.call.tool, one.call.arguments) for one in given.results]
        messages.append(PromptMessage(Role.ASSISTANT, given.text, asked))
    for one in given.results:
        content = one.content if one.outcome is ToolOutcome.OK else f"{one.outcome}: {one.content}"
        messages.append(PromptMessage(Role.TOOL, content, answers=one.call.call_id))
    return messages


class _Spending:
    """Counts what a call costs while it runs, so that a call that is cut short is paid for, too.

    Until the provider tells, each piece is taken for a token and the prompt for its bytes by four; what the provider tells replaces that.
    """

    def __init__(self, spend: Callable[[Usage], None], messages: Sequence[PromptMessage]) -> None:
        self._spend = spend
        self._messages = messages
        self._counted = Usage()
        self._told_since_piece = False

    def piece(self) -> None:
        """Text has come."""
        if self._told_since_piece:
            self._told_since_piece = False
            return
        read = 0
        if self._counted == Usage():
            read = -(-sum(len(one.text.encode()) for one in self._messages) // _BYTES_A_TOKEN)
        self._add(Usage(input_tokens=read, output_tokens=1))

    def exactly(self, usage: Usage) -> None:
        """The provider tells what the call has cost so far."""
        self._told_since_piece = True
        self._add(usage - self._counted)

    def _add(self, usage: Usage) -> None:
        self._counted += usage
        self._spend(usage)


def _fitting(text: str, most_bytes: int) -> str:
    """As much of the text as so many bytes hold, of whole characters."""
    data = text.encode()
    return text if len(data) <= most_bytes else data[:most_bytes].decode(errors="ignore")
