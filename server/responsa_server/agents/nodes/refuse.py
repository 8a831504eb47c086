"""Refuses a question, with the reason and a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from responsa_formats.text.languages import language_of
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import RefusalModel
from responsa_server.agents.engine.failed_tools import failures_said
from responsa_server.agents.engine.kinds import NodeKind, NodeParts, require
from responsa_server.agents.engine.node import Node, NodeModel, NodeOptions, Offered, Run, TemplateName
from responsa_server.agents.nodes.deciding import OUT_OF_SCOPE
from responsa_server.agents.nodes.passages import report_without_model
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.events import Fallback, FallbackKind, RefusalReason
from responsa_server.domain.kinds import SAMPLE_COLLECTIONS

OFFERED: Final = Offered(trusted=frozenset({"agent", "questions"}), untrusted=frozenset({"question"}))
_SHOWN_CHARACTERS: Final = 160
_LOST: Final = "The documents could not be searched. Ask again in a moment."
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "closest": "Closest passages",
        "nothing": "Nothing close was found",
        "declined": "The model found no answer in these passages",
        "searched": "I searched {} for “{}”.",
        "filter": "the documents that match the filter “{}”",
        "chosen": "the chosen collections",
        "agent": "what you may read of this agent's collections",
        "all": "the documents that you may read",
        "samples": "If the samples were not loaded, `responsa samples load {}` loads them.",
        "name": "Name the subject in full, ask about one thing at a time, or add a document that covers it.",
        "use": "Use the words that your documents use, search more of them, or add a document that covers it.",
    },
    "de": {
        "closest": "Nächstliegende Stellen",
        "nothing": "Nichts Naheliegendes gefunden",
        "declined": "Das Modell hat in diesen Stellen keine Antwort gefunden",
        "searched": "Durchsucht: {}. Gesucht: „{}“.",
        "filter": "die Dokumente, auf die der Filter „{}“ passt",
        "chosen": "die gewählten Sammlungen",
        "agent": "was Sie von den Sammlungen dieses Agenten lesen dürfen",
        "all": "die Dokumente, die Sie lesen dürfen",
        "samples": "Falls die Beispiele fehlen, lädt sie `responsa samples load {}`.",
        "name": "Nennen Sie den Gegenstand vollständig, stellen Sie nur eine Frage auf einmal, oder fügen Sie ein Dokument dazu hinzu.",
        "use": "Verwenden Sie die Wörter Ihrer Dokumente, durchsuchen Sie mehr davon, oder fügen Sie ein Dokument dazu hinzu.",
    },
}
"""What a search without an answer says, by the language of its question: of none of it that documents do not answer."""


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
    fits, the results of tools, whether a model found no answer in them, and the fallbacks of the turn so far."""

    question: str
    standalone_question: str = ""
    intent: str = ""
    collections: tuple[str, ...] = ()
    document_filter: str = ""
    evidence: Evidence | None = None
    ranking: Ranking | None = None
    results: tuple[ResultModel, ...] = ()
    declined: bool = False
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
        """Write the refusal. Its message says whether passages are close, and names the searched documents, the tools that
        failed and a remedy; or it says that the agent cannot help with the question.
        """
        report_without_model(
            self._parts, run, self.name, inputs.results, inputs.fallbacks, tools=self._options.tools
        )
        question = _shorten(inputs.standalone_question or inputs.question)
        if self._options.needs_model:
            reason, message = RefusalReason.NEEDS_MODEL, self._not_written(question)
        elif self._options.out_of_scope or inputs.intent == OUT_OF_SCOPE:
            reason, message = RefusalReason.OUT_OF_SCOPE, self._not_mine(_shorten(inputs.question))
        else:
            lost = any(fallback.kind is FallbackKind.WITHOUT_RETRIEVAL for fallback in inputs.fallbacks)
            reason, failed = RefusalReason.NO_SUPPORT, failures_said(inputs.results)
            heading, text = ("", _LOST) if lost else self._not_found(question, inputs)
            message = heading + " ".join(filter(None, (failed, text)))
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

    def _not_mine(self, question: str) -> str:
        refusal = f"{self._traits.name} did not recognise “{question}” as something that it can help with."
        if self._traits.questions:
            return f"{refusal} Ask, for example: “{self._traits.questions[0]}”"
        return f"{refusal} Ask about something that your documents may contain."

    def _not_found(self, question: str, inputs: RefuseInput) -> tuple[str, str]:
        """The heading of what was found, a paragraph of its own, and what was searched, with a remedy."""
        if inputs.evidence is None and inputs.results:
            return "", f"No tool has answered “{question}”. Ask it again in a moment, or in other words."
        words = _WORDS.get(language_of(inputs.question), _WORDS["en"])
        # Collections are not named: their ids mean nothing to a user, who perhaps may read none of an agent's collections.
        scope = words["agent" if self._traits.retrieval.collections else "all"]
        if inputs.document_filter:
            scope = words["filter"].format(_shorten(inputs.document_filter))
        elif inputs.collections:
            scope = words["chosen"]
        near = inputs.ranking is not None and inputs.ranking.support > 0
        heading = words["declined" if inputs.declined else "closest" if near else "nothing"]
        sentences = [words["searched"].format(scope, question)]
        if inputs.evidence is not None and inputs.evidence.passages:
            sentences.append(words["name"])
        else:
            if samples := self._samples(inputs):
                sentences.append(words["samples"].format(samples))
            sentences.append(words["use"])
        return f"{heading}\n\n", " ".join(sentences)

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
