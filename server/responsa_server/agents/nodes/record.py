"""The nodes that answer a person from the person's own record: one reads the record, the other checks what a model made of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final, Self, cast

from pydantic import AfterValidator, Field, field_validator, model_validator

from responsa_server.agents.engine.citations import Mark, claims
from responsa_server.agents.engine.config import RetrievalTable, Texts
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Policy, Run
from responsa_server.agents.engine.record_check import problem_of
from responsa_server.agents.engine.rewriting import answered_questions, goes_on
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import CitationJudge, Claim, Evidence, EvidenceSource, Extraction
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import FallbackKind, Step
from responsa_server.domain.intents import IntentClassifier
from responsa_server.domain.record import RecordQuestion, RecordSource, RecordWords, Way, parts_of, sides_of

MOST_BEFORE: Final = 2
"""The maximum number of earlier questions that are read: the previous question and, if that question names nothing, the question before it."""
FEWEST_WORDS: Final = 7
"""A question with fewer words that carry meaning may be about the subject of the previous question."""
UNCHECKED: Final = "unchecked"
"""The cause of the fallback when the record does not contain what a model wrote."""


def _with_letter(phrase: str) -> str:
    if not re.search(r"[^\W_]", phrase):
        raise ValueError(f"“{phrase}” has neither a letter nor a digit")
    return phrase


Phrases = Annotated[
    tuple[Annotated[str, Field(max_length=100), AfterValidator(_with_letter)], ...],
    Field(strict=False, max_length=500),
]
"""Words and phrases of questions."""


def _with_one_text(table: object) -> Iterator[object]:
    """The keys of a table whose value is a text in place of an array."""
    if isinstance(table, Mapping):
        for key, value in cast("Mapping[object, object]", table).items():
            if isinstance(value, str):
                yield key


class RecordReaderOptions(NodeOptions):
    """focus: for each category, words of the headings under which the answer is if the question names nothing more specific. synonyms: for words of the record, words and phrases of questions that mean the same.
    ways: for categories, how a question is answered in place of quoting what stands under these headings: reference (with what a reference document says, such as what a job is like), headed or listed (with things that have headings in the record, or that a section lists), figures (side by side), highest or lowest
    (results), dates (what happened when), changes (between two sittings), whole (the whole section), refuse (no record holds the answer). topics: a file of examples; each label is
    words of the record that the question is about, or thing (one thing, whichever), or none. categories: the file of examples from which the category was chosen, to read the question before and the parts of a question.
    """

    focus: Annotated[dict[str, Texts], Field(max_length=32)] = Field(default_factory=dict[str, Texts])
    synonyms: Annotated[dict[str, Phrases], Field(max_length=200)] = Field(default_factory=dict[str, Phrases])
    ways: Annotated[dict[str, Annotated[Way, Field(strict=False)]], Field(max_length=32)] = Field(
        default_factory=dict[str, Way]
    )
    topics: str = ""
    categories: str = ""

    @field_validator("synonyms", mode="before")
    @classmethod
    def _by_words_of_the_record(cls, given: object) -> object:
        """Refuse the earlier form, in which each word of questions had one word of the record."""
        for word in _with_one_text(given):
            raise ValueError(
                f'“{word}” must be an array: the key is a word of the record, and the array has the words and phrases of questions that mean it, such as openness = ["curiosity", "new ideas"]'
            )
        return given

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        """Refuse a phrase with two meanings."""
        meanings = Counter(phrase for each in self.synonyms.values() for phrase in each)
        for phrase in (one for one, count in meanings.items() if count > 1):
            raise ValueError(f"“{phrase}” stands for two things; leave one of them out")
        return self


class RecordReaderInput(NodeModel):
    """The question, its category, and what a search with `retrieval.subject = "caller"` found."""

    question: str
    history: tuple[Said, ...] = ()
    category: str = ""
    evidence: Evidence


class RecordReaderOutput(NodeModel):
    """extraction: the sentences that answer. record: the number of documents about the caller. another: whether the question is about somebody else. titles: the titles of the caller's documents.
    absent: the words of the question that no document has. unrecorded: the titles of reference documents that the question sets its author against and that the record does not name.
    misspelled: the words of the question that were read as words of the record, each with this word. lead: a sentence that compares the first two quotes; "" if they are not compared.
    named: whether the question itself, without earlier ones, names something that the record or the reference documents have, or goes on with an earlier one.
    """

    extraction: Extraction
    record: Annotated[int, Field(ge=0)]
    another: bool
    titles: tuple[str, ...]
    absent: tuple[str, ...]
    unrecorded: tuple[str, ...]
    misspelled: tuple[tuple[str, str], ...]
    lead: str
    named: bool


class RecordReader(Node[RecordReaderInput, RecordReaderOutput]):
    """Chooses the sentences of the caller's record, and of the reference documents, that answer the question."""

    name = "record"
    input_model = RecordReaderInput
    output_model = RecordReaderOutput
    announcement = Announcement(Step.GRADING, "Reading your record...")
    # As with the evidence, repeating this step is faster than storing its result.
    policy = Policy(attempts=3, pause_seconds=0.1, keep_after_seconds=1.0)

    def __init__(
        self,
        source: RecordSource,
        options: RecordReaderOptions | None = None,
        of_topics: IntentClassifier | None = None,
        of_categories: IntentClassifier | None = None,
        references: Sequence[str] = (),
    ) -> None:
        """of_topics, of_categories: classifiers of questions. references: the collections of the reference documents."""
        self._source = source
        self._of_topics = of_topics
        self._of_categories = of_categories
        options = options or RecordReaderOptions()
        synonyms = {phrase: word for word, each in options.synonyms.items() for phrase in each}
        self._words = RecordWords(
            options.focus,
            synonyms,
            options.ways,
            tuple(of_topics.labels) if of_topics else (),
            tuple(references),
        )

    async def process(self, given: RecordReaderInput, run: Run) -> RecordReaderOutput:
        """Read. Raises Unavailable."""
        text = given.question.strip()
        before = None
        if goes_on(text, FEWEST_WORDS):
            for one in answered_questions(given.history)[-MOST_BEFORE:]:
                before = replace(await self._read(one), before=before)
        question = replace(
            await self._read(text),
            text=given.question,
            category=given.category,
            before=before,
            parts=[await self._read(one) for one in parts_of(text)],
            sides=[await self._read(one) for one in sides_of(text)],
        )
        found = await self._source.read(run.who, question, given.evidence, self._words)
        return RecordReaderOutput(
            extraction=found.extraction,
            record=found.documents,
            another=found.another,
            titles=found.titles,
            absent=found.absent,
            unrecorded=found.unrecorded,
            misspelled=found.misspelled,
            lead=found.lead,
            named=found.named,
        )

    async def _read(self, text: str) -> RecordQuestion:
        topics: Mapping[str, float] = {}
        if self._of_topics is not None:
            topics = (await self._of_topics.classify(text)).all
        if self._of_categories is None:
            return RecordQuestion(text, topics=topics)
        found = await self._of_categories.classify(text)
        return RecordQuestion(text, found.label if found.in_scope else "", topics, categories=found.all)


RECORD_READER: Final = NodeKind(
    lambda parts, options, _: RecordReader(
        required(parts.record, "source of records"),
        options,
        parts.classifiers.get(options.topics),
        parts.classifiers.get(options.categories),
        parts.traits.retrieval.collections,
    ),
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
