"""The events of a turn's log, from the first event to the terminal event, and their parts."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from uuid import UUID

from responsa_contract import (
    MAX_BYTES,
    AnswerOutcome,
    CancelCause,
    DifferenceKind,
    Effect,
    FallbackKind,
    Grade,
    JudgeVerdict,
    QuoteOrigin,
    RefusalReason,
    Step,
    ToolFault,
    ToolOutcome,
)
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.kinds import CollectionKind

MAX_ANSWER_BYTES = 24 * 1024
MAX_DELTA_BYTES = 1024
MAX_CITATIONS = 64
MAX_FULL_CITATIONS = 24
"""The number of citations of an answer after which quotes are short and addresses may be left out."""
MAX_FULL_EVENT_BYTES = 96 * 1024
"""The size of an answer's event above which only its first MAX_FULL_CITATIONS citations have addresses."""
MAX_QUOTE_BYTES = MAX_BYTES["Citation.quote"]
MAX_SHORT_QUOTE_BYTES = 300
"""The maximum size of a quote that is chosen, or that is after the first MAX_FULL_CITATIONS."""
MAX_DIFFERENCES = 8
"""The maximum number of differences of a citation."""
MAX_EXCERPTS = 3
"""The maximum number of excerpts that an answer or a refusal shows."""
MAX_MORE_EXCERPTS = 5
"""The maximum number of further excerpts of an answer."""
MAX_EXCERPT_BYTES = 2_000
"""The maximum size of an excerpt's text."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A fallback from the intended node or model to another one.

    source: the intended node or model. target: its replacement. cause: a short code, e.g.
    `part_unavailable:postgresql`.
    """

    kind: FallbackKind
    source: str
    target: str
    cause: str


MAX_FALLBACKS = 16
"""The maximum number of fallbacks that a turn reports."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes [start, end) of a UTF-8 text. Both offsets lie on character boundaries."""

    start: int
    end: int

    def is_within(self, other: ByteRange) -> bool:
        return other.start <= self.start and self.end <= other.end


@dataclass(frozen=True, slots=True)
class VersionRead:
    """A version of a document from which a turn has read a text that reached a model or the answer."""

    document_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs in form between a sentence and its source. answer, source: the bytes that differ, in the answer and
    in the text that a citation quotes; `source` is None if there is nothing."""

    kind: DifferenceKind
    answer: ByteRange
    source: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """A part of an answer and the source text that it names.

    source: the byte range of the quote in the canonical text; of a quote that was not found, that of the passage.
    quote: "" if it was not found. sha256: the SHA-256 of the quote's bytes, 32 bytes. answer: the byte range of the
    sentence in the answer. score: how many of its words the quote has, from 0 to 1. page, boxes, path: where the
    quote stands in the original file, as in `SourcePlace`. date: as in `Passage`. quote_origin, verdict: None only if nothing
    may be said of the source. differences: at most MAX_DIFFERENCES.
    """

    passage_id: UUID
    document_id: UUID
    version: int
    title: str
    uri: str
    source: ByteRange
    quote: str
    sha256: bytes
    answer: ByteRange
    score: float
    page: int = 0
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    path: str = ""
    date: str = ""
    quote_origin: QuoteOrigin | None = None
    verdict: JudgeVerdict | None = None
    differences: Sequence[Difference] = ()

    @property
    def read(self) -> VersionRead | None:
        """The version that the citation quotes."""
        return VersionRead(self.document_id, self.version)


@dataclass(frozen=True, slots=True)
class ToolOrigin:
    """A source that a tool returned.

    call_id: the id of the call within its turn. tool: the tool's id. source_index: the position of the source among the
    result's sources, from 0. fetch_time: when the tool fetched the source.
    """

    call_id: str
    tool: str
    source_index: int
    fetch_time: datetime


@dataclass(frozen=True, slots=True)
class ToolCitation:
    """A part of an answer and the text that it names, from a source that a tool returned.

    title, uri: of the source. source: the byte range of the quote in the source's text. The other fields are those of `Citation`.
    """

    origin: ToolOrigin
    title: str
    uri: str
    source: ByteRange
    quote: str
    sha256: bytes
    answer: ByteRange
    score: float
    quote_origin: QuoteOrigin | None = None
    verdict: JudgeVerdict | None = None
    differences: Sequence[Difference] = ()

    @property
    def read(self) -> VersionRead | None:
        """None: the quote is from no document."""
        return None


AnyCitation = Citation | ToolCitation


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a document that a turn or a search shows.

    headings: those above the excerpt, outermost first. source: the byte range of `text` in the canonical text. text:
    exactly these bytes, decoded, at most MAX_EXCERPT_BYTES. markdown: the text as an answer shows it. Of a further
    passage, text, markdown and section are '': they are made when a reader wants them. score: from 0 to 1. page, boxes,
    path: where the marked cell, or else the piece, stands in the original file, as in `SourcePlace`. date: as in
    `Passage`. marked: the byte range, in the canonical text, of the table cell whose row and column the question names;
    None if there is none. marked_shown: its byte range in `markdown`; None if the Markdown does not contain it in one
    piece. piece: the byte range of the piece that fits best, within `source`. section: the Markdown of the passage round
    the excerpt; '' if `markdown` shows all of it.
    """

    passage_id: UUID
    collection_id: str
    collection_kind: CollectionKind | None
    document_id: UUID
    version: int
    title: str
    headings: Sequence[str]
    uri: str
    source: ByteRange
    text: str
    markdown: str
    grade: Grade
    score: float
    page: int = 0
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    path: str = ""
    date: str = ""
    marked: ByteRange | None = None
    marked_shown: ByteRange | None = None
    piece: ByteRange | None = None
    section: str = ""

    @property
    def quoted(self) -> ByteRange:
        """What a citation of the excerpt quotes."""
        return self.marked or self.piece or self.source

    @property
    def read(self) -> VersionRead:
        """The version that the excerpt shows."""
        return VersionRead(self.document_id, self.version)


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a turn.

    embedding_tokens: the tokens that the embedding model read. input_tokens, output_tokens: the tokens that language
    models read and wrote. cost_micros: the price, in millionths of a US dollar, of all tokens with a known price.
    unpriced_tokens: the number of tokens without a known price.
    """

    embedding_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    unpriced_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Usage) -> Usage:
        """The usage since `other`."""
        return Usage(*map(operator.sub, astuple(self), astuple(other)))


# Events. An event gets its seq when it is appended to the log.


@dataclass(frozen=True, slots=True)
class Started:
    """The turn's first event."""

    conversation_id: UUID
    agent_version: str
    created_conversation: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A step begins."""

    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer's text, at most 1 KiB. byte_offset: the position in the answer at which the piece begins."""

    text: str
    byte_offset: int


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation for a part of the answer that has already been sent."""

    citation: AnyCitation


@dataclass(frozen=True, slots=True)
class SourcePassage:
    """The passage of a document that is a tool's source. range: the bytes of the source's text in the version's canonical text."""

    passage_id: UUID
    document_id: UUID
    version: int
    range: ByteRange

    @property
    def document_version(self) -> VersionRead:
        """The version from which the text was read."""
        return VersionRead(self.document_id, self.version)


@dataclass(frozen=True, slots=True)
class ToolSource:
    """A source on which a tool's result rests.

    uri: the source's address, or "". title: the source's name, or "". fetch_time: when the source was read. text: the
    exact text from which a citation may quote. passage: for a source that is one of our own documents, its passage; a
    citation of it is an ordinary citation of the passage.
    """

    uri: str
    title: str
    fetch_time: datetime
    text: str
    passage: SourcePassage | None = None


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool will be called. This event is committed before the call and never withdrawn.

    tool: the tool's id. arguments: plain JSON values. title: the tool's name for people, or "". effect: the tool's
    effect as it is declared now; only the ledger keeps it.
    """

    call_id: str
    tool: str
    arguments: Mapping[str, object]
    title: str = ""
    effect: Effect = Effect.ONCE


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """The result of a tool call. This event is never withdrawn. The fields are those of `domain.tools.ToolResult`, within its limits."""

    call_id: str
    outcome: ToolOutcome
    content: str
    data: object = None
    sources: Sequence[ToolSource] = ()
    fault: ToolFault | None = None


@dataclass(frozen=True, slots=True)
class AttemptRestarted:
    """A later attempt begins: another worker runs the turn, or another model has taken up the answer. All deltas and citations from
    discard_from_seq on are withdrawn; the first keep_bytes bytes of the answer stay.
    """

    discard_from_seq: int
    keep_bytes: int


@dataclass(frozen=True, slots=True)
class ProviderSwitched:
    """A model failed, and another model was called.

    source: the model that failed, as `provider:model`. target: the next model, as `provider:model`. cause: the failed
    model's fault, e.g. `rate_limited`. mid_answer: whether a part of the answer was sent already.
    """

    source: str
    target: str
    cause: str
    mid_answer: bool = False


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """A call of a language model has ended. model: the model as `provider:model`. usage: the cost of this call."""

    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Answered:
    """Terminal event: the complete answer.

    standalone_question: the rewritten question, or "" if the question was not rewritten. support: how well the
    documents support the answer, from 0 to 1. intent: the purpose of the message, or "". category: the kind of
    question, or "". The agent's file defines the intents and categories. model: the author of the text, which is
    `provider:model`, `passages` or `template`. collection_id: the collection of all passages for the answer, or "".
    collection_kind: the kind of the collections of these passages. None if there are several kinds or no passages, or
    if the question or its agent named the collections. excerpts: the passages that the text shows, best first, if the
    author is `passages`; more_excerpts: further ones.
    unsupported: the number of sentences with a citation whose words were not found or that a judge has denied. unsourced: the
    sentences that name no source.
    """

    text: str
    sha256: bytes
    citations: Sequence[AnyCitation]
    outcome: AnswerOutcome
    passages_used: int
    usage: Usage
    standalone_question: str = ""
    support: float = 0.0
    intent: str = ""
    category: str = ""
    model: str = ""
    fallbacks: Sequence[Fallback] = ()
    collection_id: str = ""
    collection_kind: CollectionKind | None = None
    excerpts: Sequence[Excerpt] = ()
    more_excerpts: Sequence[Excerpt] = ()
    unsupported: int = 0
    unsourced: Sequence[ByteRange] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Terminal event: the turn gives no answer, for the stated reason. excerpts: the passages that come closest to an
    answer, best first.
    """

    reason: RefusalReason
    message: str
    usage: Usage
    support: float = 0.0
    intent: str = ""
    fallbacks: Sequence[Fallback] = ()
    excerpts: Sequence[Excerpt] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Terminal event: the turn failed. usage: the cost of the turn until the failure."""

    error: ResponsaError
    retriable: bool
    usage: Usage = Usage()
    fallbacks: Sequence[Fallback] = ()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Terminal event: the turn was cancelled. The event has no usage: once the worker has stopped, the worker adds the
    cost to the turn.
    """

    by: CancelCause


Terminal = Answered | Refused | Failed | Cancelled


def versions_read(event: Event) -> Sequence[VersionRead]:
    """The versions of documents that an event quotes or names."""
    match event:
        case Cited(citation=citation):
            return () if citation.read is None else (citation.read,)
        case ToolReturned(sources=sources):
            return [source.passage.document_version for source in sources if source.passage is not None]
        case Answered(citations=citations, excerpts=excerpts, more_excerpts=more):
            quoted = [citation.read for citation in citations if citation.read is not None]
            return [
                *quoted,
                *(excerpt.read for excerpt in (*excerpts, *more)),
            ]
        case Refused(excerpts=excerpts):
            return [excerpt.read for excerpt in excerpts]
        case _:
            return ()


Event = (
    Started
    | Status
    | Delta
    | Cited
    | ToolCalled
    | ToolReturned
    | ProviderSwitched
    | ModelUsed
    | AttemptRestarted
    | Terminal
)


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its position in the log. seq and attempt start at 1. time: None for deltas."""

    seq: int
    attempt: int
    time: datetime | None
    event: Event
