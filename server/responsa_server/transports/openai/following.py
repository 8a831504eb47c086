"""The frames of a turn, read for a response of OpenAI's API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

from google.protobuf.message import Message

from responsa.chat.v1.chat_service_pb2 import (
    AskRequest,
    AskResponse,
    CancelTurnRequest,
    GetTurnRequest,
    ResumeTurnRequest,
)
from responsa.chat.v1.citation_pb2 import Citation
from responsa.chat.v1.turn_pb2 import AnswerOutcome, Turn, TurnEvent, Usage
from responsa_server.calls.call import Complete, disconnected
from responsa_server.domain.errors import AlreadyExists, Reason, ResponsaError, Unavailable
from responsa_server.transports.openai.asking import Asked
from responsa_server.transports.openai.exchange import CHAT, Exchange
from responsa_server.transports.openai.places import placed
from responsa_server.transports.openai.written import Written, restarted

TERMINAL: Final = ("answer", "refused", "failed", "cancelled")


class Reading:
    """What the frames of a turn have said so far. terminal: the turn's last event, None before it. begun: the time of the turn, in seconds since 1970. beats: whether the last frame is a heartbeat."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self.turn = self.conversation = self.agent_version = ""
        self.begun = 0
        self.seq = 0
        self.citations: list[tuple[int, Citation]] = []
        self.terminal: TurnEvent | None = None
        self.away = self.beats = False

    @property
    def agent(self) -> str:
        """The agent's id, which is the name of the model."""
        return self.agent_version.split("/")[1] if self.agent_version else ""

    @property
    def cut(self) -> str:
        """Why the text is not the whole answer: "stop" or "length"; "" if it is."""
        limited = (
            self.terminal is not None
            and self.terminal.answer.outcome == AnswerOutcome.ANSWER_OUTCOME_OUTPUT_LIMIT
        )
        return self.written.cut or ("length" if limited else "")

    def take(self, frame: AskResponse) -> None:
        """Read the next frame."""
        self.beats = False
        for event in frame.events:
            self._take(event)
        self.seq = frame.through_seq

    def _take(self, event: TurnEvent) -> None:
        match event.WhichOneof("event"):
            case "started":
                self.conversation, self.agent_version = (
                    event.started.conversation,
                    event.started.agent_version,
                )
                self.begun = event.create_time.seconds
            case "delta":
                self.written.add(event.delta.text)
            case "citation":
                self.citations.append((event.seq, event.citation))
            case "attempt_restarted":
                first = event.attempt_restarted.discard_from_seq
                self.citations = [one for one in self.citations if one[0] < first]
                self.written.restart(event.attempt_restarted.keep_bytes)
            case "snapshot":
                # The log is gone, so the client's part of the text cannot be compared.
                if self.written.sent and event.snapshot.terminal_event.attempt > 1:
                    raise restarted()
                self._end(event.snapshot.terminal_event)
            case "answer" | "refused" | "failed" | "cancelled":
                self._end(event)
            case "reconnect":
                self.away = True
            case "heartbeat":
                self.beats = True
            case _:
                pass

    def _end(self, event: TurnEvent) -> None:
        self.terminal = event
        if event.HasField("answer"):
            self.written.text = event.answer.text
            self.citations = [(0, one) for one in event.answer.citations]

    def cited(self) -> Sequence[Citation]:
        """The citations of what was sent."""
        most = len(self.written.text[: self.written.sent].encode())
        return [one for _, one in self.citations if one.answer_range.end <= most]


class Output(Protocol):
    """Makes a response of what is read. over: whether its last part was sent."""

    over: bool

    async def show(self, reading: Reading, text: str) -> None:
        """Send what has come. text: the next part of the answer; "" for a heartbeat and for events that say nothing here."""
        ...


class Followed:
    """Asks, or resumes a turn, and passes what comes to an output."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._arrived = asyncio.Event()
        self._reading = Reading(Written())
        self._output: Output | None = None
        self._hold_until = 0
        self._attaches = False

    async def ask(self, parse: Callable[[Mapping[str, Any]], Asked], make: Callable[[Asked], Output]) -> None:
        """Ask the question in the body. A request with the key of an earlier one attaches to its turn. make: makes the output. Raises ResponsaError."""
        asked: list[AskRequest] = []

        async def read() -> bytes | None:
            found = parse(await self._exchange.body())
            asked.append(await placed(self._exchange, found))
            self._begin(found, make(found))
            return asked[0].SerializeToString()

        try:
            await self._serve("Ask", read)
        except AlreadyExists as error:
            turn = await self._earlier(error, asked[0]) if asked else None
            if turn is None:
                raise
            await self._serve("ResumeTurn", Complete(ResumeTurnRequest(turn=turn, include_deltas=True)))

    async def resume(self, turn: str, written: Written, output: Output) -> None:
        """Follow a turn. written: knows how much of the text the client has. Raises ResponsaError."""
        self._reading, self._attaches = Reading(written), True
        self._output = output
        self._arrived.set()
        await self._serve("ResumeTurn", Complete(ResumeTurnRequest(turn=turn, include_deltas=True)))

    def _begin(self, found: Asked, output: Output) -> None:
        self._reading = Reading(found.written())
        self._attaches = bool(found.request.request_id)
        self._output = output
        if found.ignored:
            self._exchange.headers["x-responsa-ignored"] = ", ".join(found.ignored)
        self._arrived.set()

    async def _earlier(self, error: AlreadyExists, asked: AskRequest) -> str | None:
        """The turn of an earlier request with the same key and the same question: since then, its conversation has gone on, so the question seems to continue another one."""
        name = error.metadata.get("resource_name", "")
        if error.reason is not Reason.REQUEST_ID_REUSED or error.metadata.get("difference") not in (
            "conversation",
            "options.history",
        ):
            return None
        turn = await self._exchange.answer(CHAT + "GetTurn", GetTurnRequest(name=name), Turn)
        return name if turn.text == asked.text else None

    async def _serve(self, method: str, read: Callable[[], Awaitable[bytes | None]]) -> None:
        exchange = self._exchange
        call = exchange.call(CHAT + method)
        if not await exchange.calls.serve_until(self._left(), call, read, self._frame):
            return
        output, reading = self._output, self._reading
        assert output is not None, "a call that ended by itself has a question"
        if not output.over:
            raise (
                _away()
                if reading.away
                else Unavailable(
                    Reason.PART_UNAVAILABLE,
                    "The stream broke off; repeat the request with the same Idempotency-Key.",
                    {"part": "server"},
                    retry_after=1.0,
                )
            )

    async def _left(self) -> None:
        await self._arrived.wait()
        await disconnected(self._exchange.request.receive)

    async def _frame(self, message: Message | bytes) -> None:
        output, reading = self._output, self._reading
        assert output is not None, "the question was read"
        if output.over:
            return
        frame = AskResponse.FromString(message if isinstance(message, bytes) else message.SerializeToString())
        if not reading.turn:
            reading.turn = frame.turn
            if self._attaches:
                self._hold_until = (await self._turn("GetTurn", GetTurnRequest(name=frame.turn))).last_seq
        reading.take(frame)
        if not reading.agent_version:  # the log was pruned
            turn = await self._turn("GetTurn", GetTurnRequest(name=frame.turn))
            reading.conversation, reading.agent_version, reading.begun = (
                turn.conversation,
                turn.agent_version,
                turn.create_time.seconds,
            )
        self._exchange.headers |= {
            "x-responsa-turn": reading.turn,
            "x-responsa-conversation": reading.conversation,
        }
        ended = reading.terminal is not None
        # What an earlier attempt has written and withdrawn is not sent to a client that comes later.
        text = "" if reading.seq < self._hold_until and not ended else reading.written.take(whole=ended)
        if reading.written.cut and not ended:
            reading.terminal = TurnEvent()
            reading.terminal.answer.usage.CopyFrom(
                (await self._turn("CancelTurn", CancelTurnRequest(name=reading.turn))).usage
            )
        await output.show(reading, text)

    async def _turn(self, method: str, request: Message) -> Turn:
        return await self._exchange.answer(CHAT + method, request, Turn)


def _away() -> ResponsaError:
    return Unavailable(
        Reason.DRAINING,
        "The server is shutting down. The answer goes on: repeat the request with the same Idempotency-Key.",
        retry_after=1.0,
    )


def tokens(usage: Usage) -> tuple[int, int]:
    """What language models read and wrote."""
    return usage.input_tokens, usage.output_tokens


def annotation(citation: Citation, text: str, base: str) -> Mapping[str, object]:
    """A citation as `url_citation`. text: the answer. base: the server's own address. The range is in characters, its end exclusive."""
    data, cited = text.encode(), citation.answer_range
    url = citation.uri
    if not url.startswith(("https://", "http://")) and citation.document_version:
        url = f"{base}/v1/{quote(citation.document_version)}/original"
    return {
        "title": citation.title,
        "url": url,
        "start_index": len(data[: cited.start].decode()),
        "end_index": len(data[: cited.end].decode()),
        "quote": citation.quote,
    }
