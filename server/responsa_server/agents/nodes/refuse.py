"""Refuses a question, with the reason and a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa_formats.text.languages import UNKNOWN, is_doubtful, language_of
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import RefusalModel
from responsa_server.agents.engine.failed_tools import failures_said
from responsa_server.agents.engine.kinds import NodeKind, NodeParts, require
from responsa_server.agents.engine.node import Node, NodeModel, NodeOptions, Offered, Run, TemplateName
from responsa_server.agents.nodes.deciding import OUT_OF_SCOPE
from responsa_server.agents.nodes.passages import report_without_model
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.events import Fallback, FallbackKind, RefusalReason, ToolOutcome
from responsa_server.domain.kinds import SAMPLE_COLLECTIONS

OFFERED: Final = Offered(trusted=frozenset({"agent", "questions"}), untrusted=frozenset({"question"}))
_SHOWN_CHARACTERS: Final = 160
_DOCUMENTS: Final = "knowledge_search"
_LOST: Final = (
    "The documents could not be searched, and nothing else answers the question. Ask it again in a moment."
)


class RefuseOptions(NodeOptions):
    """out_of_scope: whether every question that reaches this node is out of the agent's scope; if not, the intent
    decides. needs_model: whether only a language model can do what is asked here.
    tools: see `PassagesOptions`. template: the file `prompts/NAME.md` with the message; "" for the node's own message.
    """

    out_of_scope: bool = False
    needs_model: bool = False
    tools: bool = True
    template: TemplateName = ""


_DEFAULT_OPTIONS: Final = RefuseOptions()


class RefuseInput(NodeModel):
    """The question, its intent, the collections and the filter that limited the search, the evidence and how well it
    fits, the results of tools, and the fallbacks of the turn so far."""

    question: str
    standalone_question: str = ""
    intent: str = ""
    collections: tuple[str, ...] = ()
    document_filter: str = ""
    evidence: Evidence | None = None
    ranking: Ranking | None = None
    results: tuple[ResultModel, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()


class RefuseOutput(NodeModel):
    """The refusal."""

    refusal: RefusalModel


class Refuse(Node[RefuseInput, RefuseOutput]):
    """Ends a turn without an answer. The node sends no status, because it writes no answer."""

    input_model = RefuseInput
    output_model = RefuseOutput

    def __init__(
        self,
        parts: NodeParts,
        name: str = "refuse",
        options: RefuseOptions = _DEFAULT_OPTIONS,
    ) -> None:
        """Raises PartMissing if the template has no prompts."""
        self.name = name
        self._parts = parts
        self._options = options
        self._traits = parts.traits
        self._prompts = require(parts.prompts, "set of prompts") if options.template else None
        self._has_model = parts.model is not None
        if options.needs_model:
            self.replaces_model = None

    async def process(self, inputs: RefuseInput, run: Run) -> RefuseOutput:
        """Write the refusal. Its message names the searched documents, the tools that failed and a remedy, or says that the
        agent cannot help with the question.
        """
        report_without_model(
            self._parts, run, self.name, inputs.results, inputs.fallbacks, tools=self._options.tools
        )
        question = _shorten(inputs.standalone_question or inputs.question)
        if self._options.needs_model:
            reason, message = RefusalReason.NEEDS_MODEL, self._not_written(question)
        elif inputs.intent == OUT_OF_SCOPE and not self._has_model and self._is_foreign(inputs.question):
            reason, message = RefusalReason.OUT_OF_SCOPE, self._not_read(_shorten(inputs.question))
        elif self._options.out_of_scope or inputs.intent == OUT_OF_SCOPE:
            reason, message = RefusalReason.OUT_OF_SCOPE, self._not_mine(_shorten(inputs.question))
        else:
            failed = failures_said(inputs.results)
            lost = any(fallback.kind is FallbackKind.WITHOUT_RETRIEVAL for fallback in inputs.fallbacks)
            sentence = _LOST if lost else self._not_found(question, inputs)
            reason = RefusalReason.NO_SUPPORT
            message = f"{failed} {sentence}" if failed else sentence
        if self._prompts is not None:
            values = {
                "agent": self._traits.name,
                "questions": tuple(self._traits.questions),
                "question": question,
            }
            message = self._prompts.text(self._options.template, values).strip()
        return RefuseOutput(refusal=RefusalModel(reason=reason, message=message))

    def _not_written(self, question: str) -> str:
        if self._has_model:
            return f"“{question}” needs a language model, and none is available at present. Ask again in a moment."
        if self._traits.model.asks_none:
            return (
                f"“{question}” needs a language model, and {self._traits.name} uses none. Ask another agent."
            )
        return (
            f"“{question}” needs a language model, and none is configured. An owner of the installation can set one on the page, under"
            " Administration, Model."
        )

    def _is_foreign(self, question: str) -> bool:
        """Whether a question is in another language than the questions of the agent's card, and with them the examples
        of its classifier."""
        own = language_of(" ".join(self._traits.questions))
        return own != UNKNOWN and not is_doubtful(question) and language_of(question) != own

    def _not_read(self, question: str) -> str:
        return (
            f"{self._traits.name} did not recognise “{question}” as something that it can help with. "
            "Perhaps the reason is the language: without a language"
            f" model, it recognises only what resembles its examples. Ask in their language, for example: “{self._traits.questions[0]}”"
        )

    def _not_mine(self, question: str) -> str:
        refusal = f"“{question}” is not something that {self._traits.name} can help with."
        if self._traits.questions:
            return f"{refusal} Ask, for example: “{self._traits.questions[0]}”"
        return f"{refusal} Ask about something that your documents may contain."

    def _not_found(self, question: str, inputs: RefuseInput) -> str:
        if inputs.evidence is None and inputs.results:
            return f"No tool has answered “{question}”. Ask it again in a moment, or in other words."
        # Collections are not named: their ids mean nothing to a user, who perhaps may read none of an agent's collections.
        restricted = bool(self._traits.retrieval.collections) and not inputs.collections
        scope = "this agent's collections" if restricted else ""
        if inputs.collections:
            scope = f"the chosen collection{'s' if len(inputs.collections) > 1 else ''}"
        if inputs.document_filter:
            within = f" of {scope}" if scope else ""
            scope = f"the documents{within} that match the filter “{_shorten(inputs.document_filter)}”"
        if restricted:
            scope = f"what you may read of {scope}"
        scope = scope or "all documents that you may read"
        sentence = f"I searched {scope} for “{question}” and found nothing that fits."
        if inputs.evidence is not None and inputs.evidence.passages:
            if self._has_model:
                sentence = f"The language model found no answer to “{question}” in {scope}."
            elif inputs.ranking is not None and inputs.ranking.support > 0:
                sentence = f"I searched {scope}, and nothing there answers “{question}”."
            remedy = (
                "Name the subject in full, ask about one thing at a time, or add a document that covers it."
            )
        else:
            elsewhere = "ask without the filter" if inputs.document_filter else "search other collections"
            remedy = f"Use the words that your documents use, {elsewhere}, or add a document that covers it."
            if samples := self._samples(inputs):
                remedy = (
                    f"If the samples were not loaded, `responsa samples load {samples}` loads them. {remedy}"
                )
        return f"{sentence}{_also_asked(inputs.results)} {remedy}"

    def _samples(self, inputs: RefuseInput) -> str:
        """The agents whose samples the agent searches, with spaces between them; "" if the question names collections
        or a filter. The collection of an agent's samples has the agent's id."""
        if inputs.collections or inputs.document_filter:
            return ""
        return " ".join(
            collection
            for collection in self._traits.retrieval.collections
            if collection in SAMPLE_COLLECTIONS
        )


def _also_asked(results: Sequence[ResultModel]) -> str:
    """The sentence on the tools that answered; "" if there are no such tools."""
    answered = [
        result for result in results if result.outcome is ToolOutcome.OK and result.call.tool != _DOCUMENTS
    ]
    tools = list(dict.fromkeys(result.title or result.call.tool for result in answered))
    if not tools:
        return ""
    return f" What {' and '.join(tools[:4])} returned does not answer it either."


def _shorten(question: str) -> str:
    text = " ".join(question.split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1].rstrip() + "…"


KIND: Final = NodeKind(
    lambda parts, options, name: Refuse(parts, name, options),
    RefuseInput,
    RefuseOutput,
    RefuseOptions,
    offers=OFFERED,
)
