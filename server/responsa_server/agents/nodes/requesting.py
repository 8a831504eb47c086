"""Asks a language model which tools to call."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.calling import CallModel
from responsa_server.agents.engine.kinds import NodeKind, NodeParts
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, PromptName, Run
from responsa_server.agents.nodes.choosing import (
    SELECTION,
    TOOL_CHOOSER,
    ChooserInput,
    ToolChooser,
    chooser_for,
)
from responsa_server.agents.nodes.prompt import OFFERED, Prompt, PromptInput, PromptOptions
from responsa_server.domain.events import FallbackKind, Step


class RequesterOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`."""

    prompt: PromptName


class RequesterOutput(NodeModel):
    """The calls that the model requests; empty if it requests none."""

    calls: tuple[CallModel, ...]


class ToolRequester(Node[PromptInput, RequesterOutput]):
    """Like `Prompt` with tools, but the model's text is dropped. For a model that cannot request tools, they are chosen as by a `tool_chooser` with the shared prompts. Without a tool to offer,
    the model is not asked.
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
        given = PromptOptions(prompt=options.prompt, tools=True, stream=False)
        self._prompt = Prompt(parts, name, given, announcement=None)

    async def process(self, given: PromptInput, run: Run) -> RequesterOutput:
        """Ask the model. Raises as `Prompt.process` does."""
        if self._chooser is not None:
            return RequesterOutput(calls=await self._chosen(self._chooser, given, run))
        if not self._prompt.cards(run):
            return RequesterOutput(calls=())
        return RequesterOutput(calls=(await self._prompt.process(given, run)).calls)

    async def _chosen(self, chooser: ToolChooser, given: PromptInput, run: Run) -> tuple[CallModel, ...]:
        """The calls that are chosen for a model that cannot request any. They are chosen once in a turn."""
        if given.results:
            return ()
        message = {name: getattr(given, name) for name in ChooserInput.model_fields}
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
