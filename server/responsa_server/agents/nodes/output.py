"""Fills in a template, or sends a text that an earlier node wrote but did not send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import AnswerModel
from responsa_server.agents.engine.config import TEMPLATE, Traits
from responsa_server.agents.engine.failed_tools import failures_said, without_documents
from responsa_server.agents.engine.kinds import NodeKind, require
from responsa_server.agents.engine.node import (
    Announcement,
    Node,
    NodeModel,
    NodeOptions,
    Offered,
    Run,
    TemplateName,
)
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.domain.events import MAX_ANSWER_BYTES, AnswerOutcome, Fallback, FallbackKind, Step
from responsa_server.text.disarming import disarm, links


class OutputModel(NodeModel):
    """The answer's text, and whether it is complete."""

    text: str
    complete: bool


class Output(Node[OutputModel, OutputModel]):
    """Sends the text in pieces, unchanged."""

    input_model = OutputModel
    output_model = OutputModel

    def __init__(self, name: str) -> None:
        self.name = name

    async def process(self, inputs: OutputModel, run: Run) -> OutputModel:
        text = disarm(inputs.text, links(inputs.text), most_bytes=MAX_ANSWER_BYTES)
        emit_text(text, run)
        return OutputModel(text=text, complete=inputs.complete)


OUTPUT: Final = NodeKind(
    lambda _, __, name: Output(name),
    OutputModel,
    OutputModel,
)


WITHOUT_MODEL: Final = "without_model"
NO_MODEL: Final = "No language model is configured"
NEVER_A_MODEL: Final = "This agent uses no language model"
MODEL_AWAY: Final = "The language model is not available"
OFFERED: Final = Offered(
    trusted=frozenset({"agent", "teacher", WITHOUT_MODEL, "questions", "failed", "greeting", "language"}),
    untrusted=frozenset({"question"}),
)


class TemplateOptions(NodeOptions):
    """template: the file `prompts/NAME.md`."""

    template: TemplateName


class TemplateInput(NodeModel):
    """The values for the template, the results of tools, and the fallbacks of the turn so far."""

    question: str
    standalone_question: str = ""
    teacher: str = ""
    language: str = ""
    results: tuple[ResultModel, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()


class TemplateOutput(NodeModel):
    """The whole text. model: `template`."""

    answer: AnswerModel
    model: str


class Template(Node[TemplateInput, TemplateOutput]):
    """Fills in the template and sends the text. If no model is configured and the template has the variable `without_model`, the
    turn reports that the template replaced a model.
    """

    input_model = TemplateInput
    output_model = TemplateOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")
    replaces_model = FallbackKind.TEMPLATE

    def __init__(
        self,
        prompts: PromptSet,
        template: str,
        name: str = "template",
        *,
        traits: Traits | None = None,
        has_model: bool = False,
    ) -> None:
        """has_model: whether the agent has a model. If so, the variable `without_model` says that the model is
        unavailable, and this node does not report a fallback.
        """
        self.name = name
        self._prompts = prompts
        self._template = template
        self._traits = traits or Traits()
        self._has_model = has_model

    async def process(self, inputs: TemplateInput, run: Run) -> TemplateOutput:
        """Fill in the template and send the text. Raises PromptError if the template cannot be filled in."""
        missed = not self._has_model and not self._traits.model.asks_none
        if missed and WITHOUT_MODEL in self._prompts.front(self._template).variables:
            run.fell_back(Fallback(FallbackKind.TEMPLATE, "model", self.name, "no_model"))
        whole = self._prompts.text(self._template, self._values(inputs)).replace("\x00", "\ufffd")
        text = disarm(whole, [self._prompts.source(self._template).body], most_bytes=MAX_ANSWER_BYTES)
        emit_text(text, run)
        fits = len(whole.encode()) <= MAX_ANSWER_BYTES
        outcome = AnswerOutcome.COMPLETE if fits else AnswerOutcome.OUTPUT_LIMIT
        return TemplateOutput(
            answer=AnswerModel(text=text, citations=(), outcome=outcome, passages_used=0), model=TEMPLATE
        )

    def _values(self, inputs: TemplateInput) -> Mapping[str, object]:
        return {
            "agent": self._traits.name,
            "greeting": self._traits.greeting,
            "questions": tuple(self._traits.questions),
            "teacher": inputs.teacher,
            "language": inputs.language,
            WITHOUT_MODEL: MODEL_AWAY
            if self._has_model
            else NEVER_A_MODEL
            if self._traits.model.asks_none
            else NO_MODEL,
            "question": inputs.standalone_question or inputs.question,
            "failed": " ".join(
                filter(
                    None,
                    [without_documents(inputs.fallbacks, self._traits), failures_said(inputs.results)],
                )
            ),
        }


KIND: Final = NodeKind(
    lambda parts, options, name: Template(
        require(parts.prompts, "set of prompts"),
        options.template,
        name,
        traits=parts.traits,
        has_model=parts.model is not None,
    ),
    TemplateInput,
    TemplateOutput,
    TemplateOptions,
    offers=OFFERED,
)
