"""Reads a turn's frames and checks that a stream is complete. This module does not depend on a transport.

A frame covers the events whose seq is above `after_seq` and at most `through_seq`. The `after_seq` of a frame is the
`through_seq` of the previous frame; for the first frame of a stream, it is the seq that the request named. A frame
whose `through_seq` equals its `after_seq` is a heartbeat, or ends the stream. Events with seq 0 describe the stream and
are not part of the log. The deltas that `attempt_restarted` does not withdraw add up to the answer's text, byte for
byte. clients/conformance/cases.yaml contains these rules as test cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa_client.errors import BrokenAnswer

TERMINAL = frozenset({"answer", "refused", "failed", "cancelled"})
"""The kinds of TurnEvent that end a turn."""


Frame = chat_service_pb2.AskResponse | chat_service_pb2.ResumeTurnResponse
"""A frame is the response message of Ask or ResumeTurn. Both have the same fields."""


class ChainBroken(Exception):
    """A frame does not continue the previous frame of its stream. The reader should open a new stream, which returns the missing frames."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The content of a frame.

    events: the events to yield, in order of seq.
    place: the turn's place in the queue; None if the frame does not report it.
    reconnect: the seconds to wait before opening another connection; None if the server does not ask for another connection.
    """

    events: list[turn_pb2.TurnEvent]
    place: int | None = None
    reconnect: float | None = None


class FrameReader:
    """Takes the frames of one turn, over any number of streams, and returns each event once.

    turn: the turn's name, `turns/{uuid}`; "" before the first frame.
    last_seq: the highest seq that the frames so far have covered; before the first frame, `after_seq`.
    terminal: the event that ended the turn; None before the end.
    cited: the citation events that were not withdrawn.

    Args:
        include_deltas: whether the requests ask for deltas. If they do, the reader checks that no event is missing.
        turn: the turn to read; "" if it is not known yet.
        after_seq: the last seq that another reader read. If it is above 0, this reader does not know the earlier text,
            so it compares the deltas with the end of the answer.
    """

    def __init__(self, *, include_deltas: bool, turn: str = "", after_seq: int = 0) -> None:
        self.turn: str = turn
        self.last_seq: int = after_seq
        self.terminal: turn_pb2.TurnEvent | None = None
        self.cited: list[turn_pb2.TurnEvent] = []
        self._include_deltas = include_deltas
        self._through: int = after_seq
        self._attempt = 0
        self._text = bytearray()
        self._start: int | None = 0 if after_seq == 0 else None

    @property
    def text(self) -> str:
        """The answer's text so far, without withdrawn text. If the reader began after a seq, the deltas before this seq are missing."""
        return self._text.decode()

    @property
    def citations(self) -> list[citation_pb2.Citation]:
        """The citations so far, without withdrawn ones."""
        if self.terminal is not None and self.terminal.WhichOneof("event") == "answer":
            return list(self.terminal.answer.citations)
        return [event.citation for event in self.cited]

    def begin(self, after_seq: int) -> None:
        """Begin a new stream, which returns the events after `after_seq`."""
        self._through = after_seq

    def take(self, frame: Frame) -> Taken:
        """Return the frame's new events and notices. If the frame is not valid, this raises an error and returns no event.

        Unknown kinds of events are ignored.

        Raises:
            ChainBroken: the frame does not continue the previous one, or its events do not fit its range.
            BrokenAnswer: the frame belongs to another turn, its deltas or attempts contradict earlier frames, or a
                checksum is wrong. A new stream would not help.
        """
        if self.turn and frame.turn != self.turn:
            raise BrokenAnswer(f"The stream of {self.turn} contained a frame of {frame.turn}.")
        if frame.after_seq != self._through or frame.through_seq < frame.after_seq:
            raise ChainBroken(
                f"a frame covers ({frame.after_seq}, {frame.through_seq}] but should continue after {self._through}"
            )
        self.turn = frame.turn
        place: int | None = None
        reconnect: float | None = None
        for event in frame.events:
            match event.WhichOneof("event") if event.seq == 0 else "":
                case "snapshot":
                    return Taken(self._take_snapshot(event.snapshot))
                case "heartbeat":
                    place = event.heartbeat.queue_place
                case "reconnect":
                    reconnect = event.reconnect.after.ToTimedelta().total_seconds()
                case _:
                    pass
        logged = [event for event in frame.events if event.seq]
        self._check_whole(frame, logged)
        self._through = frame.through_seq
        fresh = [event for event in logged if event.seq > self.last_seq]
        self.last_seq = max(self.last_seq, frame.through_seq)
        return Taken([event for event in fresh if self._take_event(event)], place, reconnect)

    def _check_whole(self, frame: Frame, logged: Sequence[turn_pb2.TurnEvent]) -> None:
        """Check that the events are within the frame's range and in order. If the requests ask for deltas, no event may be missing."""
        last = frame.after_seq
        for event in logged:
            whole = event.seq == last + 1 if self._include_deltas else event.seq > last
            if not whole or event.seq > frame.through_seq:
                raise ChainBroken(
                    f"event {event.seq} follows {last} in a frame that covers the events up to {frame.through_seq}"
                )
            last = event.seq
        if self._include_deltas and last != frame.through_seq:
            raise ChainBroken(
                f"a frame that covers the events up to {frame.through_seq} ends with event {last}"
            )

    def _take_event(self, event: turn_pb2.TurnEvent) -> bool:
        """Read one event, and return whether to yield it."""
        if self.terminal is not None:
            raise BrokenAnswer(
                f"Event {event.seq} of {self.turn} comes after the terminal event, {self.terminal.seq}."
            )
        kind = event.WhichOneof("event")
        self._take_attempt(event, kind)
        match kind:
            case None:
                return False
            case "delta":
                self._take_delta(event.delta)
            case "citation":
                self.cited.append(event)
            case "attempt_restarted":
                self._withdraw(event.attempt_restarted)
            case "answer":
                check_answer(event.answer)
                self._check_sum(event.answer)
                self._text[:] = event.answer.text.encode()
            case _:
                pass
        if kind in TERMINAL:
            self.terminal = event
        return True

    def _take_attempt(self, event: turn_pb2.TurnEvent, kind: str | None) -> None:
        """Check that attempts only increase and that each new attempt is announced. A terminal event needs no
        announcement of its attempt, because CancelTurn may end a turn between two attempts."""
        if kind is None:
            return
        known = self._attempt > 0
        if event.attempt < self._attempt:
            raise BrokenAnswer(
                f"Event {event.seq} of {self.turn} belongs to attempt {event.attempt}, but an event of "
                f"attempt {self._attempt} came before it."
            )
        if kind == "attempt_restarted":
            if event.attempt == self._attempt:
                raise BrokenAnswer(
                    f"Event {event.seq} of {self.turn} announces attempt {event.attempt} a second time."
                )
        elif known and event.attempt > self._attempt and kind not in TERMINAL:
            raise BrokenAnswer(
                f"Event {event.seq} of {self.turn} belongs to attempt {event.attempt}, which was not announced."
            )
        self._attempt = event.attempt

    def _take_delta(self, delta: turn_pb2.TurnDelta) -> None:
        if self._start is None:
            self._start = delta.byte_offset
        end = self._start + len(self._text)
        if delta.byte_offset != end:
            raise BrokenAnswer(
                f"A piece of the answer of {self.turn} begins at byte {delta.byte_offset}, not at {end}."
            )
        self._text += delta.text.encode()

    def _withdraw(self, restarted: turn_pb2.TurnAttemptRestarted) -> None:
        """Withdraw the unfinished output of the previous attempt."""
        keep = restarted.keep_bytes
        self.cited = [event for event in self.cited if event.seq < restarted.discard_from_seq]
        if not self._include_deltas:
            return
        if self._start is None or keep < self._start:
            # Another reader read all of the kept text.
            self._start = keep
        kept = keep - self._start
        # A byte 10xxxxxx continues a character, so the cut would split it.
        if kept > len(self._text) or (kept < len(self._text) and self._text[kept] & 0xC0 == 0x80):
            end = self._start + len(self._text)
            raise BrokenAnswer(
                f"The answer of {self.turn}, with {end} bytes so far, cannot be cut after {keep} bytes."
            )
        del self._text[kept:]

    def _check_sum(self, answer: turn_pb2.TurnAnswer) -> None:
        """Check that the deltas without withdrawn text equal the answer, or the end of the answer if another reader read its beginning."""
        read = self._include_deltas and self._start is not None
        if read and answer.text.encode()[self._start :] != bytes(self._text):
            raise BrokenAnswer(f"The pieces of the answer of {self.turn} do not add up to its text.")

    def _take_snapshot(self, snapshot: turn_pb2.TurnSnapshot) -> list[turn_pb2.TurnEvent]:
        """Read a snapshot. The server has pruned the log, so the terminal event replaces the log and all earlier text."""
        event = snapshot.terminal_event
        if event.seq != snapshot.through_seq or event.seq <= self.last_seq:
            raise BrokenAnswer(
                f"{self.turn} ended with event {event.seq}, but had already sent later events."
            )
        self.last_seq = self._through = event.seq
        self.end(event)
        return [event] if event.WhichOneof("event") else []

    def end(self, event: turn_pb2.TurnEvent) -> None:
        """End the turn with this event. The rest of the log was not read, so the event replaces all text and citations."""
        self._text.clear()
        self.cited = []
        if event.WhichOneof("event") == "answer":
            check_answer(event.answer)
            self._text += event.answer.text.encode()
        self.terminal = event


def check_answer(answer: turn_pb2.TurnAnswer) -> None:
    """Check the checksums of an answer's text and of each citation's quote, and the ranges of the citations.

    Raises:
        BrokenAnswer: a checksum or a range does not match.
    """
    text = answer.text.encode()
    if hashlib.sha256(text).digest() != answer.sha256:
        raise BrokenAnswer("The answer's text does not match its SHA-256.")
    for number, citation in enumerate(answer.citations, start=1):
        quote = citation.quote.encode()
        if hashlib.sha256(quote).digest() != citation.sha256:
            raise BrokenAnswer(f"The quote of citation {number} does not match its SHA-256.")
        source, cited = citation.source_range, citation.answer_range
        found = citation.quote_origin != citation_pb2.QUOTE_ORIGIN_NOT_FOUND
        if (source.end - source.start if found else 0) != len(quote):
            raise BrokenAnswer(f"The quote of citation {number} is not as long as its range in the source.")
        if not 0 <= cited.start <= cited.end <= len(text):
            raise BrokenAnswer(f"Citation {number} points beyond the answer's text.")
