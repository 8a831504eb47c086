"""Checks a model's citations: a citation is sent only if the passage or the source that it names supports its sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import Field

from responsa_server.agents.engine.answer_text import emit_cited
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import (
    AnswerModel,
    Claimed,
    Mark,
    citation,
    claims,
    found_sources,
    plain,
    sentence_ranges,
)
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.declining import UNCITED
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Run
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import CitationJudge, CitedSentence, Evidence, Quote
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    MAX_CITATIONS,
    AnswerOutcome,
    AnyCitation,
    Cited,
    Fallback,
    FallbackKind,
    Step,
)

NO_MARKS: Final = "no_marks"
"""The cause of a fallback if a model's text names no passage, although the model has read some."""
UNSUPPORTED: Final = "unsupported"
"""The cause of a fallback if a model's text names passages, but none of them supports its sentence."""
_ITEM: Final = re.compile(r"^\s*\d{1,3}[.)]\s")
"""The number of an item of a list."""
_NOTHING: Final = Evidence(0, 0, {})
_MOST_SHOWN: Final = 3


class CitationCheckerOptions(NodeOptions):
    """hold: whether the text, which an earlier node has not sent, is sent here, and only if at least one citation remains, all sentences that name a passage are supported, and each sentence with a figure names one. Otherwise, the
    first time, the text is dropped and `problem` says why, so that the model can write it again; the second time, the node is unavailable.
    """

    hold: bool = False

    @property
    def stream(self) -> bool:
        """Whether the node sends the text."""
        return self.hold


class CitationCheckerInput(NodeModel):
    """The text, the marks that were removed from it, and the evidence and the tools' results that the prompts contained.
    shown: how many passages the prompt contained. model: the text's author. problem: why an earlier text was dropped; "" if none was.
    """

    text: str
    complete: bool = True
    marks: tuple[Mark, ...] = ()
    shown: int = Field(default=0, ge=0)
    evidence: Evidence = _NOTHING
    results: tuple[ResultModel, ...] = ()
    gathered: int = Field(default=0, ge=0)
    model: str = ""
    problem: str = ""


class CitationCheckerOutput(NodeModel):
    """The cited answer; None if the text was dropped (`problem`). Sentences that are not supported by the passages that they name stay in the answer without a citation."""

    answer: AnswerModel | None
    text: str
    problem: str = ""


class CitationChecker(Node[CitationCheckerInput, CitationCheckerOutput]):
    """Adds citations to a model's text. The text itself never changes."""

    name = "cite"
    input_model = CitationCheckerInput
    output_model = CitationCheckerOutput
    announcement = Announcement(Step.VERIFYING, "Checking the sources...")

    def __init__(
        self, judge: CitationJudge, table: RetrievalTable = DEFAULT_RETRIEVAL, *, hold: bool = False
    ) -> None:
        """hold: see `CitationCheckerOptions`."""
        self._judge = judge
        self._most_bytes = table.context_bytes
        self._hold = hold

    async def process(self, given: CitationCheckerInput, run: Run) -> CitationCheckerOutput:
        """Send the citations in the order of the text. Raises Unavailable (MODEL_UNAVAILABLE) for the second text that must not be sent."""
        found = claims(given.text, given.marks)
        quotes = await self._judged(found, given)
        judged = list(zip(found, quotes, strict=True))
        supported = [(claimed, quote) for claimed, quote in judged if quote is not None]
        kept = [citation(claimed, quote) for claimed, quote in supported[:MAX_CITATIONS]]
        unsupported = {claimed.source for claimed, quote in judged if quote is None}
        unsupported -= {claimed.source for claimed, _ in supported}
        if self._hold:
            wrong = [claimed.text for claimed, _ in judged if claimed.source in unsupported]
            bare = _without_source(given.text, found)
            if wrong or bare or not kept:
                return self._dropped(given, wrong, bare)
        elif not kept:
            cause = UNSUPPORTED if found else NO_MARKS
            run.fell_back(Fallback(FallbackKind.UNCITED, given.model, self.name, cause))
        self._send(given.text, kept, run)
        answer = AnswerModel(
            text=given.text,
            citations=tuple(plain(one) for one in kept),
            outcome=AnswerOutcome.COMPLETE if given.complete else AnswerOutcome.OUTPUT_LIMIT,
            passages_used=given.shown,
            collections=_collections(quote for _, quote in supported),
            unsupported=len(unsupported),
        )
        return CitationCheckerOutput(answer=answer, text=given.text)

    def _send(self, text: str, citations: Sequence[AnyCitation], run: Run) -> None:
        if self._hold:
            emit_cited(text, citations, run)
            return
        for one in citations:
            run.emit(Cited(one))

    def _dropped(
        self, given: CitationCheckerInput, wrong: Sequence[str], bare: Sequence[str]
    ) -> CitationCheckerOutput:
        if given.problem:
            message = "The model has twice written what the documents do not say; ask again."
            metadata = {"model": given.model, "cause": UNCITED}
            raise Unavailable(Reason.MODEL_UNAVAILABLE, message, metadata, retry_after=1.0)
        problem = "No sentence names a passage that supports it."
        if wrong:
            problem = f"The passages that these sentences name do not support them: {_listed(wrong)}"
        elif bare:
            problem = f"These sentences have a figure and name no passage: {_listed(bare)}"
        return CitationCheckerOutput(answer=None, text="", problem=problem)

    async def _judged(self, found: Sequence[Claimed], given: CitationCheckerInput) -> Sequence[Quote | None]:
        """For each claim, the quote that supports it. Numbers greater than those of the passages name the tools' sources."""
        sources = found_sources(given.results[given.gathered :])
        of_passages = [one for one in found if one.passage <= given.shown or not sources]
        asked = [CitedSentence(one.text, one.passage) for one in of_passages]
        quotes = (
            dict(
                zip(
                    of_passages, await self._judge.judge(asked, given.evidence, self._most_bytes), strict=True
                )
            )
            if asked
            else {}
        )
        of_sources = [one for one in found if one not in quotes]
        fetched = [CitedSentence(one.text, one.passage - given.shown) for one in of_sources]
        quotes |= zip(
            of_sources, await self._judge.judge_sources(fetched, sources) if fetched else (), strict=True
        )
        return [quotes[one] for one in found]


def _listed(sentences: Sequence[str]) -> str:
    return " ".join(f"“{sentence}”" for sentence in dict.fromkeys(sentences[:_MOST_SHOWN]))


def _without_source(text: str, found: Sequence[Claimed]) -> Sequence[str]:
    """The sentences that have a figure and name no passage."""
    data = text.encode()
    return [
        sentence.strip()
        for sentence_range in sentence_ranges(text)
        if not any(
            claimed.source.start < sentence_range.end and sentence_range.start < claimed.source.end
            for claimed in found
        )
        for sentence in (data[sentence_range.start : sentence_range.end].decode(),)
        if any(character.isdigit() for character in _ITEM.sub("", sentence))
    ]


def _collections(quotes: Iterable[Quote]) -> tuple[str, ...]:
    """The collections of the quoted documents."""
    return tuple(
        dict.fromkeys(quote.passage.collection_id for quote in quotes if quote.passage.origin is None)
    )


KIND: Final = NodeKind(
    lambda parts, options, _: CitationChecker(
        required(parts.judge, "judge of citations"), parts.traits.retrieval, hold=options.hold
    ),
    CitationCheckerInput,
    CitationCheckerOutput,
    CitationCheckerOptions,
    fallback=FallbackKind.PASSAGES,
)
