"""The nodes that work with the evidence: they grade it, quote it, and check a model's citations against it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from pydantic import Field

from responsa_server.agents.engine.asking import FAILURES, Asker, Shape, ask_typed, cause, offered
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import (
    AnswerModel,
    Claimed,
    Mark,
    citation,
    claims,
    compose,
    found_sources,
    plain,
)
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import (
    Announcement,
    Node,
    NodeModel,
    NodeOptions,
    Plain,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import (
    CitationJudge,
    Claim,
    Evidence,
    EvidenceSource,
    Extraction,
    Extractor,
    Quote,
)
from responsa_server.domain.events import (
    MAX_ALSO_FOUND,
    MAX_CITATIONS,
    AnswerOutcome,
    Cited,
    Fallback,
    FallbackKind,
    Step,
)


class GraderOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md` with which to ask a model whether the passages answer the question; "" to
    decide only by the passages' support. calls: whether the sources of each search that a tool made are also compared with the search's own query, so that a message
    with several questions gets an answer to each.
    """

    prompt: PromptName = ""
    calls: bool = False


class GradeInput(NodeModel):
    """The question, its evidence, the results of tools, and the parts of the question, each with its own evidence."""

    question: str
    standalone_question: str = ""
    evidence: Evidence
    results: tuple[ResultModel, ...] = ()
    parts: tuple[str, ...] = ()
    parts_evidence: tuple[Evidence, ...] = ()


class GradeOutput(NodeModel):
    """The best sentences, whether they answer the question, and other quotes that come closest to an answer. unanswered: the parts of the question that nothing answers, if something answers
    another part.
    """

    extraction: Extraction
    unanswered: tuple[str, ...] = ()


class Graded(NodeModel):
    """The model's reply: whether the passages contain the answer to the question."""

    answered: bool


class Grade(Node[GradeInput, GradeOutput]):
    """Chooses sentences and measures their support. A model's verdict decides whether the sentences answer the
    question; without a verdict, their support decides.
    """

    name = "grade"
    input_model = GradeInput
    output_model = GradeOutput
    has_rule = True
    announcement = Announcement(Step.GRADING, "Analyzing results...")
    # Repeating this step is faster than storing its result, as with the evidence (see Retrieve).
    policy = Policy(keep_after_seconds=1.0)

    def __init__(
        self,
        extractor: Extractor,
        table: RetrievalTable = DEFAULT_RETRIEVAL,
        source: EvidenceSource | None = None,
        asker: Asker | None = None,
        prompt: str = "",
        *,
        calls: bool = False,
    ) -> None:
        """source: provides the passages to show to a model; None to ask no model, and to compare no sources. calls: see `GraderOptions`."""
        self._extractor = extractor
        self._table = table
        self._source = source
        self._asker = asker if source is not None else None
        self._prompt = prompt
        self._shape = Shape(Graded)
        self._calls = calls
        self.calls_model = self._asker is not None

    async def process(self, given: GradeInput, run: Run) -> GradeOutput:
        """Extract the best-supported sentences."""
        question = given.standalone_question or given.question
        extraction = await self._extractor.extract(question, given.evidence)
        extraction = self._judged(extraction)
        unanswered = tuple[str, ...]()
        if self._calls and self._source is not None:
            extraction = await self._with_calls(extraction, question, given.results, self._source)
        if given.parts and self._source is not None:
            extraction, unanswered = await self._of_parts(extraction, given, self._source)
        if self._asker is not None and self._source is not None and extraction.quotes:
            shown = await self._source.passages(given.evidence, self._table.context_bytes)
            run.read(one.version for one in shown)
            untrusted = Untrusted(question, passages=[f"{one.title}\n{one.text}" for one in shown])
            try:
                verdict = await ask_typed(self._asker, run, self._prompt, self._shape, {}, untrusted)
                extraction = replace(extraction, supported=verdict.answered)
            except FAILURES as error:
                run.fell_back(Fallback(FallbackKind.RULE, self.name, "support", cause(error)))
        quoted = extraction.quotes if extraction.supported else ()
        closest = await self._extractor.closest(question, given.evidence, quoted)
        return GradeOutput(extraction=replace(extraction, closest=closest), unanswered=unanswered)

    def _judged(self, extraction: Extraction) -> Extraction:
        """The extraction, judged by the agent's own minimum of support."""
        least = self._table.support
        if least is None:
            return extraction
        return replace(extraction, supported=bool(extraction.quotes) and extraction.support >= least)

    async def _with_calls(
        self, extraction: Extraction, question: str, results: Sequence[ResultModel], source: EvidenceSource
    ) -> Extraction:
        """The extraction, with the sentences that answer the queries of the tools' searches."""
        for one in results:
            query = one.call.arguments.get("query")
            if not isinstance(query, str) or query == question or not one.sources:
                continue
            evidence = await source.with_sources(query, None, found_sources([one]))
            found = self._judged(await self._extractor.extract(query, evidence))
            if not found.supported:
                continue
            extraction = both(extraction, found) if extraction.supported else found
        return extraction

    async def _of_parts(
        self, whole: Extraction, given: GradeInput, source: EvidenceSource
    ) -> tuple[Extraction, tuple[str, ...]]:
        """The sentences that answer each part of the question, in the order of the parts, and the parts that have no answer. If no part has one, these are the sentences of `whole`."""
        sources = found_sources([one for one in given.results if not one.direct])
        found: Extraction | None = None
        unanswered = list[str]()
        for part, evidence in zip_longest(given.parts, given.parts_evidence):
            if part is None:
                break
            own = await source.with_sources(part, evidence, sources)
            answer = self._judged(await self._extractor.extract(part, own))
            if not answer.supported:
                unanswered.append(part)
            else:
                found = both(found, answer) if found is not None else answer
        if found is not None:
            return found, tuple(unanswered)
        return whole, () if whole.supported else tuple(unanswered)


def both(one: Extraction, other: Extraction) -> Extraction:
    """Two supported extractions as one: the quotes of the first, and those of the second that do not repeat them."""
    quotes = (*one.quotes, *(each for each in other.quotes if not any(map(each.repeats, one.quotes))))
    also = tuple(dict.fromkeys((*one.also_found, *other.also_found)))[:MAX_ALSO_FOUND]
    return replace(one, quotes=quotes, support=max(one.support, other.support), also_found=also)


GRADER: Final = NodeKind(
    lambda parts, options, _: Grade(
        required(parts.extractor, "extractor"),
        parts.traits.retrieval,
        parts.source,
        parts.decider(options.prompt),
        options.prompt,
        calls=options.calls,
    ),
    GradeInput,
    GradeOutput,
    GraderOptions,
    offers=offered(untrusted=("question", "passages")),
)


class AnswerInput(NodeModel):
    """The sentences of the answer, and the evidence for them."""

    extraction: Extraction
    evidence: Evidence


class AnswerOutput(NodeModel):
    """The answer, which consists of quotes only. Each quote has its citation."""

    answer: AnswerModel


class Answer(Node[AnswerInput, AnswerOutput]):
    """Shows the quotes as Markdown, and sends each with its citation, which keeps the exact bytes of its source."""

    name = "answer"
    input_model = AnswerInput
    output_model = AnswerOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")

    async def process(self, given: AnswerInput, run: Run) -> AnswerOutput:
        """Compose the answer and emit its deltas and citations."""
        composed = compose(given.extraction.quotes)
        for event in composed.events:
            run.emit(event)
        model = AnswerModel(
            text=composed.text,
            citations=tuple(plain(one) for one in composed.citations),
            outcome=composed.outcome,
            passages_used=given.evidence.passages,
        )
        return AnswerOutput(answer=model)

    def validate_output(self, output: AnswerOutput) -> Plain:
        """The output as plain state. Also checks that the answer has citations, that each quote matches the range in the source and the SHA-256 of its citation,
        and that all visible text of the answer is cited.
        """
        checked = super().validate_output(output)
        text = output.answer.text.encode()
        if not output.answer.citations:
            raise ValueError("an answer that consists of quotes must have citations")
        end = 0
        for one in output.answer.citations:
            quote = one.quote.encode()
            if (
                one.source.end - one.source.start != len(quote)
                or hashlib.sha256(quote).hexdigest() != one.sha256
            ):
                raise ValueError(
                    "a citation's quote does not match the citation's range in the source or the citation's SHA-256"
                )
            if not 0 <= one.answer.start < one.answer.end <= len(text):
                raise ValueError("a citation points beyond the answer's text")
            if text[end : one.answer.start].strip():
                raise ValueError("a part of the answer has no citation")
            end = max(end, one.answer.end)
        if text[end:].strip():
            raise ValueError("a part of the answer has no citation")
        return checked


EXTRACTIVE_ANSWER: Final = NodeKind(
    lambda _, __, ___: Answer(), AnswerInput, AnswerOutput, streams=True, needs_test="extraction"
)


_NOTHING: Final = Evidence(0, 0, {})


class CitationCheckerInput(NodeModel):
    """The text as it was sent, the marks that were removed from it, and the evidence and the tools' results that the prompts contained.
    shown: how many passages the prompt contained.
    """

    text: str = Field(min_length=1)
    complete: bool = True
    marks: tuple[Mark, ...] = ()
    shown: int = Field(default=0, ge=0)
    evidence: Evidence = _NOTHING
    results: tuple[ResultModel, ...] = ()
    gathered: int = Field(default=0, ge=0)


class CitationCheckerOutput(NodeModel):
    """The cited answer. unsupported: how many sentences are not supported by the passages that they name. These sentences
    stay in the answer without a citation.
    """

    answer: AnswerModel
    unsupported: int = Field(ge=0)


class CitationChecker(Node[CitationCheckerInput, CitationCheckerOutput]):
    """Adds citations to a model's text. The text never changes, because it was already sent."""

    name = "cite"
    input_model = CitationCheckerInput
    output_model = CitationCheckerOutput
    announcement = Announcement(Step.VERIFYING, "Checking the sources...")

    def __init__(self, judge: CitationJudge, table: RetrievalTable = DEFAULT_RETRIEVAL) -> None:
        self._judge = judge
        self._most_bytes = table.context_bytes

    async def process(self, given: CitationCheckerInput, run: Run) -> CitationCheckerOutput:
        """Send the citations in the order of the text."""
        found = claims(given.text, given.marks)
        quotes = await self._judged(found, given)
        borne_out = [
            citation(claimed, quote)
            for claimed, quote in zip(found, quotes, strict=True)
            if quote is not None
        ]
        kept = borne_out[:MAX_CITATIONS]
        for one in kept:
            run.emit(Cited(one))
        return CitationCheckerOutput(
            answer=AnswerModel(
                text=given.text,
                citations=tuple(plain(one) for one in kept),
                outcome=AnswerOutcome.COMPLETE if given.complete else AnswerOutcome.OUTPUT_LIMIT,
                passages_used=given.shown,
            ),
            unsupported=len(found) - len(borne_out),
        )

    async def _judged(self, found: Sequence[Claimed], given: CitationCheckerInput) -> Sequence[Quote | None]:
        """For each claim, the quote that supports it. Numbers greater than those of the passages name the tools' sources."""
        sources = found_sources(given.results[given.gathered :])
        of_passages = [one for one in found if one.passage <= given.shown or not sources]
        asked = [Claim(one.text, one.passage) for one in of_passages]
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
        fetched = [Claim(one.text, one.passage - given.shown) for one in of_sources]
        quotes |= zip(
            of_sources, await self._judge.judge_sources(fetched, sources) if fetched else (), strict=True
        )
        return [quotes[one] for one in found]


CITATION_CHECKER: Final = NodeKind(
    lambda parts, _, __: CitationChecker(
        required(parts.judge, "judge of citations"),
        parts.traits.retrieval,
    ),
    CitationCheckerInput,
    CitationCheckerOutput,
)
