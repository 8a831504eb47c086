"""Requests and calls tools, and says which of them failed."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.calling import CallModel, CallScope, ResultModel, ToolCaller
from responsa_server.agents.engine.citations import sources_of_results
from responsa_server.agents.engine.failed_tools import failures_of, failures_said
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
from responsa_server.agents.engine.tool_circuits import ToolCircuits
from responsa_server.agents.nodes.choosing import (
    SELECTION,
    TOOL_CHOOSER,
    ChooserInput,
    ToolChooser,
    chooser_for,
)
from responsa_server.agents.nodes.prompt import OFFERED, Prompt, PromptInput, PromptOptions
from responsa_server.domain.events import MAX_ANSWER_BYTES, FallbackKind, Step
from responsa_server.domain.people import with_files
from responsa_server.domain.tools import Effect
from responsa_server.text.disarming import disarm

# The calls have their own deadline.
_LONGEST_SECONDS: Final = 3600.0


class CallToolInput(NodeModel):
    """The requested calls, the results of earlier calls, and the documents that the question is about."""

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...] = ()
    collections: tuple[str, ...] = ()
    document_filter: str = ""


class CallToolOutput(NodeModel):
    """The results of all calls so far; no call is left.

    direct: how many results answer by themselves. found: how many sources the others have. failed: how many calls failed.
    """

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...]
    direct: int = Field(ge=0)
    found: int = Field(ge=0)
    failed: int = Field(ge=0)


class CallTool(Node[CallToolInput, CallToolOutput]):
    """Makes the requested calls side by side, and adds their results in the order of the requests.

    The key of a call consists of this node's name and the call's number in the turn. The key is the same in every
    attempt, because a milestone stores the requested calls before the first call begins.
    """

    name = "tool"
    input_model = CallToolInput
    output_model = CallToolOutput
    effect = Effect.ONCE
    policy = Policy(timeout_seconds=_LONGEST_SECONDS)

    def __init__(self, parts: NodeParts, name: str = "tool") -> None:
        self.name = name
        self._parts = parts

    async def process(self, inputs: CallToolInput, run: Run) -> CallToolOutput:
        """Make the calls. A failed call is a result, never an error."""
        circuits = ToolCircuits(
            self._parts.breakers, run.caller.tenant_id, str(run.caller.user_id), self._parts.tools.endpoint
        )
        caller = ToolCaller(self.name, self._parts.traits.calls, circuits)
        usual = self._parts.traits.retrieval.collections
        scope = CallScope(
            inputs.collections or (with_files(run.caller, usual) if usual else ()),
            bool(inputs.collections),
            inputs.document_filter,
        )
        tools = self._parts.list_granted(run.caller)
        new = await caller.make_calls(inputs.calls, inputs.results, tools, run, scope)
        results = (*inputs.results, *new)
        return CallToolOutput(
            calls=(),
            results=results,
            direct=sum(result.direct for result in results),
            found=len(sources_of_results([result for result in results if not result.direct])),
            failed=len(failures_of(results)),
        )


TOOL_CALLER: Final = NodeKind(lambda parts, _, name: CallTool(parts, name), CallToolInput, CallToolOutput)


class RequesterOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`."""

    prompt: PromptName


class RequesterOutput(NodeModel):
    """The calls that the model requests; empty if it requests none."""

    calls: tuple[CallModel, ...]


class ToolRequester(Node[PromptInput, RequesterOutput]):
    """Like `Prompt` with tools, but the model's text is dropped. For a model that cannot request tools, they are chosen
    as by a `tool_chooser` with the shared prompts. Without a tool to offer, the model is not asked.
    """

    input_model = PromptInput
    output_model = RequesterOutput
    announcement = Announcement(Step.ROUTING, "Choosing tools...")
    policy = Prompt.policy
    calls_model = True

    def __init__(self, parts: NodeParts, name: str, options: RequesterOptions) -> None:
        """Raises PartMissing if there is no model."""
        self.name = name
        self._chooser = chooser_for(parts, name)
        prompt_options = PromptOptions(prompt=options.prompt, tools=True, stream=False)
        self._prompt = Prompt(parts, name, prompt_options, announcement=None)

    async def process(self, inputs: PromptInput, run: Run) -> RequesterOutput:
        """Ask the model. Raises as `Prompt.process` does."""
        if self._chooser is not None:
            return RequesterOutput(calls=await self._choose(self._chooser, inputs, run))
        if not self._prompt.cards(run):
            return RequesterOutput(calls=())
        return RequesterOutput(calls=(await self._prompt.process(inputs, run)).calls)

    async def _choose(self, chooser: ToolChooser, inputs: PromptInput, run: Run) -> tuple[CallModel, ...]:
        """The calls that are chosen for a model that cannot request any. They are chosen once in a turn."""
        if inputs.results:
            return ()
        message = {name: getattr(inputs, name) for name in ChooserInput.model_fields}
        return (await chooser.process(ChooserInput.model_construct(**message), run)).calls


TOOL_REQUESTER: Final = NodeKind(
    lambda parts, options, name: ToolRequester(parts, name, options),
    PromptInput,
    RequesterOutput,
    RequesterOptions,
    fallback=FallbackKind.PASSAGES,
    offers=OFFERED,
    needs_model=True,
    uses=lambda _: (TOOL_CHOOSER, SELECTION),
)


class FailureReporterInput(NodeModel):
    """The text as it was sent, whether it is complete, and the results of all calls."""

    text: str
    complete: bool
    results: tuple[ResultModel, ...] = ()


class FailureReporterOutput(NodeModel):
    """The text with the note on failed calls."""

    text: str
    complete: bool


class FailureReporter(Node[FailureReporterInput, FailureReporterOutput]):
    """Adds a paragraph with a fixed sentence for each tool that failed. If no call failed, the text stays as it is."""

    name = "failures"
    input_model = FailureReporterInput
    output_model = FailureReporterOutput

    async def process(self, inputs: FailureReporterInput, run: Run) -> FailureReporterOutput:
        """Send the note. A text that leaves no room for it stays as it is."""
        sentence = failures_said(inputs.results)
        note = disarm(f"\n\n*{sentence}*") if sentence else ""
        if len((inputs.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(inputs.text.encode()))
        return FailureReporterOutput(text=inputs.text + note, complete=inputs.complete)


FAILURE_REPORTER: Final = NodeKind(
    lambda _, __, ___: FailureReporter(),
    FailureReporterInput,
    FailureReporterOutput,
)
