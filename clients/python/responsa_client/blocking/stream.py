# Generated from ../aio/stream.py by `make generate`. Do not edit.
"""Following a turn. The decisions are following.py's; this makes the calls, waits and hands out the events."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import grpc

from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa_client.blocking import transport
from responsa_client.blocking.calls import Calls
from responsa_client.blocking.transport import Stream
from responsa_client.connection import Connection, Deadline, Silence
from responsa_client.errors import BrokenAnswer, ResponsaError
from responsa_client.following import Following, Opening
from responsa_client.frames import ChainBroken
from responsa_client.stubs import Stubs


class TurnStream(Iterator[turn_pb2.TurnEvent]):
    """The events of one turn, each once, in order of seq, through its terminal event, over as many connections as that takes.

    The question is sent when the first event is asked for. Leave a stream early by `close` or by its context manager: the turn itself goes on, and can be resumed; `stop`
    ends it. Iterate in one thread or task; `stop` and the properties may be used from others meanwhile.

    request_id: what the question is asked with; asking again with it attaches to the same turn. "" of a turn that is resumed.
    """

    def __init__(self, calls: Calls, following: Following, timeout: float | None) -> None:
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
        """How many turns of the conversation come before this one, as last reported; 0 when it does not wait."""
        return self._following.place

    def stop(self) -> turn_pb2.Turn:
        """End the turn, as `Responsa.cancel`. It works before the turn's name is known too: the question's request_id finds the turn, or makes it and ends it at once, so that a
        question still under way cannot begin afterwards. Iterating goes on to the terminal event.

        Raises:
            ResponsaError: as of `cancel`; or, where the turn was not accepted, why.
        """
        chat = self._calls.stubs.chat
        name = self.turn or (self._calls.unary(chat.StartTurn, self._following.stopping())).name
        return self._calls.unary(chat.CancelTurn, chat_service_pb2.CancelTurnRequest(name=name))

    def close(self) -> None:
        """Stop following. The call is cancelled; the turn is not, unless it was asked with cancel_on_disconnect: then 10 seconds later, if nobody follows it."""
        self._events.close()

    def __next__(self) -> turn_pb2.TurnEvent:
        return next(self._events)

    def __enter__(self) -> TurnStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self, timeout: float | None) -> Generator[turn_pb2.TurnEvent]:
        deadline, following, calls = Deadline(timeout), self._following, self._calls
        while not following.ended:
            line = calls.lines.take()
            try:
                calls.connection.check_open()
                stream = _open(line.stubs, following.begin(), deadline.remaining(), calls.connection)
                failure: ResponsaError | None = None
                try:
                    while not following.done_with_stream:
                        frame = stream.read()
                        if frame is None:
                            break
                        yield from following.hand_out(frame)
                except Silence:
                    failure = following.fell_silent()
                except grpc.RpcError as error:
                    failure = calls.connection.error(error, deadline)
                except ChainBroken as broken:
                    failure = following.cut(broken)
                except BrokenAnswer as error:
                    raise following.named(error) from None
                finally:
                    stream.cancel()
                if following.ended:
                    return
                calls.connection.check_open()
                if failure is None and following.doubtful:
                    failure = self._ask_whether_ended(deadline)
                    if following.ended:
                        return
                pause = following.after(failure, deadline)
                if pause.fresh:
                    calls.lines.retire(line)
            finally:
                unused = calls.lines.give_back(line)
                if unused is not None:
                    unused.close()
            transport.sleep(pause.seconds)

    def _ask_whether_ended(self, deadline: Deadline) -> ResponsaError | None:
        """Ask the turn itself whether it has ended."""
        request = chat_service_pb2.GetTurnRequest(name=self._following.reader.turn)
        try:
            self._following.check_ended(
                self._calls.unary(self._calls.stubs.chat.GetTurn, request, timeout=deadline.remaining())
            )
        except ResponsaError as error:
            return error
        return None


def _open(
    stubs: Stubs, request: Opening, timeout: float | None, connection: Connection
) -> Stream[chat_service_pb2.AskResponse] | Stream[chat_service_pb2.ResumeTurnResponse]:
    if isinstance(request, chat_service_pb2.AskRequest):
        return Stream(stubs.chat.Ask, request, timeout, connection, connection.silence)
    return Stream(stubs.chat.ResumeTurn, request, timeout, connection, connection.silence)
