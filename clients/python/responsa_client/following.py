"""Decides how to follow one turn over any number of streams: the next request, and whether and when to send it. This
module makes no calls and does not sleep.

Until the client knows the turn's name, it sends the question again, which is safe because of the request_id.
Afterwards, it resumes the turn after the last seq that arrived. clients/conformance/cases.yaml contains these rules as
test cases.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client.connection import Connection, Deadline
from responsa_client.errors import DeadlineExceeded, ResponsaError, StreamCut
from responsa_client.frames import ChainBroken, Frame, FrameReader
from responsa_client.notices import Notice, Reconnecting, Waiting
from responsa_client.retries import LIMITS, first_line, may_pass

PATIENCE_SECONDS = 300.0
"""The time in seconds for which the client tries to follow a turn without receiving a frame."""
_INTERNAL_TRIES = 3
# The client continues after these errors. The caller did not cause them; therefore a proxy on the way must have set a
# deadline or cancelled the call.
_FOLLOWER_PASSES = frozenset({"DEADLINE_EXCEEDED", "CANCELLED"})

Opening = chat_service_pb2.AskRequest | chat_service_pb2.ResumeTurnRequest


@dataclass(frozen=True, slots=True)
class Pause:
    """What to do before the next stream: wait for `seconds`, and if `fresh`, open another connection."""

    seconds: float
    fresh: bool


class Following:
    """The state of following one turn. For each stream, call `begin`, then `hand_out` with each frame, then `after`, until `ended` is true.

    reader: the reader of all frames so far.
    handed: the seq up to which all events were yielded.
    place: the turn's place in the queue; 0 if the turn does not wait.

    Args:
        opening: the request of the first stream, which asks the question or resumes a turn.
        patience: the time in seconds without a frame after which the client gives up; math.inf for no limit. A limit
            of the server's is waited for all the same, for `PATIENCE_SECONDS` at most.
        on_notice: a function to call with each notice.
    """

    def __init__(
        self,
        opening: Opening,
        connection: Connection,
        patience: float,
        on_notice: Callable[[Notice], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request_id = opening.request_id if isinstance(opening, chat_service_pb2.AskRequest) else ""
        self.place = 0
        self._opening = opening
        self._connection = connection
        self._patience = patience
        self._notify = on_notice
        self._clock = clock
        self._backoff = connection.backoff()
        if isinstance(opening, chat_service_pb2.AskRequest):
            self._deltas = opening.include_deltas
            self.reader = FrameReader(include_deltas=self._deltas)
        else:
            self._deltas = opening.include_deltas
            self.reader = FrameReader(
                include_deltas=self._deltas, turn=opening.turn, after_seq=opening.after_seq
            )
        self.handed = self.reader.last_seq
        self._trouble_since: float | None = None
        self._internal = 0
        self._sent_away = False
        self._renewed = False
        # The state of the current stream.
        self._frames = 0
        self._reconnect: float | None = None
        self._silent = False

    @property
    def ended(self) -> bool:
        """Whether the terminal event has arrived, on this stream or an earlier one."""
        return self.reader.terminal is not None

    @property
    def done_with_stream(self) -> bool:
        """Whether the current stream is no longer needed."""
        return self.ended or self._reconnect is not None

    def begin(self) -> Opening:
        """The request of the next stream."""
        self._frames, self._reconnect, self._silent = 0, None, False
        if not self.reader.turn:
            self.reader.begin(0)
            return self._opening
        self.reader.begin(self.reader.last_seq)
        return chat_service_pb2.ResumeTurnRequest(
            turn=self.reader.turn, after_seq=self.reader.last_seq, include_deltas=self._deltas
        )

    def hand_out(self, frame: Frame) -> Iterator[turn_pb2.TurnEvent]:
        """Yield the events that `take` returns, one by one. `handed` advances only with the events that the caller has taken."""
        for event in self.take(frame):
            self.handed = event.seq
            yield event
        self.handed = self.reader.last_seq

    def take(self, frame: Frame) -> list[turn_pb2.TurnEvent]:
        """The events to yield. Raises as FrameReader.take does."""
        before = self.reader.last_seq
        taken = self.reader.take(frame)
        self._connection.reached = True
        self._frames += 1
        self._reconnect = taken.reconnect
        if self.reader.last_seq > before:
            self._backoff.reset()
            self._internal, self._sent_away, self._renewed = 0, False, False
        if taken.reconnect is None:
            self._trouble_since = None
        moved = 0 if self.reader.last_seq > before else None
        self._report_place(moved if taken.place is None else taken.place)
        return taken.events

    def fell_silent(self) -> ResponsaError:
        """The error for a stream that the client ended because not even a heartbeat arrived."""
        self._silent = True
        if self._trouble_since is None:
            self._trouble_since = self._clock() - self._connection.silence
        return self.cut("not even a heartbeat arrived")

    def cut(self, cause: str | ChainBroken) -> StreamCut:
        """The error for an interrupted stream. `cause` is "" if the stream ended without an error."""
        shown = first_line(str(cause)) or "it ended before the turn did"
        return StreamCut(grpc.StatusCode.UNAVAILABLE, f"The answer's stream was interrupted ({shown}).")

    @property
    def doubtful(self) -> bool:
        """Whether the turn may have ended earlier, because the current stream ended without an error and without a frame."""
        return self._frames == 0 and self.reader.turn != "" and self.reader.last_seq > 0

    def check_ended(self, turn: turn_pb2.Turn) -> None:
        """Take the terminal event from the turn itself, if the turn ended at the last seq that was read."""
        if turn.HasField("terminal_event") and turn.last_seq == self.reader.last_seq:
            self.reader.end(turn.terminal_event)

    def after(self, failure: ResponsaError | None, deadline: Deadline) -> Pause:
        """Decide how to continue after a stream that ended before its turn. `failure` is the stream's error, or None if
        the stream ended without an error.

        Raises:
            ResponsaError: the failure is final, or continuing would take too long.
        """
        requested = self._reconnect
        if requested is not None and not self._sent_away:
            self._sent_away = True
            wait, fresh, cause = requested, True, None
        else:
            cause = failure or self.cut("")
            self._raise_if_final(cause, deadline)
            wait = self._wait(cause, requested)
            fresh = requested is not None or self._silent or cause.reason == "DRAINING"
        if not deadline.allows(wait):
            # Before the turn is accepted, the server's own error is more informative than a passed deadline.
            refused = cause is not None and cause.from_server and not self.reader.turn
            raise self._given_up(cause) if refused else self.named(self.late(deadline))
        if self._notify is not None:
            failing = 0.0 if self._trouble_since is None else self._clock() - self._trouble_since
            left = deadline.remaining()
            left = min(math.inf if left is None else left, self._most_patience(cause) - failing)
            self._notify(Reconnecting(wait, cause, failing, left))
        return Pause(wait, fresh)

    def stopping(self) -> chat_service_pb2.StartTurnRequest:
        """A request that returns the question's turn, or creates the turn, without following it. The client sends this
        request to learn the turn's name."""
        request = self._opening
        assert isinstance(request, chat_service_pb2.AskRequest), "the name of a resumed turn is known"
        return chat_service_pb2.StartTurnRequest(
            conversation=request.conversation,
            text=request.text,
            request_id=request.request_id,
            options=request.options,
            agent=request.agent,
        )

    def named(self, error: ResponsaError) -> ResponsaError:
        """The error, with the fields that a caller needs to continue later."""
        error.turn, error.after_seq, error.request_id = (
            self.reader.turn,
            self.handed,
            self.request_id,
        )
        return error

    def late(self, deadline: Deadline) -> DeadlineExceeded:
        """The error for a caller's deadline that has passed. The turn itself continues."""
        what = self.reader.turn or "The turn"
        return DeadlineExceeded(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"{what} had not ended within {deadline}. It continues{self._how_to_go_on()}.",
        )

    def _raise_if_final(self, failure: ResponsaError, deadline: Deadline) -> None:
        if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED and not deadline.allows(0):
            raise self.named(self.late(deadline))
        if failure.reason == "INTERNAL":
            # An accepted turn outlives an unexpected error of the call that follows it.
            self._internal += 1
            final = not self.reader.turn or self._internal >= _INTERNAL_TRIES
        elif self._connection.may_renew(failure) and not self._renewed:
            self._renewed = True
            final = False
        elif failure.from_server:
            final = not (may_pass(failure) or failure.reason in _FOLLOWER_PASSES)
        elif failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            final = False
        else:
            final = not self._connection.may_repeat(failure)
        if final:
            raise self.named(failure)

    def _wait(self, cause: ResponsaError, requested: float | None) -> float:
        least = max(requested or 0.0, cause.retry_after or 0.0)
        now = self._clock()
        self._trouble_since = now if self._trouble_since is None else self._trouble_since
        # Until the server has answered once, the client makes only as many tries as for a single call.
        wait = self._backoff.pause(least) if self._connection.reached else self._backoff.next(least)
        if wait is None or now + wait - self._trouble_since > self._most_patience(cause):
            raise self._given_up(cause)
        return wait

    def _most_patience(self, cause: ResponsaError | None) -> float:
        # A limit is no trouble: the server has said when it ends.
        limited = cause is not None and cause.reason in LIMITS
        return max(self._patience, PATIENCE_SECONDS) if limited else self._patience

    def _given_up(self, last: ResponsaError | None) -> ResponsaError:
        """The error after the patience has run out: the server's last error, or an interrupted stream."""
        if last is not None and last.from_server:
            return self.named(last)
        cause = first_line(last.message) if last is not None else "The answer's stream was interrupted"
        message = f"{cause.rstrip('.')}. The turn may continue{self._how_to_go_on()}."
        error = StreamCut(grpc.StatusCode.UNAVAILABLE, message)
        error.__cause__ = last
        return self.named(error)

    def _how_to_go_on(self) -> str:
        if self.reader.turn:
            return f": resume {self.reader.turn} after seq {self.handed}"
        return f": ask again with request_id {self.request_id}"

    def _report_place(self, place: int | None) -> None:
        if place is not None and place != self.place:
            self.place = place
            if self._notify is not None:
                self._notify(Waiting(place))
