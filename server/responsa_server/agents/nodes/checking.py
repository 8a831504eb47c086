"""Checks the code and the citations of a model's text: a citation is sent only if it was confirmed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import Field

from responsa_server.agents.engine.answer_text import emit_cited, emit_text
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
    unconfirmed,
)
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.declining import UNCITED
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Run
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import (
    CheckedClaim,
    CitationJudge,
    CitedSentence,
    Evidence,
    EvidenceSource,
    Quote,
)
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    AnswerOutcome,
    AnyCitation,
    CitationState,
    Cited,
    Fallback,
    FallbackKind,
    Step,
)
from responsa_server.text.headed import fenced_code

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
    """The cited answer; None if the text was dropped (`problem`). Sentences that name a passage and that nothing confirms stay in the answer, unconfirmed."""

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
        checked = list(zip(found, await self._checked(found, given), strict=True))
        confirmed = [(claimed, one.quote) for claimed, one in checked if one.quoted and one.quote is not None]
        kept = [
            citation(claimed, quote, CitationState.QUOTED) for claimed, quote in confirmed[:MAX_CITATIONS]
        ]
        sure = {claimed.source for claimed, _ in confirmed}
        others = [(claimed, one.passage) for claimed, one in checked if claimed.source not in sure]
        if self._hold:
            wrong = [claimed.text for claimed, _ in others]
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
            collections=_collections(quote for _, quote in confirmed),
            unconfirmed=tuple(unconfirmed(claimed, passage) for claimed, passage in others[:MAX_CITATIONS]),
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

    async def _checked(self, found: Sequence[Claimed], given: CitationCheckerInput) -> Sequence[CheckedClaim]:
        """What is known of each claim. Numbers greater than those of the passages name the tools' sources."""
        sources = found_sources(given.results[given.gathered :])
        of_passages = [one for one in found if one.passage <= given.shown or not sources]
        of_sources = [one for one in found if one.passage > given.shown and sources]
        asked = [CitedSentence(one.text, one.passage, one.quote) for one in of_passages]
        fetched = [CitedSentence(one.text, one.passage - given.shown, one.quote) for one in of_sources]
        checked: dict[Claimed, CheckedClaim] = {}
        if asked:
            judged = await self._judge.judge(asked, given.evidence, self._most_bytes)
            checked |= zip(of_passages, judged, strict=True)
        if fetched:
            checked |= zip(of_sources, await self._judge.judge_sources(fetched, sources), strict=True)
        return [checked[one] for one in found]


def _listed(sentences: Sequence[str]) -> str:
    return " ".join(f"“{sentence}”" for sentence in dict.fromkeys(sentences[:_MOST_SHOWN]))


def _without_source(text: str, found: Sequence[Claimed]) -> Sequence[str]:
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


class CodeCheckerModel(NodeModel):
    """The text as it was sent, and whether it is complete. evidence: what the prompt contained."""

    text: str
    complete: bool
    evidence: Evidence | None = None


class CodeCheckerOutput(NodeModel):
    """The text with the note on its code."""

    text: str
    complete: bool


class CodeChecker(Node[CodeCheckerModel, CodeCheckerOutput]):
    """Adds a note to a text with code. The text itself never changes, because it was already sent. A text without code stays as it is."""

    name = "code"
    input_model = CodeCheckerModel
    output_model = CodeCheckerOutput

    def __init__(self, source: EvidenceSource, table: RetrievalTable = DEFAULT_RETRIEVAL) -> None:
        self._source = source
        self._most_bytes = table.context_bytes

    async def process(self, given: CodeCheckerModel, run: Run) -> CodeCheckerOutput:
        blocks = fenced_code(given.text)
        note = ""
        if blocks and given.complete:
            shown = await self._source.passages(given.evidence, self._most_bytes) if given.evidence else ()
            own = own_blocks([block.code for block in blocks], [one.text for one in shown])
            note = code_note(len(blocks), own)
        if len((given.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(given.text.encode()))
        return CodeCheckerOutput(text=given.text + note, complete=given.complete)


def own_blocks(blocks: Sequence[str], passages: Sequence[str]) -> Sequence[int]:
    """The numbers, from 1, of the blocks of code that are not word for word in a passage."""
    known = [_lines(passage) for passage in passages]
    return [
        number
        for number, one in enumerate(blocks, 1)
        if not any(_within(_lines(one), all_) for all_ in known)
    ]


def code_note(count: int, own: Sequence[int]) -> str:
    """The note on `count` blocks of code, which begins with an empty line. own: the numbers of the blocks that the model wrote."""
    if not own:
        return "\n\n*The code in this answer is word for word from the passages.*"
    if len(own) == count:
        what = "The code in this answer was" if count == 1 else "All code in this answer was"
        return f"\n\n*{what} written by the model, and is unchecked.*"
    places = ", ".join(map(str, own))
    what = f"numbers {places} were" if len(own) > 1 else f"number {places} was"
    return f"\n\n*Of the {count} blocks of code, {what} written by the model, and unchecked. The others are word for word from the passages.*"


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _within(block: Sequence[str], text: Sequence[str]) -> bool:
    size = len(block)
    return any(list(text[place : place + size]) == list(block) for place in range(len(text) - size + 1))


CODE_CHECKER: Final = NodeKind(
    lambda parts, _, __: CodeChecker(required(parts.source, "source of evidence"), parts.traits.retrieval),
    CodeCheckerModel,
    CodeCheckerOutput,
)
