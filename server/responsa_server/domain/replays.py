"""Replays: old questions that another version of their agent answers again, and the comparison with the turns that asked them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from responsa_contract import ReplayState as ReplayState
from responsa_server.domain.agents import RecordedCall
from responsa_server.domain.events import AnyCitation, Citation
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Question, TurnState


@dataclass(frozen=True, slots=True)
class ReplayedTurns:
    """Turns to replay. start, end: when they were asked; None for 30 days before `end`, and for now. states: the
    terminal states. most: how many, the newest ones."""

    start: datetime | None
    end: datetime | None
    states: Sequence[TurnState]
    most: int


@dataclass(frozen=True, slots=True)
class ReplayClaim:
    """A worker's claim of a replay. epoch: see `Operation`. spent_micros: what its questions have cost so far.
    max_cost_micros: 0 for no limit."""

    tenant_id: str
    operation_id: UUID
    epoch: int
    agent_version: str
    max_cost_micros: int
    spent_micros: int


@dataclass(frozen=True, slots=True)
class ReplayedEnd:
    """How a question ended. reason: of a refusal or an error, in capitals; otherwise "". milliseconds: the time that workers took."""

    state: TurnState
    reason: str = ""
    citations: int = 0
    cost_micros: int = 0
    milliseconds: int = 0


class CitedPart(NamedTuple):
    """What a citation cites. source: a version of a document, or a source of a tool. start, end: bytes of the version's
    canonical text; 0 and 1 for a tool's source."""

    source: str
    start: int
    end: int

    @classmethod
    def of(cls, citation: AnyCitation) -> CitedPart:
        """The part that a citation of an answer cites."""
        if isinstance(citation, Citation):
            source = citation.source
            return cls.of_document(citation.document_id, citation.version, source.start, source.end)
        return cls.of_tool(citation.origin.tool, citation.title, citation.uri)

    @classmethod
    def of_document(cls, document_id: UUID, version: int, start: int, end: int) -> CitedPart:
        """A part of a version of a document."""
        return cls(f"{document_id} {version}", start, end)

    @classmethod
    def of_tool(cls, tool: str, title: str, uri: str) -> CitedPart:
        """A source that a tool returned."""
        return cls(f"{tool} {title} {uri}", 0, 1)

    def meets(self, others: Sequence[CitedPart]) -> bool:
        """Whether one of the others shares bytes with this part."""
        return any(
            self.source == one.source and self.start < one.end and one.start < self.end for one in others
        )


@dataclass(frozen=True, slots=True)
class WaitingQuestion:
    """The next question of a replay.

    caller: who asks, with the role of then, or of today if that is a lower one; None if the user was disabled or deleted.
    conversation_id, before_time: the history is that of the conversation before this time; None for a question of the
    request. before: how the turn ended; None likewise. parts: what the turn cites. recorded: the calls of tools that
    the turn has recorded.
    """

    place: int
    caller: Principal | None
    question: Question
    conversation_id: UUID | None = None
    before_time: datetime | None = None
    before: ReplayedEnd | None = None
    parts: Sequence[CitedPart] = ()
    recorded: Sequence[RecordedCall] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A question that was answered again. citations_kept, citations_lost: of the turn. citations_new: of the version."""

    before: ReplayedEnd | None
    after: ReplayedEnd
    citations_kept: int
    citations_lost: int
    citations_new: int
    unrecorded_tool_calls: int

    @classmethod
    def of(
        cls, waiting: WaitingQuestion, after: ReplayedEnd, parts: Sequence[CitedPart], unrecorded: int
    ) -> Comparison:
        """parts: what the version cites. unrecorded: the calls of tools that were neither made nor recorded."""
        kept = sum(part.meets(parts) for part in waiting.parts)
        new = 0 if waiting.before is None else sum(not part.meets(waiting.parts) for part in parts)
        return cls(waiting.before, after, kept, len(waiting.parts) - kept, new, unrecorded)

    @property
    def counts(self) -> Mapping[str, int]:
        """What the question adds to the counts of its replay."""
        before, after = self.before, self.after
        changed = before is not None and (before.state, before.reason) != (after.state, after.reason)
        sums = {
            f"{side}_{name}": number
            for side, end in (("before", before), ("after", after))
            if end is not None
            for name, number in (
                (end.state.value, 1),
                ("cost_micros", end.cost_micros),
                ("milliseconds", end.milliseconds),
            )
        }
        return {
            "replayed": 1,
            "changed_outcomes": int(changed),
            "citations_kept": self.citations_kept,
            "citations_lost": self.citations_lost,
            "citations_new": self.citations_new,
            **sums,
        }
