"""The nodes that answer a person from the person's own record: one reads the record, the other checks what a model made of it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from responsa_server.agents.engine.citations import Mark, claims
from responsa_server.agents.engine.config import RetrievalTable, Texts
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Policy, Run
from responsa_server.agents.engine.record_check import problem_of
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import CitationJudge, Claim, Evidence, EvidenceSource, Extraction
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import FallbackKind, Step
from responsa_server.domain.record import RecordSource, RecordWords

UNCHECKED: Final = "unchecked"
"""The cause of the fallback when the record does not have what a model wrote."""


class RecordReaderOptions(NodeOptions):
    """focus: for each category, words of the headings under which the answer is if the question names nothing more specific. synonyms: for words of questions, words of the record that mean the same.
    described: the categories whose questions are about a reference document, such as what a job is like.
    """

    focus: Annotated[dict[str, Texts], Field(max_length=32)] = Field(default_factory=dict[str, Texts])
    synonyms: Annotated[dict[str, str], Field(max_length=200)] = Field(default_factory=dict[str, str])
    described: Texts = ()


class RecordReaderInput(NodeModel):
    """The question, its category, and what a search with `retrieval.subject = "caller"` found."""

    question: str
    standalone_question: str = ""
    category: str = ""
    evidence: Evidence


class RecordReaderOutput(NodeModel):
    """extraction: the sentences that answer. record: the number of documents about the caller. another: whether the question is about somebody else. titles: the titles of the caller's documents.
    absent: the words of the question that no document has. unrecorded: the titles of reference documents that the question sets its author against and that the record does not name.
    misspelled: the words of the question that were read as words of the record, each with this word.
    named: whether the question itself, without earlier ones, names something that the record or the reference documents have.
    """

    extraction: Extraction
    record: Annotated[int, Field(ge=0)]
    another: bool
    titles: tuple[str, ...]
    absent: tuple[str, ...]
    unrecorded: tuple[str, ...]
    misspelled: tuple[tuple[str, str], ...]
    named: bool


class RecordReader(Node[RecordReaderInput, RecordReaderOutput]):
    """Chooses the sentences of the caller's record, and of the reference documents, that answer the question."""

    name = "record"
    input_model = RecordReaderInput
    output_model = RecordReaderOutput
    announcement = Announcement(Step.GRADING, "Reading your record...")
    # As with the evidence, repeating this step is faster than storing its result.
    policy = Policy(attempts=3, pause_seconds=0.1, keep_after_seconds=1.0)

    def __init__(self, source: RecordSource, options: RecordReaderOptions | None = None) -> None:
        self._source = source
        options = options or RecordReaderOptions()
        self._words = RecordWords(options.focus, options.synonyms, frozenset(options.described))

    async def process(self, given: RecordReaderInput, run: Run) -> RecordReaderOutput:
        """Read. Raises Unavailable."""
        found = await self._source.read(
            run.who,
            given.question,
            given.evidence,
            given.category,
            self._words,
            given.standalone_question,
        )
        return RecordReaderOutput(
            extraction=found.extraction,
            record=found.documents,
            another=found.another,
            titles=found.titles,
            absent=found.absent,
            unrecorded=found.unrecorded,
            misspelled=found.misspelled,
            named=found.named,
        )


RECORD_READER: Final = NodeKind(
    lambda parts, options, _: RecordReader(required(parts.record, "source of records"), options),
    RecordReaderInput,
    RecordReaderOutput,
    RecordReaderOptions,
)


class RecordCheckerInput(NodeModel):
    """A text that was not sent, the marks that were removed from it, and the evidence that the prompt contained. problem: why an earlier text was rejected; "" if none was."""

    text: str
    complete: bool
    marks: tuple[Mark, ...] = ()
    evidence: Evidence
    problem: str = ""


class RecordCheckerOutput(NodeModel):
    """The text, or "" with the reason (`problem`) if it must not be sent."""

    text: str
    complete: bool
    marks: tuple[Mark, ...]
    problem: str


class RecordChecker(Node[RecordCheckerInput, RecordCheckerOutput]):
    """Rejects a text with a figure, a level or a name that the cited passages do not have, or with a sentence that they do not support. The first rejected text lets the model try
    again; after the second, the node is unavailable.
    """

    name = "check"
    input_model = RecordCheckerInput
    output_model = RecordCheckerOutput
    announcement = Announcement(Step.VERIFYING, "Checking the answer against your record...")

    def __init__(
        self, source: EvidenceSource, judge: CitationJudge, table: RetrievalTable = DEFAULT_RETRIEVAL
    ) -> None:
        self._source = source
        self._judge = judge
        self._most_bytes = table.context_bytes

    async def process(self, given: RecordCheckerInput, run: Run) -> RecordCheckerOutput:
        """Check. Raises Unavailable (MODEL_UNAVAILABLE) for the second rejected text, so that the turn can take a detour."""
        shown = await self._source.passages(given.evidence, self._most_bytes)
        asked = [Claim(one.text, one.passage) for one in claims(given.text, given.marks)]
        judged = await self._judge.judge(asked, given.evidence, self._most_bytes) if asked else ()
        problem = problem_of(
            given.text,
            given.marks,
            [f"{one.title}\n{one.text}" for one in shown],
            [one is not None for one in judged],
        )
        if not problem:
            return RecordCheckerOutput(
                text=given.text, complete=given.complete, marks=given.marks, problem=""
            )
        if given.problem:
            raise Unavailable(
                Reason.MODEL_UNAVAILABLE,
                "The model has written what your record does not say; ask again.",
                {"cause": UNCHECKED},
                retry_after=1.0,
            )
        return RecordCheckerOutput(text="", complete=False, marks=(), problem=problem)


RECORD_CHECKER: Final = NodeKind(
    lambda parts, _, __: RecordChecker(
        required(parts.source, "source of evidence"),
        required(parts.judge, "judge of citations"),
        parts.traits.retrieval,
    ),
    RecordCheckerInput,
    RecordCheckerOutput,
    fallback=FallbackKind.EXTRACTIVE,
    rejects_text=True,
)
