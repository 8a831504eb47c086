"""What is counted for administrators and users: usage, the quality of answers, feedback, and patterns of questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from responsa_contract import Dimension as Dimension
from responsa_contract import FeedbackState as FeedbackState
from responsa_contract import QuestionOutcome as QuestionOutcome
from responsa_contract import QuestionPatternState as QuestionPatternState
from responsa_server.domain.events import Answered, Cancelled, Failed, Refused, Terminal
from responsa_server.domain.listing import Page
from responsa_server.domain.rows import Row

EVERYBODY: Final = UUID(int=0)
"""In place of a user: all users of the tenant, the erased ones included."""
MOST_ROWS: Final = 10_000
"""The most rows of a usage report."""
MOST_PERIODS: Final = 1000
"""The most periods of a report about quality."""


class Granularity(StrEnum):
    """The length of the periods of a usage report, in UTC. Weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def longest(self) -> timedelta:
        """The length of the longest such period."""
        return timedelta(days={"hour": 1 / 24, "day": 1, "week": 7, "month": 31}[self])


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """What is counted of the end of a turn, in addition to the columns of its row.

    model: the writer of the answer. collection_id: the collection of all its passages; "" for none or several. refusal:
    the reason. citations: how many the answer has.
    unsupported: the sentences that name a passage that does not support them. fallbacks: the kinds, one entry for each.
    """

    model: str = ""
    collection_id: str = ""
    refusal: str = ""
    citations: int = 0
    unsupported: int = 0
    fallbacks: Sequence[str] = ()


NO_FACTS: Final = TurnFacts()


def facts_of(terminal: Terminal, files: str = "") -> TurnFacts:
    """What is counted of a terminal event. files: the collection with the conversation's files, which no statistics name."""
    match terminal:
        case Answered():
            kinds = tuple(fallback.kind.value for fallback in terminal.fallbacks)
            cited = len(terminal.citations)
            collection = "" if terminal.collection_id == files else terminal.collection_id
            return TurnFacts(terminal.model, collection, "", cited, terminal.unsupported, kinds)
        case Refused():
            kinds = tuple(fallback.kind.value for fallback in terminal.fallbacks)
            return TurnFacts(refusal=terminal.reason.value, fallbacks=kinds)
        case Failed():
            return TurnFacts(fallbacks=tuple(fallback.kind.value for fallback in terminal.fallbacks))
        case Cancelled():
            return NO_FACTS


@dataclass(frozen=True, slots=True)
class Span:
    """A time from `start` to before `end`, in whole hours."""

    start: datetime
    end: datetime

    def days(self) -> tuple[datetime, datetime]:
        """The beginning of the day (UTC) in which the span begins, and the end of the one in which it ends."""
        first, last = midnight(self.start), midnight(self.end)
        return first, last if last == self.end else last + timedelta(days=1)

    def whole_days(self) -> tuple[datetime, datetime]:
        """The beginning of the first day (UTC) that is in the span as a whole, and the end of the last one. Both are
        the span's end if there is none."""
        first, last = midnight(self.start), midnight(self.end)
        first = first if first == self.start else first + timedelta(days=1)
        return (first, last) if first < last else (self.end, self.end)


def midnight(time: datetime) -> datetime:
    """The beginning of the day in UTC."""
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def whole_months(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The beginning of the first month (UTC) that is in the time from one midnight to another as a whole, and the end
    of the last one. Both are the end if there is none."""
    first, last = start.replace(day=1), end.replace(day=1)
    if first < start:
        first = (first + timedelta(days=31)).replace(day=1)
    return (first, last) if first < last else (end, end)


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of a report: the counts of one period and one group each. A dimension by which the report is not grouped
    is "". complete_through: everything that was committed by then is counted."""

    rows: Sequence[Row]
    complete_through: datetime


@dataclass(slots=True)
class Quality:
    """How well an agent's turns went; agent "" stands for all agents. start_time: of the period; None: the whole time.
    turns: by how they ended. latencies and first_words: by bucket, see `percentile`."""

    agent: str
    start_time: datetime | None = None
    turns: dict[str, int] = field(default_factory=dict[str, int])
    refusals: dict[str, int] = field(default_factory=dict[str, int])
    fallbacks: dict[str, int] = field(default_factory=dict[str, int])
    citations: int = 0
    cited_answers: int = 0
    unsupported_sentences: int = 0
    latencies: dict[int, int] = field(default_factory=dict[int, int])
    first_words: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, measure: str, label: str, total: int) -> None:
        """Add a sum of the store."""
        match measure:
            case "latency" | "first_words":
                buckets = self.latencies if measure == "latency" else self.first_words
                buckets[int(label)] = buckets.get(int(label), 0) + total
            case "turns" | "refusals" | "fallbacks":
                counts: dict[str, int] = getattr(self, measure)
                counts[label] = counts.get(label, 0) + total
            case _:
                setattr(self, measure, getattr(self, measure) + total)


def percentile(latencies: Mapping[int, int], share: float) -> float:
    """The time in milliseconds within which this share of the turns ended; 0 without turns. Bucket b has the turns that
    took 2^(b/4) to 2^((b+1)/4) ms, and stands for the geometric middle, so the result differs from the exact one by at
    most 9 %.
    """
    wanted = math.ceil(share * sum(latencies.values()))
    for bucket in sorted(latencies):
        wanted -= latencies[bucket]
        if wanted <= 0:
            return float(2 ** ((bucket + 0.5) / 4))
    return 0.0


@dataclass(frozen=True, slots=True)
class TenantInsight:
    """What administrators may read of questions, and the tenant's budget in a month (UTC), in millionths of a US dollar; 0 for none."""

    question_texts: bool = False
    budget_micros: int = 0


@dataclass(frozen=True, slots=True)
class FeedbackCount:
    """The numbers of feedback on the answers of one agent; with a start_time, on those of all agents in a period.
    commented: with a comment. open: not dealt with. scored: with a score. scores: the sum of the scores. neutral: with
    a score of 3."""

    agent: str
    up: int
    down: int
    commented: int
    open: int
    scored: int
    scores: int
    neutral: int
    start_time: datetime | None = field(default=None, kw_only=True)

    @property
    def mean_score(self) -> float:
        """The mean of the scores; 0 if there are none."""
        return self.scores / self.scored if self.scored else 0.0

    @classmethod
    def sum(cls, counts: Sequence[FeedbackCount]) -> FeedbackCount:
        """The counts of all agents together."""
        numbers = [field.name for field in fields(cls) if field.name not in ("agent", "start_time")]
        return cls("", *(sum(getattr(count, name) for count in counts) for name in numbers))


NO_PATTERN: Final = UUID(int=0)
"""In place of a pattern: the questions that are in none."""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question to group. id: of the event. text: "" if the turn was deleted."""

    id: int
    turn_id: UUID | None
    text: str


@dataclass(slots=True)
class QuestionGroup:
    """A pattern as it is grouped. vector: the sum of the vectors of its questions. central: the vector of the question
    that is closest to the others; central_turn: its turn, if that has changed. Vectors are float32 in little-endian
    order.
    """

    id: UUID
    vector: bytes
    central: bytes
    central_turn: UUID | None = None


Grouping = Callable[
    [Sequence[QuestionGroup], Sequence[tuple[UUID, bytes]]], tuple[Sequence[UUID], Sequence[QuestionGroup]]
]
"""Assigns questions (turns, with their vectors) to the groups that there are, or to new ones. Returns the group of each
question, and all groups that have changed."""


@dataclass(frozen=True, slots=True)
class PatternLoss:
    """A pattern that has lost turns. through: the last loss that was read. questions: the most recent turns that are
    left, with their texts; the one that stands for the pattern comes first."""

    id: UUID
    through: int
    questions: Sequence[tuple[UUID, str]]


@dataclass(frozen=True, slots=True)
class PatternReport:
    """A page of patterns, whose `examples` are turns, the latest first. others: how many questions with the wanted
    outcome are in no pattern. complete_through: everything that was committed by then has its pattern."""

    page: Page[Row]
    others: int
    complete_through: datetime
