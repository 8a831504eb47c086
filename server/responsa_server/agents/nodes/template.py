"""Writes an answer from a template of the agent, without a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import AnswerModel, citation_of, found_sources, plain, split
from responsa_server.agents.engine.config import TEMPLATE, Traits
from responsa_server.agents.engine.failed_tools import failures_said, titled, without_documents
from responsa_server.agents.engine.kinds import NodeKind, required
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
from responsa_server.agents.engine.small_talk import small_talk_of
from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    MAX_DELTA_BYTES,
    MAX_QUOTE_BYTES,
    AnswerOutcome,
    AnyCitation,
    ByteRange,
    Cited,
    Delta,
    Fallback,
    FallbackKind,
    Step,
)
from responsa_server.domain.passages import Passage

WITHOUT_MODEL: Final = "without_model"
NO_MODEL: Final = "No language model is configured"
MODEL_AWAY: Final = "The language model is not available"
OFFERED: Final = Offered(
    trusted=frozenset({"agent", "teacher", WITHOUT_MODEL, "questions", "tags", "failed", "talk"}),
    untrusted=frozenset(
        {
            *(
                "question",
                "title",
                "quotes",
                "direct",
                "documents",
                "absent",
                "misspelled",
                "unrecorded",
                "lead",
            ),
            "unanswered",
        }
    ),
)
_WORD: Final = re.compile(r"[^\W_]+")
_MOST_TAGS: Final = 3
_MOST_CODE: Final = 100
"""The number of characters of the longest text in code within a line."""
_NO_ID: Final = UUID(int=0)


class TemplateOptions(NodeOptions):
    """template: the file `prompts/NAME.md`."""

    template: TemplateName


class TemplateInput(NodeModel):
    """The values for the template, the quotes, the results of tools, and the fallbacks of the turn so far. titles: the titles of the documents about the caller. absent: the words of the
    question that no document has. unrecorded: the titles of reference documents that the question names and the caller's record does not. misspelled: the words
    of the question that were read as words of the record, each with this word. lead: a sentence that compares the first two quotes, or "".
    """

    question: str
    standalone_question: str = ""
    teacher: str = ""
    extraction: Extraction | None = None
    evidence: Evidence | None = None
    results: tuple[ResultModel, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    titles: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    misspelled: tuple[tuple[str, str], ...] = ()
    unanswered: tuple[str, ...] = ()
    lead: str = ""


class TemplateOutput(NodeModel):
    """The whole text, with a citation for each quote in it. model: `template`."""

    answer: AnswerModel
    model: str


class Template(Node[TemplateInput, TemplateOutput]):
    """Fills in the template and sends the text. If the agent has no model and the template has the variable `without_model`, the
    turn reports that the template replaced a model.
    """

    input_model = TemplateInput
    output_model = TemplateOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")

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

    async def process(self, given: TemplateInput, run: Run) -> TemplateOutput:
        """Fill in the template and send the text. Raises PromptError if the template cannot be filled in."""
        extraction = given.extraction
        # Next to the results of tools, sentences that support no answer would only distract.
        shows = extraction is not None and (extraction.supported or not given.results)
        direct = {one.id for one in given.results if one.direct}
        quotes = [
            one
            for one in (extraction.quotes[:MAX_CITATIONS] if extraction is not None and shows else ())
            if one.passage.origin is None or one.passage.origin.call_id not in direct
        ]
        if not self._has_model and WITHOUT_MODEL in self._prompts.front(self._template).variables:
            run.fell_back(Fallback(FallbackKind.TEMPLATE, "model", self.name, "no_model"))
        run.read(one.passage.read for one in quotes)
        whole = self._prompts.text(self._template, self._values(given, quotes)).replace("\x00", "\ufffd")
        text = whole.encode()[:MAX_ANSWER_BYTES].decode(errors="ignore")
        found = found_in(text, [*_direct_quotes(given.results), *quotes])
        citations = [*_lead_cited(text, given.lead, quotes), *found][:MAX_CITATIONS]
        emit_cited(text, citations, run)
        outcome = AnswerOutcome.COMPLETE if text == whole else AnswerOutcome.OUTPUT_LIMIT
        answer = AnswerModel(
            text=text,
            citations=tuple(plain(one) for one in citations),
            outcome=outcome,
            passages_used=given.evidence.passages if given.evidence is not None and quotes else 0,
        )
        return TemplateOutput(answer=answer, model=TEMPLATE)

    def _values(self, given: TemplateInput, quotes: Sequence[Quote]) -> Mapping[str, object]:
        titles: list[str] = list(dict.fromkeys(one.passage.title for one in quotes if one.passage.title))
        return {
            "agent": self._traits.name,
            "questions": tuple(self._traits.questions),
            "teacher": given.teacher,
            "talk": small_talk_of(given.question).value,
            WITHOUT_MODEL: MODEL_AWAY if self._has_model else NO_MODEL,
            "question": given.standalone_question or given.question,
            "title": titles[0] if titles else "",
            # Because quotes are cited, they must stand in the text exactly as `found_in` looks for them.
            "quotes": tuple({"text": one.markdown, "number": number} for number, one in enumerate(quotes, 1)),
            "tags": tuple(tag for one in titles[:_MOST_TAGS] if (tag := _tag(one))),
            "direct": tuple(
                {"tool": titled(one), "text": _shown(one)} for one in given.results if one.direct
            ),
            "documents": given.titles,
            "absent": given.absent,
            "unrecorded": given.unrecorded,
            "misspelled": tuple({"word": word, "meant": meant} for word, meant in given.misspelled),
            "unanswered": given.unanswered,
            "lead": given.lead,
            "failed": " ".join(
                filter(
                    None,
                    [without_documents(given.fallbacks, self._traits), failures_said(given.results)],
                )
            ),
        }


def found_in(text: str, quotes: Sequence[Quote]) -> Sequence[AnyCitation]:
    """A citation for each quote that the text shows, in order. A quote longer than MAX_QUOTE_BYTES has several, which all refer to the whole quote."""
    found: list[AnyCitation] = []
    data, place = text.encode(), 0
    for quote in quotes:
        shown = quote.markdown.encode()
        at = data.find(shown, place)
        if at < 0:
            continue
        place = at + len(shown)
        source = quote.source.start
        for piece in split(quote.text, MAX_QUOTE_BYTES):
            size = len(piece.encode())
            found.append(citation_of(quote, piece, ByteRange(source, source + size), ByteRange(at, place)))
            source += size
    return found[:MAX_CITATIONS]


def _lead_cited(text: str, lead: str, quotes: Sequence[Quote]) -> Sequence[AnyCitation]:
    """The citations of the sentence that compares the first two quotes."""
    at = text.encode().find(lead.encode()) if lead else -1
    if at < 0:
        return ()
    answer = ByteRange(at, at + len(lead.encode()))
    return [citation_of(one, one.text, one.source, answer) for one in quotes[:2]]


def emit_cited(text: str, citations: Sequence[AnyCitation], run: Run) -> None:
    """Send a text in deltas, and each citation as soon as its quote is sent."""
    left, end = list(citations), 0
    for part in split(text, MAX_DELTA_BYTES):
        run.emit(Delta(part, end))
        end += len(part.encode())
        while left and left[0].answer.end <= end:
            run.emit(Cited(left.pop(0)))


def _direct_quotes(results: Sequence[ResultModel]) -> Sequence[Quote]:
    """A quote of the source of each result that answers by itself. A computation has no source."""
    return [
        Quote(
            Passage(
                _NO_ID, "", _NO_ID, 0, found.source.title, found.source.uri, whole, text, origin=found.origin
            ),
            whole,
            text,
            1.0,
            _shown(one),
        )
        for one in results
        if one.direct
        for found in found_sources([one])
        for text in [found.source.text]
        for whole in [ByteRange(0, len(text.encode()))]
    ]


def _shown(result: ResultModel) -> str:
    """A result that answers by itself, as Markdown: a sentence as it is, and anything else word for word."""
    text = result.content.strip()
    if result.sources and "\n" not in text and not text.startswith(("{", "[")):
        return text
    if "`" in text:
        return text
    return f"```\n{text}\n```" if "\n" in text or len(text) > _MOST_CODE else f"`{text}`"


def _tag(title: str) -> str:
    words = _WORD.findall(title)
    return "#" + "".join(word[:1].upper() + word[1:] for word in words) if words else ""


KIND: Final = NodeKind(
    lambda parts, options, name: Template(
        required(parts.prompts, "set of prompts"),
        options.template,
        name,
        traits=parts.traits,
        has_model=parts.model is not None,
    ),
    TemplateInput,
    TemplateOutput,
    TemplateOptions,
    streams=True,
    offers=OFFERED,
    replaces_model=FallbackKind.TEMPLATE,
)
