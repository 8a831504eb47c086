"""Reading a turn's frames: what makes a stream whole, without any transport.

A frame covers the events (after_seq, through_seq]. Its `after_seq` is the `through_seq` of the frame before, or what the stream was asked to begin
after; a frame that does not advance is a heartbeat or a farewell. Events of seq 0 are no part of the log: they tell of the stream. Deltas add up to the answer's
text, byte for byte, less what `attempt_restarted` withdraws. tests/cases/following.yaml holds all this as cases.
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
"""The same on the wire."""


class ChainBroken(Exception):
    """The frames of one stream do not follow each other; another stream brings them all."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The content of a frame. events: those to hand out, in order of seq. place: the place in the queue, if reported. reconnect: seconds to wait before opening another connection, if the server asks for one."""

    events: list[turn_pb2.TurnEvent]
    place: int | None = None
    reconnect: float | None = None


class FrameReader:
    """Takes the frames of one turn, over as many streams as it needs, and hands out each event once.

    turn: `turns/{uuid}`, "" before the first frame. last_seq: the seq of the last event handed out or covered.
    terminal: the event that ended the turn, None before. cited: the citation events that stand.

    Args:
        include_deltas: whether the streams are asked for deltas: then none may be missing.
        turn: the turn to read, where it is known.
        after_seq: what was read elsewhere. Above 0, the text before is not known, and deltas are held against the end of the answer.
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
        """The answer's text as it stands: what was withdrawn is gone. Read from after a seq on, it lacks what came before."""
        return self._text.decode()

    @property
    def citations(self) -> list[citation_pb2.Citation]:
        """The citations as they stand."""
        if self.terminal is not None and self.terminal.WhichOneof("event") == "answer":
            return list(self.terminal.answer.citations)
        return [event.citation for event in self.cited]

    def begin(self, after_seq: int) -> None:
        """A new stream begins, with what follows after_seq."""
        self._through = after_seq

    def take(self, frame: Frame) -> Taken:
        """What the frame brings that was not handed out before; nothing of it when it is not whole.

        Kinds of events that this client does not know are passed over.

        Raises:
            ChainBroken: the frame does not continue the one before, or holds other events than it says.
            BrokenAnswer: another turn, deltas or attempts that do not fit, or a wrong checksum: another stream does not help.
        """
        if self.turn and frame.turn != self.turn:
            raise BrokenAnswer(f"The stream of {self.turn} brought a frame of {frame.turn}.")
        if frame.after_seq != self._through or frame.through_seq < frame.after_seq:
            raise ChainBroken(
                f"a frame covers ({frame.after_seq}, {frame.through_seq}] where it should go on after {self._through}"
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
        """Events lie in the frame's range, in order; where deltas were asked for none is missing."""
        last = frame.after_seq
        for event in logged:
            whole = event.seq == last + 1 if self._include_deltas else event.seq > last
            if not whole or event.seq > frame.through_seq:
                raise ChainBroken(f"event {event.seq} follows {last} in a frame through {frame.through_seq}")
            last = event.seq
        if self._include_deltas and last != frame.through_seq:
            raise ChainBroken(f"a frame through {frame.through_seq} ends with event {last}")

    def _take_event(self, event: turn_pb2.TurnEvent) -> bool:
        """Whether the event is of a kind to hand out."""
        if self.terminal is not None:
            raise BrokenAnswer(
                f"Event {event.seq} of {self.turn} follows its end, event {self.terminal.seq}."
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
        """Attempts only go up, and each announces itself. Whoever ends a turn may do so between two attempts."""
        if kind is None:
            return
        known = self._attempt > 0
        if event.attempt < self._attempt:
            raise BrokenAnswer(
                f"Event {event.seq} of {self.turn} is of attempt {event.attempt}, after {self._attempt}."
            )
        if kind == "attempt_restarted":
            if event.attempt == self._attempt:
                raise BrokenAnswer(
                    f"Event {event.seq} of {self.turn} restarts attempt {event.attempt} by itself."
                )
        elif known and event.attempt > self._attempt and kind not in TERMINAL:
            raise BrokenAnswer(
                f"Event {event.seq} of {self.turn} is of attempt {event.attempt}, which was not announced."
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
        """Take back what the attempt before had not finished."""
        keep = restarted.keep_bytes
        self.cited = [event for event in self.cited if event.seq < restarted.discard_from_seq]
        if not self._include_deltas:
            return
        if self._start is None or keep < self._start:
            # What is kept was read elsewhere, all of it.
            self._start = keep
        kept = keep - self._start
        # A byte 10xxxxxx goes on with a character that would be cut apart.
        if kept > len(self._text) or (kept < len(self._text) and self._text[kept] & 0xC0 == 0x80):
            end = self._start + len(self._text)
            raise BrokenAnswer(f"{keep} bytes of the answer of {self.turn} are to stay, of {end} there are.")
        del self._text[kept:]

    def _check_sum(self, answer: turn_pb2.TurnAnswer) -> None:
        """The deltas that stand are the answer, or its end where the beginning was read elsewhere."""
        read = self._include_deltas and self._start is not None
        if read and answer.text.encode()[self._start :] != bytes(self._text):
            raise BrokenAnswer(f"The pieces of the answer of {self.turn} do not add up to its text.")

    def _take_snapshot(self, snapshot: turn_pb2.TurnSnapshot) -> list[turn_pb2.TurnEvent]:
        """The log is gone: its terminal event stands for all of it, in place of any text that came before."""
        event = snapshot.terminal_event
        if event.seq != snapshot.through_seq or event.seq <= self.last_seq:
            raise BrokenAnswer(f"{self.turn} ended with event {event.seq}, before what it had sent already.")
        self.last_seq = self._through = event.seq
        self.end(event)
        return [event] if event.WhichOneof("event") else []

    def end(self, event: turn_pb2.TurnEvent) -> None:
        """The turn has ended with this event, without its log having been read: it stands for all text and citations."""
        self._text.clear()
        self.cited = []
        if event.WhichOneof("event") == "answer":
            check_answer(event.answer)
            self._text += event.answer.text.encode()
        self.terminal = event


def check_answer(answer: turn_pb2.TurnAnswer) -> None:
    """Hold an answer against its own checksums: of the text, and of each citation's quote and ranges.

    Raises:
        BrokenAnswer: one does not fit.
    """
    text = answer.text.encode()
    if hashlib.sha256(text).digest() != answer.sha256:
        raise BrokenAnswer("The answer's text does not have the SHA-256 that came with it.")
    for number, citation in enumerate(answer.citations, start=1):
        quote = citation.quote.encode()
        if hashlib.sha256(quote).digest() != citation.sha256:
            raise BrokenAnswer(f"The quote of citation {number} does not have the SHA-256 that came with it.")
        source, cited = citation.source_range, citation.answer_range
        if source.end - source.start != len(quote):
            raise BrokenAnswer(f"The quote of citation {number} is not as long as its place in the source.")
        if not 0 <= cited.start <= cited.end <= len(text):
            raise BrokenAnswer(f"Citation {number} points beyond the answer's text.")
