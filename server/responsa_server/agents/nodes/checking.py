"""Checks the code of a model's text, and gives it its citations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from pydantic import Field

from responsa_server.agents.engine.answer_text import emit_cited, emit_text
from responsa_server.agents.engine.asking import (
    FAILURES,
    PATIENCE_SECONDS,
    AnswerShape,
    Asker,
    StructuredInvalid,
    cause,
)
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import (
    AnswerModel,
    Mark,
    citation,
    claims,
    find_unsourced,
    plain,
    sources_of_results,
)
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.declining import UNCITED
from responsa_server.agents.engine.kinds import NodeKind, require
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Run
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.agents import Barrier
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
    ByteRange,
    Cited,
    Fallback,
    FallbackKind,
    JudgeVerdict,
    Step,
)
from responsa_server.text.headed import fenced_code
from responsa_server.text.instructing import without_instructions

NO_MARKS: Final = "no_marks"
"""The cause of a fallback if a model's text names no passage."""
ASKED_BEFORE: Final = "asked_before"
"""The cause of a fallback if an earlier attempt may have asked the model that judges."""
JUDGING: Final = "citation_judging"
"""The prompt of the model that judges."""
_SHARE: Final = 0.5
"""The share of the node's time limit that the model that judges may take."""
_NOTHING: Final = Evidence(0, 0, {})
_MOST_SHOWN: Final = 3


class CitationCheckerOptions(NodeOptions):
    """hold: whether the text, which an earlier node has not sent, is sent here, and only if it has a citation, each
    sentence with a figure has one, the words of each were found, and a model that judges has denied none. Otherwise,
    the first time, the text is dropped and `problem` says why, so that the model can write it again; the second time,
    the node is unavailable.
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
    model: str = ""
    problem: str = ""


class CitationCheckerOutput(NodeModel):
    """The cited answer; None if the text was dropped (`problem`)."""

    answer: AnswerModel | None
    text: str
    problem: str = ""


class Verdict(NodeModel):
    """What the texts of a sentence say of it. number: the sentence's, from 1."""

    number: int
    verdict: Literal["supported", "denied", "undecided"]


class Verdicts(NodeModel):
    """The reply of the model that judges: one verdict for each sentence."""

    verdicts: tuple[Verdict, ...]


class CitationChecker(Node[CitationCheckerInput, CitationCheckerOutput]):
    """Adds citations to a model's text. The text itself never changes.

    If there is a model that judges, it is asked once for each text. If it fails, or an earlier attempt at the turn may
    have asked it, it has decided nothing.
    """

    name = "cite"
    input_model = CitationCheckerInput
    output_model = CitationCheckerOutput
    has_rule = True
    announcement = Announcement(Step.VERIFYING, "Checking the sources...")

    def __init__(
        self,
        judge: CitationJudge,
        table: RetrievalTable = DEFAULT_RETRIEVAL,
        asker: Callable[[], Asker | None] = lambda: None,
        *,
        hold: bool = False,
    ) -> None:
        """asker: what asks the model that judges now; None if there is none. hold: see `CitationCheckerOptions`."""
        self._judge = judge
        self._asker = asker
        self._shape = AnswerShape(Verdicts)
        self._most_bytes = table.context_bytes
        self._hold = hold

    @property
    def calls_model(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - an owner may change it
        return self._asker() is not None

    begins_attempts = calls_model  # pyright: ignore[reportAssignmentType] - likewise

    async def process(self, inputs: CitationCheckerInput, run: Run) -> CitationCheckerOutput:
        """Send the citations in the order of the text. Raises Unavailable (MODEL_UNAVAILABLE) for the second text that must not be sent."""
        text_claims = claims(inputs.text, inputs.marks)
        checks: Sequence[CheckedClaim | None] = ()
        if text_claims:
            sources = sources_of_results(inputs.results)
            checks = await self._judge.check(text_claims, inputs.evidence, self._most_bytes, sources)
        checked = [(claim, one) for claim, one in zip(text_claims, checks, strict=True) if one is not None]
        complete = inputs.complete and len(checked) <= MAX_CITATIONS
        checked = checked[:MAX_CITATIONS]
        verdicts: Mapping[ByteRange, JudgeVerdict] = {}
        if (asker := self._asker()) is not None:
            verdicts = await self._ask_judge(asker, checked, run)
        cited = [
            citation(
                claim,
                check,
                index,
                verdicts.get(claim.answer, JudgeVerdict.NONE) if check.quote.text else JudgeVerdict.NONE,
            )
            for index, (claim, check) in enumerate(checked)
        ]
        citations = [plain(item) for item in cited]
        unsourced = find_unsourced(inputs.text, cited) if cited else ()
        if self._hold:
            wrong = [claim.text for (claim, _), item in zip(checked, citations, strict=True) if item.fails]
            data = inputs.text.encode()
            bare = [data[span.start : span.end].decode() for span in unsourced]
            bare = [sentence for sentence in bare if re.search(r"\d", sentence)]
            if wrong or bare or not citations:
                return self._drop(inputs, wrong, bare)
        elif not citations:
            run.fell_back(Fallback(FallbackKind.UNCITED, inputs.model, self.name, NO_MARKS))
        self._send(inputs.text, cited, run)
        answer = AnswerModel(
            text=inputs.text,
            citations=tuple(citations),
            outcome=AnswerOutcome.COMPLETE if complete else AnswerOutcome.OUTPUT_LIMIT,
            passages_used=inputs.shown,
            collections=_collections(check.quote for _, check in checked),
            unsourced=tuple(unsourced),
        )
        return CitationCheckerOutput(answer=answer, text=inputs.text)

    def _send(self, text: str, citations: Sequence[AnyCitation], run: Run) -> None:
        if self._hold:
            emit_cited(text, citations, run)
            return
        for item in citations:
            run.emit(Cited(item))

    def _drop(
        self, inputs: CitationCheckerInput, wrong: Sequence[str], bare: Sequence[str]
    ) -> CitationCheckerOutput:
        if inputs.problem:
            message = "The model has twice written what the documents do not say; ask again."
            metadata = {"model": inputs.model, "cause": UNCITED}
            raise Unavailable(Reason.MODEL_UNAVAILABLE, message, metadata, retry_after=1.0)
        problem = "No sentence names a passage."
        if wrong:
            problem = f"The passages that these sentences name do not say what they say: {_join(wrong)}"
        elif bare:
            problem = f"These sentences have a figure and name no passage: {_join(bare)}"
        return CitationCheckerOutput(answer=None, text="", problem=problem)

    async def _ask_judge(
        self, asker: Asker, checked: Sequence[tuple[CitedSentence, CheckedClaim]], run: Run
    ) -> Mapping[ByteRange, JudgeVerdict]:
        """What the model says of each sentence with a quote, by the sentence's place."""
        quotes: dict[ByteRange, list[Quote]] = {}
        texts: dict[ByteRange, str] = {}
        for claim, check in checked:
            if check.quote.text:
                quotes.setdefault(claim.answer, []).append(check.around)
                texts[claim.answer] = claim.text
        if not quotes:
            return {}
        failure = ASKED_BEFORE
        if run.begin_at != self.name:
            # The milestone before this node is committed before the model is asked, so that no later attempt asks again.
            committed = Barrier()
            run.emit(committed)
            await committed.passed.wait()
            try:
                verdicts = await self._verdicts(asker, [(texts[span], quotes[span]) for span in quotes], run)
            except FAILURES as error:
                failure = cause(error)
            else:
                return dict(zip(quotes, verdicts, strict=True))
        run.fell_back(Fallback(FallbackKind.RULE, asker.model.name, self.name, failure))
        return dict.fromkeys(quotes, JudgeVerdict.UNDECIDED)

    async def _verdicts(
        self, asker: Asker, sentences: Sequence[tuple[str, Sequence[Quote]]], run: Run
    ) -> Sequence[JudgeVerdict]:
        """What the model says of each sentence. Raises one of FAILURES."""
        shown = [[_text_of(quote) for quote in quotes] for _, quotes in sentences]
        texts = list(dict.fromkeys(text for those in shown for text in those))
        lines = [
            f"{number}. [{', '.join(str(texts.index(text) + 1) for text in dict.fromkeys(those))}] {' '.join(sentence.split())}"
            for number, ((sentence, _), those) in enumerate(zip(sentences, shown, strict=True), 1)
        ]
        untrusted = Untrusted("", passages=texts, others={"sentences": "\n".join(lines)})
        prompt = asker.prompt(run, JUDGING, {"formats": self._shape.text}, untrusted, self._shape.schema)
        limit = min(PATIENCE_SECONDS, _SHARE * self.policy.timeout_seconds)
        verdicts = self._shape.read(await asker.raw(prompt, run, limit), run.nonce).verdicts
        known = {item.number: JudgeVerdict(item.verdict) for item in verdicts}
        if len(verdicts) != len(sentences) or sorted(known) != list(range(1, len(sentences) + 1)):
            raise StructuredInvalid("there is not one verdict for each sentence")
        return [known[number] for number in sorted(known)]


def _text_of(quote: Quote) -> str:
    """What the model that judges reads of a quote: its text under the title and the headings."""
    passage = quote.passage
    above = " > ".join(map(without_instructions, (passage.title, *passage.path_at(quote.source.start))))
    return f"{above}\n{quote.text}"


def _join(sentences: Sequence[str]) -> str:
    return " ".join(f"“{sentence}”" for sentence in dict.fromkeys(sentences[:_MOST_SHOWN]))


def _collections(quotes: Iterable[Quote]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(quote.passage.collection_id for quote in quotes if quote.passage.origin is None)
    )


KIND: Final = NodeKind(
    lambda parts, options, _: CitationChecker(
        require(parts.judge, "judge of citations"),
        parts.traits.retrieval,
        parts.citation_model,
        hold=options.hold,
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

    async def process(self, inputs: CodeCheckerModel, run: Run) -> CodeCheckerOutput:
        blocks = fenced_code(inputs.text)
        note = ""
        if blocks and inputs.complete:
            shown = await self._source.passages(inputs.evidence, self._most_bytes) if inputs.evidence else ()
            own = own_blocks(blocks, [passage.text for passage in shown])
            note = code_note(len(blocks), own)
        if len((inputs.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(inputs.text.encode()))
        return CodeCheckerOutput(text=inputs.text + note, complete=inputs.complete)


def own_blocks(blocks: Sequence[str], passages: Sequence[str]) -> Sequence[int]:
    """The numbers, from 1, of the blocks of code that are not word for word in a passage."""
    known = [_lines(passage) for passage in passages]
    return [
        number
        for number, block in enumerate(blocks, 1)
        if not any(_within(_lines(block), all_) for all_ in known)
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
    return (
        f"\n\n*Of the {count} blocks of code, {what} written by the model, and unchecked. The "
        "others are word for word from the passages.*"
    )


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _within(block: Sequence[str], text: Sequence[str]) -> bool:
    size = len(block)
    return any(list(text[start : start + size]) == list(block) for start in range(len(text) - size + 1))


CODE_CHECKER: Final = NodeKind(
    lambda parts, _, __: CodeChecker(require(parts.source, "source of evidence"), parts.traits.retrieval),
    CodeCheckerModel,
    CodeCheckerOutput,
)
