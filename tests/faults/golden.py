"""The rules of a correct stream. The same code reads all streams that are compared. This module does no input or output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from responsa.chat.v1 import chat_service_pb2, turn_pb2

Event = turn_pb2.TurnEvent
TERMINAL = ("answer", "refused", "failed", "cancelled")
OUTSIDE = ("snapshot", "reconnect", "heartbeat")
"""Events that are not part of the log."""


class Differs(AssertionError):
    """A stream is not correct. The message names the place."""


def kind(event: Event) -> str:
    """The kind of the event, such as "delta"."""
    return event.WhichOneof("event") or ""


def is_terminal(event: Event) -> bool:
    """Whether the event ends its turn."""
    return kind(event) in TERMINAL


@dataclass
class Reading:
    """Reads the events of a turn, as a careful reader does: checks that the numbers have no gaps, applies withdrawals,
    and compares the text with the answer.

    all_events: whether the reader asked for deltas. If so, every number must arrive.
    """

    all_events: bool = True
    last_seq: int = 0
    attempt: int = 1
    text: bytes = b""
    terminal: Event | None = None
    calls: dict[str, str] = field(default_factory=dict[str, str])
    """The outcome of each tool call, by the call's id; "" before the tool has returned."""
    _deltas: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def take(self, event: Event) -> None:
        """Read the next event. Raises Differs."""
        what = kind(event)
        if what in OUTSIDE:
            raise Differs(f"{what} stands in a log")
        if self.terminal is not None:
            raise Differs(f"event {event.seq} ({what}) comes after the terminal event {self.terminal.seq}")
        if event.seq != self.last_seq + 1 if self.all_events else event.seq <= self.last_seq:
            raise Differs(f"event {event.seq} comes after {self.last_seq}")
        if (event.seq == 1) != (what == "started"):
            raise Differs(f"event {event.seq} is {what}")
        self._attempt(event, what)
        self.last_seq = event.seq
        match what:
            case "delta":
                self._delta(event)
            case "attempt_restarted":
                self._restarted(event)
            case "tool_call":
                if event.tool_call.call_id in self.calls:
                    raise Differs(f"call {event.tool_call.call_id} is announced twice")
                self.calls[event.tool_call.call_id] = ""
            case "tool_result":
                self._result(event)
            case _ if what in TERMINAL:
                self.terminal = event
                if what == "answer":
                    self._answer(event)
            case _:
                pass

    def _attempt(self, event: Event, what: str) -> None:
        # A process that ends the turn of another process does not begin a new attempt.
        expected = self.attempt + 1 if what == "attempt_restarted" else self.attempt
        if what == "attempt_restarted":
            if event.attempt < expected:
                raise Differs(f"event {event.seq} restarts with attempt {event.attempt} after {self.attempt}")
            self.attempt = event.attempt
        elif event.attempt != self.attempt and what not in TERMINAL:
            raise Differs(f"event {event.seq} ({what}) is of attempt {event.attempt}, not {self.attempt}")

    def _delta(self, event: Event) -> None:
        if event.delta.byte_offset != len(self.text):
            raise Differs(
                f"the delta {event.seq} begins at byte {event.delta.byte_offset}, the text has {len(self.text)}"
            )
        self.text += event.delta.text.encode()
        self._deltas.append((event.seq, len(self.text)))

    def _restarted(self, event: Event) -> None:
        first, keep = event.attempt_restarted.discard_from_seq, event.attempt_restarted.keep_bytes
        kept = [end for seq, end in self._deltas if seq < first]
        if self.all_events and keep != (kept[-1] if kept else 0):
            raise Differs(
                f"event {event.seq} keeps {keep} bytes, but the deltas before {first} have {kept[-1:] or [0]}"
            )
        self.text = self.text[:keep]
        self._deltas = [delta for delta in self._deltas if delta[0] < first]

    def _result(self, event: Event) -> None:
        call = event.tool_result.call_id
        if self.calls.get(call) != "":
            raise Differs(
                f"event {event.seq} is a result of the call {call}, which is {self.calls.get(call)!r}"
            )
        self.calls[call] = (
            turn_pb2.ToolOutcome.Name(event.tool_result.outcome).removeprefix("TOOL_OUTCOME_").lower()
        )

    def _answer(self, event: Event) -> None:
        text = event.answer.text.encode()
        if hashlib.sha256(text).digest() != event.answer.sha256:
            raise Differs("the answer's text and its SHA-256 do not belong together")
        if self.all_events and self._deltas and text != self.text:
            raise Differs(f"the answer has {len(text)} bytes, the deltas have {len(self.text)}")
        if any(outcome == "" for outcome in self.calls.values()):
            raise Differs(f"the answer leaves calls without a result: {self.calls}")


def read(events: Iterable[Event], *, all_events: bool = True) -> Reading:
    """Read a whole stream. Raises Differs."""
    reading = Reading(all_events)
    for event in events:
        reading.take(event)
    return reading


def events_of(frames: Iterable[bytes]) -> Sequence[Event]:
    """The events in the frames of a log, one after the other. Raises Differs if the frames are not contiguous."""
    events: list[Event] = []
    through = 0
    for data in frames:
        frame = chat_service_pb2.AskResponse.FromString(data)
        if frame.after_seq != through:
            raise Differs(f"a frame begins after {frame.after_seq}, the one before ended at {through}")
        events.extend(frame.events)
        through = frame.through_seq
        if events and events[-1].seq > through:
            raise Differs(f"a frame through {through} holds event {events[-1].seq}")
    return events


def same(seen: Sequence[Event], golden: Sequence[Event]) -> None:
    """Compare a reader's stream with the log, byte for byte. Raises Differs."""
    for mine, other in zip(seen, golden, strict=False):
        if mine.SerializeToString(deterministic=True) != other.SerializeToString(deterministic=True):
            raise Differs(
                f"event {mine.seq} ({kind(mine)}) was seen as {mine!s}, the log has {other.seq}: {other!s}"
            )
    if len(seen) != len(golden):
        raise Differs(f"{len(seen)} events were seen, the log has {len(golden)}")
