"""The frames of a turn, read for a response of OpenAI's API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

from google.protobuf.message import Message

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.citation_pb2 import Citation
from responsa.chat.v1.turn_pb2 import AnswerOutcome, Turn, TurnEvent
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa_server.calls import status
from responsa_server.calls.call import Complete, Read, abandon, wait_disconnect
from responsa_server.calls.convert.cited import checks_of, sources, web_address, why, with_passages
from responsa_server.calls.methods import CHAT
from responsa_server.domain.errors import AlreadyExists, CallCancelled, Reason, ResponsaError
from responsa_server.text.disarming import disarm_quoted
from responsa_server.transports.openai.asking import ApiQuestion
from responsa_server.transports.openai.conversations import limit_answer, place_question
from responsa_server.transports.openai.exchange import ApiExchange, Json
from responsa_server.transports.openai.marking import Marking
from responsa_server.transports.openai.written import AppendOnlyText, error_of_restart

HEARTBEAT: Final = ": heartbeat\n\n"
_LEAVES_TEXT_OPEN: Final = ("delta", "citation", "heartbeat", "reconnect")
"""The events after which citations of the newest piece of the text may still come. After any other event, none comes."""


class TurnProgress:
    """What the frames of a turn have said so far. turn, conversation, agent_version: their names, "" before they are
    known. previous: the id of the turn that its response follows, "" for none. begun: the time of the turn, in seconds
    since 1970. seq: the last seq that was read. citations: each with the seq of its event. terminal: the turn's last
    event, None before it. draining: whether the server has asked to reconnect, because it stops. beats: whether the last
    frame is a heartbeat."""

    def __init__(self, written: AppendOnlyText) -> None:
        self.written = written
        self.turn = self.conversation = self.agent_version = self.previous = ""
        self.begun = self.seq = 0
        self.citations: list[tuple[int, Citation]] = []
        self.terminal: TurnEvent | None = None
        self.draining = self.beats = False

    @property
    def id(self) -> str:
        """The turn's id."""
        return self.turn.removeprefix("turns/")

    @property
    def agent(self) -> str:
        """The agent's id, which is the name of the model."""
        return self.agent_version.split("/")[1] if self.agent_version else ""

    @property
    def text(self) -> str:
        """The text that was sent."""
        return self.written.text[: self.written.sent]

    @property
    def cut(self) -> str:
        """Why the text is not the whole answer: "stop" or "length"; "" if it is."""
        end = self.terminal
        limited = end is not None and end.answer.outcome == AnswerOutcome.ANSWER_OUTCOME_OUTPUT_LIMIT
        return self.written.cut or ("length" if limited else "")

    @property
    def refusal(self) -> str:
        """The message of a refusal; "" for none."""
        return "" if self.terminal is None else self.terminal.refused.message

    @property
    def refused(self) -> str:
        """The message of a refusal with the passages that came closest; "" for none."""
        return "" if self.terminal is None else with_passages(self.terminal.refused)

    @property
    def why(self) -> str:
        """Why the answer shows passages, in one line; "" if it does not."""
        return "" if self.terminal is None else why(self.terminal.answer)

    @property
    def comes_whole(self) -> bool:
        """Whether nothing of the text was sent, and it has its citations already: its end comes at once, and says what
        stands above it."""
        return self.written.holds and not self.written.sent and bool(self.citations)

    @property
    def failure(self) -> ResponsaError | None:
        """The error of a turn that failed or was cancelled."""
        kind = None if self.terminal is None else self.terminal.WhichOneof("event")
        if self.terminal is not None and kind == "failed":
            return status.read(self.terminal.failed.status)
        message = "The answer was cancelled; ask again with another Idempotency-Key."
        return CallCancelled(Reason.CANCELLED, message) if kind == "cancelled" else None

    @property
    def tokens(self) -> tuple[int, int]:
        """What language models read and wrote."""
        end = self.terminal or TurnEvent()
        usage = end.refused.usage if end.HasField("refused") else end.answer.usage
        return usage.input_tokens, usage.output_tokens

    def of(self, turn: Turn) -> None:
        """Take the names and the time of a turn."""
        self.turn, self.conversation, self.agent_version = turn.name, turn.conversation, turn.agent_version
        self.begun = turn.create_time.seconds

    def take(self, frame: chat.AskResponse) -> None:
        """Read the next frame."""
        self.beats = False
        for event in frame.events:
            self._take(event)
            if event.WhichOneof("event") not in _LEAVES_TEXT_OPEN:
                self.written.settle()
        self.seq = frame.through_seq

    def _take(self, event: TurnEvent) -> None:
        match event.WhichOneof("event"):
            case "started":
                self.conversation = event.started.conversation
                self.agent_version = event.started.agent_version
                self.begun = event.create_time.seconds
            case "delta":
                self.written.add(event.delta.text)
            case "citation":
                self.citations += [(event.seq, source) for source in sources([event.citation])]
            case "attempt_restarted":
                first = event.attempt_restarted.discard_from_seq
                self.citations = [source for source in self.citations if source[0] < first]
                self.written.restart(event.attempt_restarted.keep_bytes)
            case "snapshot":
                # The log is gone, so the client's part of the text cannot be compared. What was sent of a first attempt
                # stays; a later attempt may have written another text than the one that the client has.
                if self.written.sent and event.snapshot.terminal_event.attempt > 1:
                    raise error_of_restart()
                self._end(event.snapshot.terminal_event, whole=False)
            case "answer" | "refused" | "failed" | "cancelled":
                self._end(event)
            case kind:
                self.draining = self.draining or kind == "reconnect"
                self.beats = kind == "heartbeat"

    def _end(self, event: TurnEvent, *, whole: bool = True) -> None:
        """whole: whether the log had the text."""
        self.terminal = event
        if event.HasField("answer"):
            self.written.text = event.answer.text
            self.citations = [(0, source) for source in sources(event.answer.citations)]
        if whole or event.HasField("answer"):
            # A client that resumes a response names the number of its last event, which counts the characters
            # (`responses.FIRST`). After the text, each event counts one more: a client that has two of these events
            # seems to have two characters more than there are.
            self.written.sent = min(self.written.sent, len(self.written.text))

    @property
    def cited(self) -> Sequence[Citation]:
        """The sources of what was sent."""
        end = len(self.text.encode())
        return [source for source in self.known if source.answer_range.end <= end]

    @property
    def unsourced(self) -> Sequence[ByteRange]:
        """The sentences of the answer that name no source."""
        return self.terminal.answer.unsourced if self.terminal is not None else ()

    @property
    def known(self) -> Sequence[Citation]:
        """The sources so far, also of text that was not sent."""
        return [source for _, source in self.citations]


class ResponseWriter(Protocol):
    """Makes a response of what is read. over: whether its last part was sent."""

    over: bool

    async def show(self, reading: TurnProgress, text: str) -> None:
        """Send what has come. text: the next part of the answer; "" for a heartbeat and for events that say nothing here."""
        ...


async def _never(_: ApiQuestion) -> bool:
    return False


class TurnRelay:
    """Asks, or resumes a turn, and passes what comes to an output."""

    def __init__(self, exchange: ApiExchange) -> None:
        self._exchange = exchange
        self._question_read = asyncio.Event()
        self._reading = TurnProgress(AppendOnlyText())
        self._output: ResponseWriter | None = None
        self._hold_until = 0
        self._attaches = False

    async def ask(
        self,
        parse: Callable[[Json], ApiQuestion],
        make: Callable[[ApiQuestion], ResponseWriter],
        instead: Callable[[ApiQuestion], Awaitable[bool]] = _never,
    ) -> None:
        """Ask the question in the body. A request with the key of an earlier one attaches to its turn. make: makes the
        output. instead: answers a request that asks no question, and returns whether it has. Raises ResponsaError."""
        request = chat.AskRequest()

        async def read() -> bytes | None:
            question = parse(await self._exchange.body())
            if await instead(question):
                # The body is read inside the call `Ask`. As it turns out to ask no question, this call is abandoned.
                await abandon()
            # Errors about `text` name the place of the question in the body.
            self._exchange.fields["text"] = question.path
            most_tokens = await limit_answer(self._exchange, question)
            request.CopyFrom(await place_question(self._exchange, question))
            # Without deltas, the frames may not reach the place up to which text is held back.
            attaches = bool(request.request_id) and request.include_deltas
            # A stop sequence would cut a JSON object. Marks are written into the text before it is sent, so each piece
            # waits for its citations.
            stop = () if question.shape else question.stop
            written = AppendOnlyText(stop, most_tokens, holds=question.marks)
            self._begin(written, make(question), attaches)
            self._reading.previous = question.previous.removeprefix("resp_")
            if question.ignored:
                self._exchange.headers["x-responsa-ignored"] = ", ".join(question.ignored)
            return request.SerializeToString()

        try:
            await self._serve("Ask", read)
        except AlreadyExists as error:
            turn = await self._earlier(error, request)
            if turn is None:
                raise
            await self._resume(turn)

    async def resume(
        self, turn: Turn, written: AppendOnlyText, output: ResponseWriter, previous: str
    ) -> None:
        """Follow a turn. written: knows how much of the text the client has. previous: the id of the turn before it.
        Raises ResponsaError."""
        self._begin(written, output, attaches=False)
        self._reading.previous = previous
        await self._resume(turn)

    async def _resume(self, turn: Turn) -> None:
        self._reading.of(turn)
        self._hold_until = turn.last_seq
        await self._serve("ResumeTurn", Complete(chat.ResumeTurnRequest(turn=turn.name, include_deltas=True)))

    def _begin(self, written: AppendOnlyText, output: ResponseWriter, attaches: bool) -> None:
        self._reading, self._output, self._attaches = TurnProgress(written), output, attaches
        self._question_read.set()

    async def _earlier(self, error: AlreadyExists, request: chat.AskRequest) -> Turn | None:
        """The turn of an earlier request with the same key that differs only in the conversation or the history; None if
        more differs. `place_question` finds these, and finds others once the conversation has gone on: for example, a chat of
        three messages continues a conversation of two at first, but when it is repeated, the conversation has four."""
        name = error.metadata.get("resource_name", "")
        differs = error.metadata.get("difference")
        if error.reason is not Reason.REQUEST_ID_REUSED or differs not in ("conversation", "options.history"):
            return None
        turn = await self._get(name)
        same = (
            turn.text == request.text
            and f"{turn.agent_version}/".startswith(f"{request.agent}/" if request.agent else "")
            and turn.parameters == request.options.parameters
        )
        return turn if same else None

    async def _serve(self, method: str, read: Read) -> None:
        exchange = self._exchange
        if not await exchange.calls.serve_until(
            self._client_gone(), exchange.call(CHAT + method), read, self._frame
        ):
            return
        assert self._output is not None, "a call that ended by itself has a question"
        if not self._output.over:
            again = "repeat the request with the same Idempotency-Key"
            raise status.interruption(again, draining=self._reading.draining)

    async def _client_gone(self) -> None:
        await self._question_read.wait()
        await wait_disconnect(self._exchange.request.receive)

    async def _frame(self, message: Message | bytes) -> None:
        output, reading = self._output, self._reading
        assert output is not None, "the question was read"
        if output.over:
            return
        frame = chat.AskResponse.FromString(
            message if isinstance(message, bytes) else message.SerializeToString()
        )
        if not reading.turn:
            reading.turn = frame.turn
            if self._attaches:
                self._hold_until = (await self._get(frame.turn)).last_seq
        reading.take(frame)
        if not reading.agent_version:  # the turn waits in a queue, or its log was pruned
            reading.of(await self._get(frame.turn))
        self._exchange.headers["x-responsa-turn"] = reading.turn
        self._exchange.headers["x-responsa-conversation"] = reading.conversation
        ended = reading.terminal is not None
        if reading.seq < self._hold_until and not ended:
            # What an earlier attempt has written and withdrawn is not sent to a client that comes later.
            return
        text = "" if reading.comes_whole and not ended else reading.written.take(whole=ended)
        if reading.written.cut and not ended:
            # The client's answer ends here, so the turn's own end, a cancellation, is not awaited. An empty answer stands
            # for it, with what the turn has used so far.
            cancel = chat.CancelTurnRequest(name=reading.turn)
            cancelled = await self._exchange.answer(CHAT + "CancelTurn", cancel, Turn)
            reading.terminal = TurnEvent()
            reading.terminal.answer.usage.CopyFrom(cancelled.usage)
        await output.show(reading, text)

    async def _get(self, turn: str) -> Turn:
        return await self._exchange.answer(CHAT + "GetTurn", chat.GetTurnRequest(name=turn), Turn)


def annotation(citation: Citation, text: str, page: str, marking: Marking | None = None) -> Json:
    """A citation as `url_citation`. text: the answer. page: the address of the page. marking: has put marks into the
    answer. The ranges are in characters of what was sent, their ends exclusive."""
    data, cited = text.encode(), citation.answer_range
    fields: dict[str, Any] = {
        "start": len(data[: cited.start].decode()),
        "end": len(data[: cited.end].decode()),
        **checks_of(text, citation),
    }
    if marking is not None:
        for part in (fields, *fields["differences"]):
            part["start"], part["end"] = marking.place(part["start"]), marking.place(part["end"], ends=True)
    return {
        "title": citation.title,
        "url": link(citation, page) or citation.uri,
        "start_index": fields.pop("start"),
        "end_index": fields.pop("end"),
        "quote": disarm_quoted(citation.quote),
        **fields,
    }


def link(citation: Citation, page: str) -> str:
    """Where a person finds the source: its own address on the web, or the document on the page, which asks strangers to
    sign in; "" for a source that a tool made. page: the address of the page."""
    if (address := web_address(citation.uri)) or not citation.document_version:
        return address
    query = f"?page={citation.page}" if citation.page else ""
    return f"{page}/#/{quote(citation.document_version)}{query}"
