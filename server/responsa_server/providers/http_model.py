"""Servers of models over HTTP: connections, requests, and the events and parts of an answer. Every failure becomes a
`ModelError` that contains no keys.

Each vendor has one module with an `HttpModel`, which sends the vendor's requests and reads its events (CONTRIBUTING.md).
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import re
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast

import httpx2
from pydantic import AliasChoices, BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from responsa_server.domain.models import (
    LOADING_SECONDS,
    Alive,
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    Stop,
    TextPiece,
    ToolRequest,
    Withdrawn,
)
from responsa_server.outbound.addresses import origin_of
from responsa_server.outbound.authorities import create_trust, is_untrusted
from responsa_server.outbound.connector import ForbiddenRequest, GuardedTransport, ReachableHosts, look_up
from responsa_server.providers.learned import TEST, Learned, Trial
from responsa_server.providers.settings import CompatibleSettings, GuardedSettings
from responsa_server.providers.written_calls import WrittenCalls
from responsa_server.telemetry.requests import request

MAX_TOKENS: Final = 1_000_000_000
_MAX_CALLS: Final = 64
_MAX_ARGUMENTS_BYTES: Final = 16 * 1024
_MAX_SIGNATURE: Final = 128 * 1024
_MAX_ARGUMENTS_DEPTH: Final = 16
_ARGUMENTS: Final = TypeAdapter(dict[str, JsonValue])
_SHOWN_BYTES: Final = 500
_SHOWN_CHARACTERS: Final = 200
_FIELD: Final = re.compile(rb"\s*(?:\xef\xbb\xbf)?(?::|data|event|id|retry)")
_LONGEST_FIELD: Final = 8
_MOST_NAME: Final = 128
_MAX_ERROR_BYTES: Final = 16 * 1024
# The number of seconds to wait for the end of the body after the end of the answer. A connection is used again only if
# its body was read to the end.
_CONNECT_SECONDS: Final = 5.0
_REST_SECONDS: Final = 1.0
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
_MAX_LIST_BYTES: Final = 4 << 20
# How often JSON may have these bytes: each makes an object of Python, so a million of them would take seconds.
_MOST_PARTS: Final = ((b"[", 20_000), (b"{", 20_000), (b",", 500_000))
_MOST_MODELS: Final = 1000
# As DefaultModel.model of the contract.
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9_./@:+-]{1,200}")
# The maximum size of an event. It is large enough for an event with all tool requests of an answer.
_MAX_EVENT_BYTES: Final = 2 << 20
_IDLE_SECONDS: Final = 30.0
# Opening a connection blocks the event loop briefly. If hundreds of connections are needed at once, this number of them
# open before other tasks run.
_BEGUN_A_TICK: Final = 8
_KEYS: Final = re.compile(
    r"\b(?:sk-|rsp_|AIza)[\w-]{6,}|(?:bearer|x-api-key|x-goog-api-key|api_key|key=)[\s:=\"']*[\w.+/-]{6,}",
    re.I,
)
_STATUSES: Final = {
    **dict.fromkeys((401, 402, 403), ModelFault.CREDENTIAL),
    **dict.fromkeys((408, 409), ModelFault.OVERLOADED),
    429: ModelFault.RATE_LIMITED,
}
_PASSING: Final = {ModelFault.RATE_LIMITED, ModelFault.OVERLOADED}
_WORD: Final = re.compile(r"[A-Za-z][\w.-]{0,63}", re.ASCII)
# Vendors send an error with one of these names if the key is valid but does not permit the request.
_FORBIDDEN: Final = {"permission_error", "PERMISSION_DENIED"}

_REASONING: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
    "◁think▷": "◁/think▷",
    "<|channel>": "<channel|>",
    "<|channel|>analysis": "<|channel|>final<|message|>",
    "<|channel|>commentary": "<|channel|>final<|message|>",
}
"""The marks between which models write their reasoning, if their server does not take it out: Qwen, DeepSeek and most
others; Magistral; Seed; Kimi; Gemma; gpt-oss."""
_REASONING_ENDS: Final = frozenset(_REASONING.values())
# The marks of gpt-oss around messages.
_FRAMES: Final = frozenset({"<|start|>assistant", "<|end|>", "<|return|>"})
_MARKS: Final = (*_REASONING, *_REASONING_ENDS, *_FRAMES)
_BEGINS: Final = (*_REASONING, *_FRAMES)
_LONGEST_MARK: Final = max(map(len, _MARKS))
_END: Final = re.compile("|".join(map(re.escape, _REASONING_ENDS)))
_FRAME: Final = re.compile("|".join(map(re.escape, _FRAMES)))
_FRAMED: Final = "|>"
_BEGINNINGS: Final = {re.escape(mark[:size]) for mark in _MARKS for size in range(1, len(mark))}
_BEGUN: Final = re.compile(rf"(?:{'|'.join(sorted(_BEGINNINGS, key=len, reverse=True))})\Z")
_CODE: Final = re.compile(r"`+|\n")
_VISIBLE: Final = re.compile(r"\S")
_FENCE: Final = 3

NOT_ALLOWED: Final = "address_not_allowed"
"""The `kind` of the error if the server may not connect to the address."""
CERTIFICATE: Final = "certificate_not_trusted"
"""The `kind` of the error if no known authority has issued the certificate."""

Events: TypeAlias = AsyncIterator[httpx2.ServerSentEvent]


class WireModel(BaseModel, defer_build=True):
    """The content of an event in a vendor's stream. Pydantic builds the validator only when the first event is read, so
    that the module loads fast."""


class _ListedModel(WireModel):
    id: str = ""
    name: str = ""
    # As OpenRouter, vLLM, Mistral, Groq and Gemini say it.
    window: object = Field(
        None,
        validation_alias=AliasChoices(
            "context_length", "max_model_len", "max_context_length", "context_window", "inputTokenLimit"
        ),
    )


class _ModelList(WireModel):
    """A list of models: OpenAI and Anthropic name theirs in `data`, Gemini in `models`."""

    data: list[_ListedModel] = []
    models: list[_ListedModel] = []


@dataclass(frozen=True, slots=True)
class Complaint:
    """The content of an error's body. kind: the vendor's own name for the error. retry_after: the number of seconds
    that the vendor asks clients to wait, or None. status: the HTTP status that the body names, which counts within a stream; or 0.
    """

    kind: str = ""
    message: str = ""
    retry_after: float | None = None
    status: int = 0


async def receive_json(response: httpx2.Response, most_bytes: int) -> bytes:
    """The body of an answer. Raises ModelError if it is too large, or has too many parts to be read on the event loop."""
    received = bytearray()
    async for part in response.aiter_bytes():
        received += part
        if len(received) > most_bytes:
            raise ModelError(ModelFault.MALFORMED, f"the answer has more than {most_bytes} bytes")
    _check_parts(received)
    return bytes(received).lstrip(_BLANK)


def _check_parts(received: bytes | bytearray) -> None:
    if any(received.count(part) > limit for part, limit in _MOST_PARTS):
        raise ModelError(ModelFault.MALFORMED, "the answer has too many parts")


def tokens(*counts: object) -> int:
    """The sum of numbers of tokens, or of other billed units, that a server reports: from 0 to MAX_TOKENS. A count that
    is no number counts as 0.

    Every count of an adapter goes through here: a negative one would give a quota back, and the database cannot store a huge one.
    """
    numbers = [
        count for count in counts if isinstance(count, (int, float)) and count > 0
    ]  # not a number is not greater
    return min(sum(int(min(number, MAX_TOKENS)) for number in numbers), MAX_TOKENS)


ReadComplaint = Callable[[Mapping[str, Any]], Complaint]
"""Reads the JSON object in the body of an error. The function must accept any JSON object."""


def bearer(server: CompatibleSettings) -> dict[str, str]:
    """The header with the server's key, if it has one."""
    key = server.api_key.get_secret_value()
    return {"authorization": f"Bearer {key}"} if key else {}


class HttpServer:
    """The connections to one server that runs models, with its key. Also reads the errors in the server's responses.
    Call `close` at the end."""

    def __init__(
        self,
        server: CompatibleSettings,
        headers: Mapping[str, str],
        complaint: ReadComplaint,
        faults: Mapping[str, ModelFault],
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        """headers: the headers of every request, with the key. faults: the fault for each of the vendor's error names
        that say more than the HTTP status.
        http: a client that another object already uses for the same server; `close` closes it too. None for a new client.
        """
        self._server = server
        url = httpx2.URL(server.url)
        self._address = (url.host, url.port)
        self._complaint = complaint
        self._faults = faults
        # The client sets no limit, because `KeyLimits` limits the number of concurrent calls.
        self.http: Final = http or httpx2.AsyncClient(
            headers={"accept-encoding": "identity", "content-type": "application/json", **headers},
            transport=_transport(server),
            trust_env=False,
        )

    async def close(self) -> None:
        await self.http.aclose()

    async def probe(self, seconds: float) -> str:
        """Why the server does not answer a request, whatever the answer would be, within so many seconds; "" if it does."""
        try:
            async with asyncio.timeout(seconds), self.http.stream("GET", self._server.url):
                return ""
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return "its server cannot be reached"
        except (httpx2.TimeoutException, TimeoutError):
            return f"its server has sent nothing for {seconds:g} s"
        except ForbiddenRequest:
            return "the server may not connect to its address"
        except httpx2.RequestError:
            return ""  # the server is there, and does not like the question

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 0.0,
    ) -> AsyncGenerator[httpx2.Response, None]:
        """Sends a request (a GET without a body) and yields its answer, whose body is still to be read, whatever its content
        type says. Errors in the block become ModelError, and so does an HTTP error status. At the end, the connection is
        closed or kept for later requests. seconds: the longest time without data; 0 for that of the settings.
        """
        begun = False
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body).encode())
        sent = request(method, *self._address).begin()
        if traceparent := sent.traceparent:
            headers = {**(headers or {}), "traceparent": traceparent}
        try:
            times = httpx2.Timeout(seconds or self._server.idle_seconds, connect=_CONNECT_SECONDS)
            async with self.http.stream(
                method, self._server.url + path, content=content, headers=headers, timeout=times
            ) as response:
                begun = True
                sent.add(**{"http.response.status_code": response.status_code})
                if response.status_code != HTTPStatus.OK:
                    raise await self._read_refusal(response)
                yield response
        # "from None": the original exception holds the request, and the request holds the key.
        except (httpx2.SSEError, httpx2.DecodingError, ValidationError) as error:
            raise ModelError(ModelFault.MALFORMED, self._redact(repr(error))) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            kind = CERTIFICATE if is_untrusted(error) else ""
            raise ModelError(
                ModelFault.UNREACHABLE, self._redact(repr(error)), passing=not kind, kind=kind
            ) from None
        except httpx2.TimeoutException as error:
            raise ModelError(ModelFault.TIMEOUT, self._redact(repr(error)), passing=not begun) from None
        except ForbiddenRequest as error:
            raise ModelError(ModelFault.REFUSED, self._redact(str(error)), kind=NOT_ALLOWED) from None
        except httpx2.RequestError as error:
            # A server may close an idle connection just when a request is sent on it. Then no answer has begun, so the
            # request may be sent again.
            fault = ModelFault.CUT if begun else ModelFault.UNREACHABLE
            raise ModelError(fault, self._redact(repr(error)), passing=not begun) from None
        finally:
            sent.end(sys.exception())

    def unread(self, response: httpx2.Response, received: bytes, why: str = "") -> ModelError:
        """The error for an answer that is none."""
        kind = response.headers.get("content-type", "")
        shown = self._redact(received.decode(errors="replace"))[:_SHOWN_CHARACTERS]
        what = f"HTTP {response.status_code}, {self._redact(kind) or 'no content type'}: {shown}"
        return ModelError(ModelFault.MALFORMED, f"{what} {why}".strip(), received=what)

    def _error_of(self, body: Mapping[str, Any], status: int = HTTPStatus.OK) -> ModelError:
        """The error that a body describes. status: the HTTP status; OK if the error came within a stream."""
        complaint = self._complaint(body)
        named, own_word = self._faults.get(complaint.kind), complaint.kind in _FORBIDDEN
        within = status == HTTPStatus.OK
        status = (complaint.status if within else 0) or status
        fault = fault_of(status)
        if named is not None and (status == HTTPStatus.OK or named in _refinements(status)):
            fault = named
        words = self._redact(": ".join(filter(None, (complaint.kind, complaint.message))))
        where = "in its stream" if within else f"HTTP {status}"
        forbidden = status == HTTPStatus.FORBIDDEN and named is not ModelFault.CREDENTIAL
        return ModelError(
            fault,
            f"{where}: {words}",
            retry_after=complaint.retry_after,
            passing=fault in _PASSING,
            own=own_word or forbidden,
            status=0 if within else status,
            kind=self._word(complaint.kind),
            received=f"{where}: {words}"[:_SHOWN_CHARACTERS],
        )

    async def _read_refusal(self, response: httpx2.Response) -> ModelError:
        received = bytearray()
        # If the body breaks off, the status alone says enough.
        with contextlib.suppress(httpx2.RequestError):
            async for part in response.aiter_bytes():
                received += part
                if len(received) > _MAX_ERROR_BYTES:
                    break
        headers = response.headers
        try:
            body = json.loads(received)
        except (ValueError, RecursionError):
            body = None
        named = isinstance(body, dict)
        words: Mapping[str, Any] = (
            cast("dict[str, Any]", body) if named else {"error": received.decode(errors="replace")}
        )
        error = self._error_of(words, response.status_code)
        error.received = error.received if named else self.unread(response, bytes(received)).received
        wait = retry_after(headers, datetime.now(UTC))
        error.retry_after = error.retry_after if wait is None else wait
        error.passing &= headers.get("x-should-retry", "").lower() != "false"
        return error

    def _redact(self, text: str) -> str:
        return redact(text, self._server.api_key.get_secret_value())

    def _word(self, kind: str) -> str:
        # The word is checked because it goes into logs, and a server may put the user's prompt into it.
        return kind if _WORD.fullmatch(self._redact(kind)) else ""


class HttpModel(HttpServer, abc.ABC):
    """A `ChatModel` over HTTP. One object serves all turns and keeps connections open between calls. Call `close` at the end.

    A subclass sends a vendor's requests and reads its events.
    """

    _models_path = "/models"

    def __init__(
        self,
        server: CompatibleSettings,
        model: str,
        headers: Mapping[str, str],
        complaint: ReadComplaint,
        faults: Mapping[str, ModelFault],
    ) -> None:
        super().__init__(server, {"accept": _EVENT_STREAM, **headers}, complaint, faults)
        self._model = model
        self.learned = Learned()
        """The facts of all models."""
        self.key: Final = (server.url, model)

    @property
    def name(self) -> str:
        return self._model

    @property
    def takes_prefix(self) -> bool:
        """Whether the model continues the `prefix` of a prompt."""
        return False

    async def list_models(self) -> Mapping[str, int]:
        """The names of the server's models in its order, at most 1,000, with their windows in tokens; 0 for an unknown one. Raises
        ModelError."""
        async with self._answer(self._models_path, None, {"accept": JSON}) as response:
            received = await receive_json(response, _MAX_LIST_BYTES)
        try:
            models = _ModelList.model_validate_json(received)
        except ValidationError:
            raise self.unread(response, received) from None
        entries = [
            (each.id or each.name.removeprefix("models/"), each) for each in (*models.data, *models.models)
        ]
        named = {name: tokens(each.window) for name, each in entries if _MODEL_NAME.fullmatch(name)}
        return dict(list(named.items())[:_MOST_MODELS])

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`. What the server refuses is left out of further tries, before a word is sent."""
        facts = self.learned.of(self.key, self._server.model_fields_set)
        trial = Trial(prompt, facts, self._server)
        while True:
            begun, counted, sent = False, 0, trial.request()
            try:
                read = self._read(sent, written=bool(facts.get("text_calls")))
                async with aclosing(_gather(read)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Spent):
                            counted = piece.usage.input_tokens
                        elif not begun and not isinstance(piece, Alive):
                            begun = True
                            self.learned.note(self.key, trial.new)
                        if isinstance(piece, Ended):
                            self.learned.note(self.key, trial.count(counted))
                        yield piece
                return
            except ModelError as error:
                if begun or not trial.cures(error):
                    raise

    async def _read(self, prompt: ModelPrompt, *, written: bool) -> AsyncGenerator[ModelPiece, None]:
        """The pieces without reasoning. written: whether a whole text may be a call of a tool."""
        async with self._send(prompt) as events, aclosing(self._pieces(prompt, events)) as pieces:
            # A prefix is text of the answer, so the model has finished its reasoning.
            reasoning = ReasoningFilter(opened=self._server.begins_with_reasoning and not prompt.prefix)
            tested = prompt.purpose == TEST
            calls = WrittenCalls(prompt) if written or tested else None
            wrote, requested = False, False
            async for piece in pieces:
                if isinstance(piece, TextPiece):
                    text = reasoning.feed(piece.text)
                    if reasoning.withdraws and wrote:
                        wrote = False
                        yield Withdrawn(0)
                elif isinstance(piece, (ToolRequest, Ended)):
                    text = reasoning.end()
                else:
                    text = ""
                text = calls.feed(text) if calls else text
                if calls and isinstance(piece, Ended):
                    rest, requests = calls.end()
                    text += rest
                    if requests and tested:
                        self.learned.note(self.key, {"text_calls": 1})
                    for request in requests:
                        requested = True
                        yield request
                if text:
                    wrote = True
                    yield TextPiece(text)
                requested |= isinstance(piece, ToolRequest)
                if isinstance(piece, Ended) and reasoning.found and not wrote:
                    ending(prompt, piece.stop, wrote=requested)  # raises, unless it may be empty
                if not isinstance(piece, TextPiece):
                    yield piece

    @abc.abstractmethod
    def _send(self, prompt: ModelPrompt) -> AbstractAsyncContextManager[Events]:
        pass

    @abc.abstractmethod
    def _pieces(self, prompt: ModelPrompt, events: Events) -> AsyncGenerator[ModelPiece, None]:
        """The pieces in the events, up to an `Ended`. Raises ModelError."""

    @contextlib.asynccontextmanager
    async def _events(
        self,
        prompt: ModelPrompt,
        path: str,
        body: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Events, None]:
        """Sends a request and yields the events of its answer. Errors that occur while the events are read become
        ModelError. At the end, the connection is closed or kept for later requests. Every byte ends a silence of the server,
        also that of a ping or of the model's reasoning.
        """
        idle = self._server.idle_seconds
        waits = LOADING_SECONDS if prompt.loading is not None else 0.0
        async with self._answer(path, body, headers, idle + waits) as response:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            heard = _Heard(response.stream, idle, prompt.silence_seconds)
            while len(heard.head.lstrip()) < _LONGEST_FIELD and await heard.read():
                pass
            if heard.head.lstrip(_BLANK)[:1] in (b"{", b"["):
                while len(heard.head) <= _MAX_EVENT_BYTES and await heard.read():
                    pass
                _check_parts(heard.head)
                try:
                    whole = json.loads(heard.head.lstrip(_BLANK))
                except (ValueError, RecursionError):
                    raise self.unread(response, heard.head) from None
                yield self._completion(whole)
                return
            if heard.head.strip() and not _FIELD.match(heard.head):
                raise self.unread(response, heard.head)
            response.stream = heard
            response.headers["content-type"] = _EVENT_STREAM
            source = cast(
                "AsyncGenerator[httpx2.ServerSentEvent, None]",
                aiter(httpx2.EventSource(response, _MAX_EVENT_BYTES)),
            )
            async with contextlib.aclosing(source) as events:
                yield events

    async def _completion(self, whole: Any) -> Events:
        """The events of an answer that arrived as one JSON value."""
        for data in cast("list[object]", whole) if isinstance(whole, list) else [whole]:
            yield httpx2.ServerSentEvent(data=json.dumps(data))

    @staticmethod
    async def _rest(events: Events) -> None:
        """Reads the bytes after the end of an answer, for at most a second. The answer is complete, whatever these bytes are."""
        with contextlib.suppress(TimeoutError, httpx2.RequestError):
            async with asyncio.timeout(_REST_SECONDS):
                async for _ in events:
                    pass


class _Heard(httpx2.AsyncByteStream):
    """The body of an answer. Raises ReadTimeout after too long a silence. head: what was read of it so far."""

    def __init__(
        self,
        body: httpx2.AsyncByteStream,
        idle_seconds: float,
        silence_seconds: Callable[[], float | None],
    ) -> None:
        """idle_seconds, silence_seconds: the longest silence is the shorter one of the two."""
        self.head = b""
        self._body = body
        self._parts = aiter(body)
        self._idle_seconds = idle_seconds
        self._silence_seconds = silence_seconds

    async def read(self) -> bool:
        """Adds the next part to the head. Returns whether there was one."""
        seconds = self._silence_seconds()
        seconds = self._idle_seconds if seconds is None else min(self._idle_seconds, seconds)
        try:
            async with asyncio.timeout(seconds):
                self.head += await anext(self._parts)
        except StopAsyncIteration:
            return False
        except TimeoutError:
            raise httpx2.ReadTimeout(f"the server sent nothing for {seconds:g} s") from None
        return True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.head
        self.head = b""
        while await self.read():
            yield self.head
            self.head = b""

    async def aclose(self) -> None:
        await self._body.aclose()


def _transport(server: CompatibleSettings) -> httpx2.AsyncBaseTransport:
    tls = server.url.startswith("https:")
    if isinstance(server, GuardedSettings):
        reach = ReachableHosts(frozenset({origin_of(server.url)}), server.allowed)
        trust = create_trust() if tls else httpx2.create_ssl_context(verify=False)
        return GuardedTransport(reach, look_up, trust, _CONNECT_SECONDS, traced=True)
    return Connections(tls=tls, most_idle=64 if server.keep_alive else 0, uds=server.uds)


def _refinements(status: int) -> Container[ModelFault]:
    """The faults that may replace the fault of this HTTP status if the vendor's name of the error says so. No other fault may replace
    it, because the status decides whether the same request can succeed later.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:  # vendors also send it if a quota is used up
        return _PASSING | {ModelFault.CREDENTIAL}
    if _STATUSES.get(status) is ModelFault.OVERLOADED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _PASSING
    # Gemini reports an invalid key with 400.
    return {ModelFault.CREDENTIAL} if status >= HTTPStatus.BAD_REQUEST else ()


def status_of(code: object) -> int:
    """The HTTP error status that an error's code is, as a number or a string; 0 if the code is anything else."""
    word = str(code)
    return int(word) if re.fullmatch("[45][0-9][0-9]", word) else 0


def fault_of(status: int) -> ModelFault:
    """The fault for an HTTP error status if the body does not say more."""
    other = ModelFault.OVERLOADED if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ModelFault.REFUSED
    return _STATUSES.get(status, other)


_LONGEST_WAIT: Final = 3600.0


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The number of seconds that a server asks clients to wait. It comes from `retry-after-ms`, or from `retry-after`,
    which is a number of seconds or a date (RFC 9110, 10.2.3). None if both headers are missing or unreadable. At most
    an hour, because servers have asked for years.
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        with contextlib.suppress(KeyError, ValueError):
            return _seconds(float(headers[name]) / unit)
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return _seconds((parsedate_to_datetime(headers["retry-after"]) - now).total_seconds())
    return None


def _seconds(value: float) -> float | None:
    return min(max(0.0, value), _LONGEST_WAIT) if abs(value) < float("inf") else None


def redact(text: str, key: str = "") -> str:
    """The text in a form that is safe for logs: without keys, and at most 500 bytes long."""
    if key:
        text = text.replace(key, "[key]")
    return _KEYS.sub("[key]", text).encode()[:_SHOWN_BYTES].decode(errors="ignore")


class Connections(httpx2.AsyncBaseTransport):
    """HTTP connections for many long answers at a time.

    Whenever a request begins or ends, httpx2's own pool checks all its connections, with a system call for each idle
    connection. With hundreds of streams, these checks take most of the time. Here every connection has its own pool,
    and the idle connections are on a stack. The transport opens one HTTP/1.1 connection for each concurrent request, and
    keeps at most `most_idle` of them for later requests.
    """

    def __init__(self, *, tls: bool, most_idle: int = 64, uds: str = "") -> None:
        """tls: whether the server uses HTTPS. Only HTTPS needs the system's certificates, which are slow to load. uds: the path
        of a Unix socket to connect to; "" for TCP.
        """
        self._most_idle = most_idle
        self._uds = uds or None
        self._begun = 0
        self._tick = asyncio.Event()
        self._idle: list[httpx2.AsyncHTTPTransport] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._trust: ssl.SSLContext = create_trust() if tls else httpx2.create_ssl_context(verify=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        single = self._idle.pop() if self._idle else await self._make()
        try:
            response = await single.handle_async_request(request)
        except BaseException:
            await self.give_back(single, usable=False)
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            status_code=response.status_code,
            headers=response.headers,
            stream=_Borrowed(self, single, response.stream),
            extensions=response.extensions,
        )

    async def give_back(self, single: httpx2.AsyncHTTPTransport, *, usable: bool) -> None:
        """Takes a connection back after its request. usable: whether later requests may use it."""
        if usable and len(self._idle) < self._most_idle:
            self._idle.append(single)
            return
        # A separate task closes the connection, because a caller may be cancelled a second time, and the socket must still be closed.
        closing = asyncio.create_task(single.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def aclose(self) -> None:
        self._most_idle = 0
        while self._idle:
            await self._idle.pop().aclose()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _make(self) -> httpx2.AsyncHTTPTransport:
        while self._begun >= _BEGUN_A_TICK:
            await self._tick.wait()
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_tick)
        self._begun += 1
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)
        return httpx2.AsyncHTTPTransport(verify=self._trust, limits=limits, trust_env=False, uds=self._uds)

    def _next_tick(self) -> None:
        self._begun = 0
        self._tick.set()
        self._tick = asyncio.Event()


async def _gather(pieces: AsyncGenerator[ModelPiece, None]) -> AsyncGenerator[ModelPiece, None]:
    """The pieces, in which texts that arrived together are one."""
    arrived, news = list[ModelPiece](), asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    last = arrived[-1] if arrived else None
                    if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
                        arrived[-1] = TextPiece(last.text + piece.text, last.pieces + piece.pieces)
                    else:
                        arrived.append(piece)
                    news.set()
        finally:
            news.set()

    reading = asyncio.create_task(read())
    try:
        while arrived or not reading.done():
            await news.wait()
            news.clear()
            batch, arrived = arrived, []
            for piece in batch:
                yield piece
        await reading
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # retrieved, also if nobody asks for it any more


class _Borrowed(httpx2.AsyncByteStream):
    """The body of an answer. If the body is read to the end, its connection is used again."""

    def __init__(
        self, connections: Connections, single: httpx2.AsyncHTTPTransport, body: httpx2.AsyncByteStream
    ) -> None:
        self._connections = connections
        self._single = single
        self._body = body
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part
        self._whole = True

    async def aclose(self) -> None:
        usable = False
        try:
            await self._body.aclose()
            # A second cancellation may interrupt the line above. Then the state of the connection is unknown, and `usable` stays false.
            usable = self._whole
        finally:
            await self._connections.give_back(self._single, usable=usable)


def alternating(
    messages: Sequence[PromptMessage],
    blocks: Callable[[PromptMessage], list[dict[str, Any]]],
    *,
    assistant: str,
    field: str,
) -> list[dict[str, Any]]:
    """A prompt's messages without the system message, for protocols in which roles alternate. Successive messages of
    one role become blocks of one message, and the first one is the user's.

    blocks: returns the blocks of one message; messages without blocks are left out. assistant: the protocol's name for
    the assistant's role. field: the protocol's name for the list of blocks.
    """
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.SYSTEM or not (parts := blocks(message)):
            continue
        role = assistant if message.role is Role.ASSISTANT and turns else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1][field] += parts
        else:
            turns.append({"role": role, field: parts})
    return turns


def with_prefix(prompt: ModelPrompt) -> Sequence[PromptMessage]:
    """The messages, with the prefix as the model's last message. Servers refuse a prefix that ends with white space."""
    prefix = prompt.prefix.rstrip()
    return [*prompt.messages, PromptMessage(Role.ASSISTANT, prefix)] if prefix else prompt.messages


class ReasoningFilter:
    """Removes a model's reasoning, from `<think>` to `</think>` or between other marks of `_REASONING`, and the white
    space after it, from a text that arrives in pieces: what begins the text. Without an end, the rest of the text is
    reasoning. Without a beginning, all text before the first end is reasoning, unless that end stands in Markdown's code or
    the text names its beginning. Other marks are text.

    found: whether the text had reasoning. withdraws: whether the last piece showed that the pieces before it are reasoning.
    """

    def __init__(self, *, opened: bool = False) -> None:
        """opened: whether the text begins within the reasoning, because the prompt ends with the mark that opens it."""
        self.found = opened
        self.withdraws = False
        self._held: str = ""
        # The marks of which any ends the reasoning in which the text stands; none outside of reasoning.
        self._ends: frozenset[str] = _REASONING_ENDS if opened else frozenset()
        # Whether a word stands before; whether the model writes gpt-oss's frames.
        self._wrote = self._framed = False
        # The text since the last end; before that, the backticks of open code, and the ends of the beginnings in the text.
        self._since, self._code, self._named = list[str](), "", set[str]()

    def feed(self, text: str) -> str:
        """The next piece without reasoning. What may be the beginning of a mark is held back."""
        out, at, self.withdraws = "", 0, False
        text, self._held = self._held + text, ""
        while at < len(text):
            if self._ends:
                ends = [(text.index(end, at), end) for end in self._ends if text.find(end, at) >= 0]
                if not ends:
                    self._held = text[max(at, len(text) + 1 - max(map(len, self._ends))) :]
                    break
                index, end = min(ends)
                at, self._ends = index + len(end), frozenset()
                continue
            if not self._wrote:
                word = _VISIBLE.search(text, at)
                begin = word.start() if word else len(text)
                if mark := next((mark for mark in _BEGINS if text.startswith(mark, begin)), ""):
                    at = begin + len(mark)
                    self._framed |= _FRAMED in mark
                    if mark in _REASONING:
                        self.found, self._ends = True, frozenset({_REASONING[mark]})
                    continue
                at = begin if self.found else at
            if not self.found and (lone := _END.search(text, at)):
                if self._ends_reasoning(text[at : lone.start()], lone.group()):
                    self.found = self.withdraws = True
                    self._wrote, out = False, ""
                    self._framed |= _FRAMED in lone.group()
                else:
                    self._wrote = True
                    out += text[at : lone.end()]
                at = lone.end()
                continue
            begun = _BEGUN.search(text, max(at, len(text) - _LONGEST_MARK))
            text, self._held = text[at : begun.start() if begun else None], begun.group() if begun else ""
            text = _FRAME.sub("", text) if self._framed else text
            self._wrote |= bool(text.strip())
            self._since += [] if self.found else [text]
            return out + text
        return out

    def end(self) -> str:
        held, self._held = "" if self._ends else self._held, ""
        return held

    def _ends_reasoning(self, before: str, end: str) -> bool:
        since, self._since = "".join((*self._since, before)), []
        for part in _CODE.findall(since):
            if part == "\n":
                self._code = self._code if len(self._code) >= _FENCE else ""
            elif self._code in ("", part):  # a run of as many backticks closes what it has opened
                self._code = "" if self._code else part
        self._named |= {_REASONING[mark] for mark in _REASONING if mark in since}
        return not self._code and end not in self._named


def stop_of(reason: str, stops: Mapping[str, Stop]) -> Stop:
    """Why an answer ended. stops: the reasons that the vendor names. Raises ModelError (CUT) for any other one, such as
    `error` or `abort`: nothing says that such an answer is complete."""
    if reason not in stops:
        raise ModelError(ModelFault.CUT, f"the answer ended with the reason {redact(reason)!r}")
    return stops[reason]


def ending(prompt: ModelPrompt, stop: Stop, *, wrote: bool, model: object = None) -> Ended:
    """The end of an answer. wrote: whether the answer had text or a tool request. model: what the provider says of the
    model that has answered. Raises ModelError (EMPTY) if `wrote` is false, unless the provider refused the answer as
    unsafe, or the prompt has tools or is a test.
    """
    if not wrote and stop is not Stop.UNSAFE and not prompt.tools and prompt.purpose != TEST:
        raise ModelError(ModelFault.EMPTY, f"the answer holds no text ({stop})")
    named = model[:_MOST_NAME] if isinstance(model, str) else ""
    return Ended(complete=stop is Stop.END, stop=stop, model=named)


@dataclass(slots=True)
class _PartialRequest:
    call_id: str = ""
    tool: str = ""
    arguments: str = ""
    signature: str = ""


class ToolRequests:
    """The tool requests of one answer. Their parts are collected by the index of the request."""

    def __init__(self) -> None:
        self._requests: dict[int, _PartialRequest] = {}

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def last(self) -> int:
        """The highest index so far; -1 without requests."""
        return max(self._requests, default=-1)

    def add(
        self, index: int, call_id: str = "", tool: str = "", arguments: str = "", signature: str = ""
    ) -> None:
        """Adds the next parts of a request. Raises ModelError (MALFORMED) if a limit is exceeded."""
        into = self._requests.setdefault(index, _PartialRequest())
        into.call_id += call_id
        into.tool += tool
        into.arguments += arguments
        into.signature += signature
        if len(self._requests) > _MAX_CALLS:
            raise ModelError(ModelFault.MALFORMED, f"the answer calls tools more than {_MAX_CALLS} times")
        parts = (into.call_id, into.tool, into.arguments.encode())
        if max(map(len, parts)) > _MAX_ARGUMENTS_BYTES or len(into.signature) > _MAX_SIGNATURE:
            raise ModelError(
                ModelFault.MALFORMED, f"a call of a tool has more than {_MAX_ARGUMENTS_BYTES} bytes"
            )

    def requests(self, reasoning: object = None) -> Sequence[ToolRequest]:
        """All requests, ordered by index. A request whose arguments are not a JSON object, or that no event can carry, has a `problem`.
        reasoning: what the server wants back beside the calls that came of it, unless it is empty."""
        requests = [self._request(self._requests[index]) for index in sorted(self._requests)]
        signature = json.dumps(reasoning, ensure_ascii=False) if reasoning else ""
        if requests and 0 < len(signature) <= _MAX_SIGNATURE:
            requests[0] = replace(requests[0], signature=signature)
        return requests

    def _request(self, parts: _PartialRequest) -> ToolRequest:
        arguments, problem = dict[str, JsonValue](), ""
        try:
            arguments = _ARGUMENTS.validate_json(parts.arguments or "{}")
        except ValidationError:
            problem = "they are not a JSON object"
        if not _sendable(arguments, _MAX_ARGUMENTS_DEPTH):
            arguments, problem = {}, "they are nested too deep, or hold a number that is not finite"
        return ToolRequest(parts.call_id, parts.tool, dict(arguments), parts.signature, problem)


def _sendable(value: object, depth: int) -> bool:
    """Whether an event can carry a JSON value. The value's numbers must be finite doubles. The value's depth is limited
    because the readers of events limit the depth too.
    """
    if isinstance(value, (int, float)):
        return abs(value) <= sys.float_info.max
    if isinstance(value, (dict, list)):
        inner = cast("dict[str, object] | list[object]", value)
        return depth > 0 and all(
            _sendable(item, depth - 1) for item in (inner.values() if isinstance(inner, dict) else inner)
        )
    return True
