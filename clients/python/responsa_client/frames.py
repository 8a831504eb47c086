"""Reading a turn's frames: what makes a stream whole, without any transport.

A frame covers the events (after_seq, through_seq]. Its `after_seq` is the `through_seq` of the frame before; a frame that
does not advance is a heartbeat. A turn that is asked for again is replayed from seq 1; what was handed out before is
passed over. Deltas that are asked for add up to the answer's text, byte for byte.
"""

from __future__ import annotations

import hashlib

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client.errors import BrokenAnswer

TERMINAL = frozenset({"answer", "refused", "failed"})
"""The kinds of TurnEvent that end a turn."""


class ChainBroken(Exception):
    """The frames of one stream do not follow each other; asking again brings them all."""


class FrameReader:
    """Takes the frames of one turn, over as many streams as it needs, and hands out each event once.

    turn: `turns/{uuid}`, "" before the first frame. last_seq: the seq of the last event handed out or covered.
    terminal: the event that ended the turn, None before.
    """

    def __init__(self, *, include_deltas: bool) -> None:
        self.turn: str = ""
        self.last_seq: int = 0
        self.terminal: turn_pb2.TurnEvent | None = None
        self._include_deltas = include_deltas
        self._through: int = 0
        self._attempt = 0
        self._text = bytearray()

    def begin(self) -> None:
        """A new stream begins, with the turn's first frame."""
        self._through = 0

    def take(self, frame: chat_service_pb2.AskResponse) -> list[turn_pb2.TurnEvent]:
        """The events of the frame that were not handed out before, in order of seq; none of a heartbeat.

        Kinds of events that this client does not know are passed over.

        Raises:
            ChainBroken: the frame does not continue the one before, or holds other events than it says.
            BrokenAnswer: another turn, deltas that do not fit, or a wrong checksum: asking again does not help.
        """
        if self.turn and frame.turn != self.turn:
            raise BrokenAnswer(f"The same request_id led to {self.turn} before and to {frame.turn} now.")
        if frame.after_seq != self._through or frame.through_seq < frame.after_seq:
            raise ChainBroken(
                f"a frame covers ({frame.after_seq}, {frame.through_seq}] where it should go on after {self._through}"
            )
        self._check_events(frame)
        self.turn = frame.turn
        self._through = frame.through_seq
        fresh = [event for event in frame.events if event.seq > self.last_seq]
        self.last_seq = max(self.last_seq, frame.through_seq)
        known: list[turn_pb2.TurnEvent] = []
        for event in fresh:
            if self._take_event(event):
                known.append(event)
        return known

    def _check_events(self, frame: chat_service_pb2.AskResponse) -> None:
        """Events lie in the frame's range, in order; where deltas were asked for none is missing."""
        last = frame.after_seq
        for event in frame.events:
            whole = event.seq == last + 1 if self._include_deltas else event.seq > last
            if not whole or event.seq > frame.through_seq:
                raise ChainBroken(f"event {event.seq} follows {last} in a frame through {frame.through_seq}")
            last = event.seq
        if self._include_deltas and last != frame.through_seq:
            raise ChainBroken(f"a frame through {frame.through_seq} ends with event {last}")

    def _take_event(self, event: turn_pb2.TurnEvent) -> bool:
        kind = event.WhichOneof("event")
        if kind is None:
            return False
        if kind == "delta":
            self._take_delta(event)
        elif kind == "answer":
            check_answer(event.answer)
            if self._include_deltas and bytes(self._text) != event.answer.text.encode():
                raise BrokenAnswer(f"The pieces of the answer of {self.turn} do not add up to its text.")
        if kind in TERMINAL:
            self.terminal = event
        return True

    def _take_delta(self, event: turn_pb2.TurnEvent) -> None:
        offset = event.delta.byte_offset
        if event.attempt > self._attempt and offset < len(self._text):
            # A later attempt writes on from where it took over.
            del self._text[offset:]
        self._attempt = max(self._attempt, event.attempt)
        if offset != len(self._text):
            raise BrokenAnswer(
                f"A piece of the answer of {self.turn} begins at byte {offset}, not at {len(self._text)}."
            )
        self._text += event.delta.text.encode()


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
