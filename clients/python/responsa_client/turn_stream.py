"""Following a turn without an event loop. The decisions are following.py's; this makes the calls, waits and hands out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import grpc

from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa_client.blocking import BlockingCalls, Stream, as_stream
from responsa_client.connection import Deadline
from responsa_client.errors import BrokenAnswer, ResponsaError
from responsa_client.following import Following, Opening
from responsa_client.frames import ChainBroken, Frame
from responsa_client.stubs import Stubs


class TurnStream(Iterator[turn_pb2.TurnEvent]):
    """The events of one turn, each once, in order of seq, through its terminal event, over as many connections as that takes.

    The question is sent with the first `next`. Leave a stream early by `close` or by its context manager: the turn itself goes on, and can be resumed; `stop`
    ends it. Iterate in one thread; `stop` and the properties may be used from others meanwhile.

    request_id: what the question is asked with; asking again with it attaches to the same turn. "" of a turn that is resumed.
    """

    def __init__(self, calls: BlockingCalls, following: Following, timeout: float | None) -> None:
        self.request_id = following.request_id
        self._calls = calls
        self._following = following
        self._events = self._follow(timeout)

    @property
    def turn(self) -> str:
        """`turns/{uuid}`; "" before the first frame."""
        return self._following.reader.turn

    @property
    def last_seq(self) -> int:
        """The seq up to which everything was handed out: from here another client may resume."""
        return self._following.handed

    @property
    def terminal(self) -> turn_pb2.TurnEvent | None:
        """The event that ended the turn, once it has come. Of a turn that is resumed at its end it is known though nothing is handed out."""
        return self._following.reader.terminal

    @property
    def text(self) -> str:
        """The answer's text as it stands: deltas (if asked for) less what was withdrawn; the whole answer once it has come. Resumed after a seq, it lacks what came before."""
        return self._following.reader.text

    @property
    def citations(self) -> list[citation_pb2.Citation]:
        """The citations as they stand, those withdrawn left out."""
        return self._following.reader.citations

    @property
    def queue_place(self) -> int:
        """How many turns of the conversation come before this one, as last told; 0 when it does not wait."""
        return self._following.place

    def stop(self) -> turn_pb2.Turn:
        """End the turn, as `Responsa.cancel`. It works before the turn's name is known too: the question's request_id finds the turn, or makes it and ends it at once, so that a
        question still under way cannot begin afterwards. Iterating goes on to the terminal event.

        Raises:
            ResponsaError: as of `cancel`; or, where the turn was not accepted, why.
        """
        name = (
            self.turn or self._calls.unary(self._calls.stubs.chat.StartTurn, self._following.stopping()).name
        )
        return self._calls.unary(
            self._calls.stubs.chat.CancelTurn, chat_service_pb2.CancelTurnRequest(name=name)
        )

    def close(self) -> None:
        """Stop following. The call is cancelled; the turn is not, unless it was asked with cancel_on_disconnect: then 10 seconds later, if nobody follows it."""
        self._events.close()

    def __next__(self) -> turn_pb2.TurnEvent:
        return next(self._events)

    def __enter__(self) -> TurnStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self, timeout: float | None) -> Generator[turn_pb2.TurnEvent, None, None]:
        deadline, following, calls = Deadline(timeout), self._following, self._calls
        while not following.ended:
            line = calls.lines.take()
            unused: grpc.Channel | None = None
            try:
                calls.connection.check_open()
                failure = yield from self._stream(line.stubs, deadline)
                if following.ended:
                    return
                calls.connection.check_open()
                if failure is None and following.doubtful:
                    failure = self._settle(deadline)
                    if following.ended:
                        return
                pause = following.after(failure, deadline)
                if pause.fresh:
                    calls.lines.retire(line)
            finally:
                unused = calls.lines.give_back(line)
                if unused is not None:
                    unused.close()
            time.sleep(pause.seconds)

    def _stream(
        self, stubs: Stubs, deadline: Deadline
    ) -> Generator[turn_pb2.TurnEvent, None, ResponsaError | None]:
        """Hand out one stream's events. Returns why it broke off; None when it ended well or nothing more is wanted of it."""
        following, connection = self._following, self._calls.connection
        call = _open(stubs, following.begin(), deadline.remaining(), connection.metadata)
        watchdog = _Watchdog(call.cancel, connection.silence)
        try:
            while not following.done_with_stream:
                with watchdog.waiting():
                    frame = next(call, None)
                if frame is None:
                    break
                yield from following.hand_out(frame)
        except grpc.RpcError as error:
            return following.fell_silent() if watchdog.barked else connection.error(error, deadline)
        except ChainBroken as broken:
            return following.cut(broken)
        except BrokenAnswer as error:
            raise following.named(error) from None
        finally:
            watchdog.end()
            call.cancel()
        return None

    def _settle(self, deadline: Deadline) -> ResponsaError | None:
        """Ask the turn itself whether it has ended."""
        try:
            self._following.settle(
                self._calls.unary(
                    self._calls.stubs.chat.GetTurn,
                    chat_service_pb2.GetTurnRequest(name=self._following.reader.turn),
                    timeout=deadline.remaining(),
                )
            )
        except ResponsaError as error:
            return error
        return None


def _open(
    stubs: Stubs, request: Opening, timeout: float | None, metadata: tuple[tuple[str, str], ...]
) -> Stream[Frame]:
    if isinstance(request, chat_service_pb2.AskRequest):
        return as_stream(stubs.chat.Ask(request, timeout=timeout, metadata=metadata))
    return as_stream(stubs.chat.ResumeTurn(request, timeout=timeout, metadata=metadata))


class _Watchdog:
    """Cancels a stream whose reader has waited too long for a frame: one thread a stream, and none for a reader that takes its time.

    barked: whether it did.
    """

    def __init__(self, cancel: Callable[[], object], seconds: float) -> None:
        self.barked = False
        self._cancel = cancel
        self._seconds = seconds
        self._since: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="responsa-watchdog", daemon=True).start()

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """The time that is counted."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _watch(self) -> None:
        # Nothing can have been silent for so long before the first look, and each look knows when the next can matter.
        pause = self._seconds
        while not self._ended.wait(pause):
            since = self._since
            pause = self._seconds if since is None else since + self._seconds - time.monotonic()
            if pause <= 0:
                self.barked = True
                self._cancel()
                return
